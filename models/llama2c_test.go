package models_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"ringo/kernels"
	"ringo/models"
	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// stories returns a file of the stories260k folder, or skips.
func stories(t *testing.T, name string) []byte {
	dirs := []string{"../../shared/data"}
	if d := os.Getenv("RINGO_DATA"); d != "" {
		dirs = append([]string{d}, dirs...)
	}
	for _, d := range dirs {
		if raw, err := os.ReadFile(filepath.Join(d, "stories260k", name)); err == nil {
			return raw
		}
	}
	t.Skipf("stories260k/%s is in none of %v; set RINGO_DATA to the folder that holds it", name, dirs)
	return nil
}

// The 260K-parameter model of llama2.c, decoded greedily through the key/value cache, gives the reference's 256 ids
// and text, and at position 0 its float64 logits.
func TestStories260K(t *testing.T) {
	t.Parallel()
	var want struct {
		Start    int32     `json:"start_token"`
		IDs      []int32   `json:"token_ids"`
		Position []float64 `json:"logits_pos0_float64"`
	}
	require.NoError(t, json.Unmarshal(stories(t, "reference.json"), &want))
	file := stories(t, "stories260K.bin")
	m, weights, err := models.ReadLlama2C(bytes.NewReader(file), int64(len(file)))
	require.NoError(t, err)
	g, err := graph.Build(func(g *graph.Graph) { require.NoError(t, m.Decode(g, 1, len(want.IDs))) })
	require.NoError(t, err)

	feeds := map[*graph.Value]*tensor.Tensor{}
	for _, p := range g.Params {
		require.Contains(t, weights, p.Node.Name)
		require.Equal(t, p.Shape, weights[p.Node.Name].Shape)
		feeds[p] = weights[p.Node.Name]
	}
	for _, s := range g.States {
		feeds[s] = tensor.New(s.DType, s.Shape...)
	}
	token, ids := want.Start, []int32(nil)
	for pos := range want.IDs {
		feeds[g.Inputs[0]] = tensor.Of(tensor.Shape{1, 1}, token)
		feeds[g.Inputs[1]] = tensor.Of(tensor.Shape{}, int32(pos))
		vals, err := kernels.Eval(g, feeds, false)
		require.NoError(t, err)
		logits := vals[g.Find(models.Logits)].Float64s()
		if pos == 0 {
			require.InDeltaSlice(t, want.Position, logits, 1e-4)
		}
		for _, s := range g.States { // kv_write changed the evaluator's copy
			feeds[s] = vals[s]
		}
		token = int32(argmax(logits))
		ids = append(ids, token)
	}
	require.Equal(t, want.IDs, ids)
	text := strings.TrimSpace(string(stories(t, "expected_greedy.txt")))
	require.Equal(t, text, strings.TrimSpace(decode(t, stories(t, "tok512.bin"), ids)))
}

func argmax(x []float64) int {
	best := 0
	for i, v := range x {
		if v > x[best] {
			best = i
		}
	}
	return best
}

// decode reads llama2.c's tokenizer file (int32 longest piece; per piece a float32 score, an int32 length and
// the bytes) and joins pieces; <0xNN> stands for one byte.
func decode(t *testing.T, file []byte, ids []int32) string {
	r, pieces := bytes.NewReader(file[4:]), []string(nil)
	for r.Len() > 0 {
		var head struct {
			Score float32
			Len   int32
		}
		require.NoError(t, binary.Read(r, binary.LittleEndian, &head))
		piece := make([]byte, head.Len)
		_, err := r.Read(piece)
		require.NoError(t, err)
		pieces = append(pieces, string(piece))
	}
	var out strings.Builder
	for _, id := range ids {
		if id == 1 { // a new story begins
			break
		}
		p := pieces[id]
		if len(p) == 6 && strings.HasPrefix(p, "<0x") {
			b, err := strconv.ParseUint(p[3:5], 16, 8)
			require.NoError(t, err)
			p = string([]byte{byte(b)})
		}
		out.WriteString(p)
	}
	return out.String()
}

// checkpoint makes a small valid v0 file of zeros: dim 4, hidden 6, one layer, 2 heads, vocabulary 5, 3 positions.
func checkpoint() []byte {
	head := []int32{4, 6, 1, 2, 1, 5, 3}
	floats := 5*4 + 4 + 16 + 8 + 8 + 16 + 4 + 24 + 24 + 24 + 4 + 3*2
	var b bytes.Buffer
	_ = binary.Write(&b, binary.LittleEndian, head)
	b.Write(make([]byte, 4*floats))
	return b.Bytes()
}

func TestLlama2CRefusesBadFiles(t *testing.T) {
	t.Parallel()
	good := checkpoint()
	_, w, err := models.ReadLlama2C(bytes.NewReader(good), int64(len(good)))
	require.NoError(t, err)
	require.Equal(t, tensor.Shape{8, 4}, w["model.layers.0.self_attn.qkv_proj.weight"].Shape)
	patch := func(field int, v int32) []byte {
		b := bytes.Clone(good)
		binary.LittleEndian.PutUint32(b[4*field:], uint32(v))
		return b
	}
	for _, c := range []struct {
		name string
		file []byte
		want string
	}{
		{"empty", nil, "ends within its header of 28 bytes"},
		{"short header", good[:20], "ends within its header"},
		{"truncated", good[:len(good)-30], fmt.Sprintf("%d bytes, but its header describes %d", len(good)-30, len(good))},
		{"trailing", append(bytes.Clone(good), 0), fmt.Sprintf("%d bytes, but its header describes %d", len(good)+1, len(good))},
		{"negative width", patch(0, -4), "header field 0 is -4"},
		{"absurd", patch(5, 1<<30), "but its header describes 17179"},
		{"own classifier missing", patch(5, -5), "but its header describes"},
		{"heads", patch(3, 3), "model.heads: found 3"},
	} {
		_, _, err := models.ReadLlama2C(bytes.NewReader(c.file), int64(len(c.file)))
		require.ErrorContains(t, err, c.want, c.name)
	}
}

func FuzzReadLlama2C(f *testing.F) {
	f.Add(checkpoint())
	f.Add([]byte("ggml"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if m, w, err := models.ReadLlama2C(bytes.NewReader(raw), int64(len(raw))); err == nil && (m == nil || len(w) == 0) {
			t.Fatal("no error and no model")
		}
	})
}
