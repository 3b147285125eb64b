package quant

import (
	"encoding/json"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// Inputs that lie in few directions leave rounding free to choose: GPTQ's error is then a fraction of the nearest numbers'.
func TestGPTQOnCorrelatedInputs(t *testing.T) {
	t.Parallel()
	const rows, k, outs = 256, 48, 16
	p := tensor.NewPhilox(11, 4)
	basis, mix := tensor.New(tensor.F32, 6, k), tensor.New(tensor.F32, rows, 6)
	x, w := tensor.New(tensor.F32, rows, k), tensor.New(tensor.F32, outs, k)
	for _, r := range []*tensor.Tensor{basis, mix, w} {
		p.FillNormal(tensor.Data[float32](r), 0, 1)
	}
	for i := range rows {
		for j := range k {
			for d := range 6 {
				tensor.Data[float32](x)[i*k+j] += tensor.Data[float32](mix)[i*6+d] * tensor.Data[float32](basis)[d*k+j]
			}
		}
	}
	var layer *graph.Node
	_, err := graph.Build(func(g *graph.Graph) {
		in := g.Input("x", tensor.F32, rows, k)
		layer = g.LinearT(in, g.Param(graph.Leaf{Name: "w", Type: graph.Type{DType: tensor.F32, Shape: w.Shape}}), nil).Node
	})
	require.NoError(t, err)
	scales := channelScales(w, 0)
	for i := range scales {
		scales[i] *= 8 // 5 bits, so that rounding matters
	}
	q, err := gptq(x, layer)(w, 0, scales)
	require.NoError(t, err)
	wrong := func(q *tensor.Tensor) (sum float64) {
		for i := range rows {
			for o := range outs {
				d := 0.0
				for j := range k {
					rounded := float64(tensor.Data[int8](q)[o*k+j]) * float64(scales[o])
					d += float64(tensor.Data[float32](x)[i*k+j]) * (rounded - float64(tensor.Data[float32](w)[o*k+j]))
				}
				sum += d * d
			}
		}
		return sum
	}
	require.Less(t, wrong(q), 0.3*wrong(roundWeight(w, 0, scales)))
}

// The patches that second moments come from lie in all images of a sample, in every row and column.
func TestPatchesOfAllImages(t *testing.T) {
	t.Parallel()
	const images, size = 64, 28 // 50,176 patches of 1×1, of which gptqPatches are taken
	x := tensor.New(tensor.F32, images, 1, size, size)
	for i := range tensor.Data[float32](x) {
		tensor.Data[float32](x)[i] = float32(i)
	}
	var layer *graph.Node
	_, err := graph.Build(func(g *graph.Graph) {
		w := g.Param(graph.Leaf{Name: "w", Type: graph.Type{DType: tensor.F32, Shape: tensor.Shape{4, 1, 1, 1}}})
		layer = g.Conv2D(g.Input("x", tensor.F32, images, 1, size, size), w, nil, graph.Conv2D{}).Node
	})
	require.NoError(t, err)
	rows := inputRows(x, layer, 1)
	require.Len(t, rows, gptqPatches)
	at, image, row, col := map[int]bool{}, map[int]bool{}, map[int]bool{}, map[int]bool{}
	for _, v := range rows {
		i := int(v)
		at[i], image[i/size/size], row[i/size%size], col[i%size] = true, true, true, true
	}
	require.Len(t, at, gptqPatches, "none twice")
	require.Len(t, image, images)
	require.Len(t, row, size)
	require.Len(t, col, size)
}

// The sample grows by whole rows over all batches until its room is used up.
func TestSampleGrowsOverBatches(t *testing.T) {
	t.Parallel()
	x, want := &observed{room: 20}, []float32(nil)
	for batch := range 4 {
		v := tensor.New(tensor.F32, 2, 3)
		for i := range tensor.Data[float32](v) {
			tensor.Data[float32](v)[i] = float32(10*batch + i)
		}
		require.NoError(t, x.limit(tensor.Data[float32](v), v, Layer{Op: "matmul"}))
		want = append(want, tensor.Data[float32](v)...)
	}
	require.Equal(t, tensor.Shape{6, 3}, x.sample.Shape, "20 numbers are 6 rows of 3")
	require.Equal(t, want[:18], tensor.Data[float32](x.sample))
}

// The zero point of a range is exact: 0 comes back as 0, and the ends lie within one step.
func TestRangeQuantizer(t *testing.T) {
	t.Parallel()
	for _, r := range []Range{{Lo: -1, Hi: 3}, {Lo: 0, Hi: 7}, {Lo: -5, Hi: -1}, {Lo: 2, Hi: 3}, {}, {Lo: -1e-44, Hi: 1e-44}, {Lo: -1e30, Hi: 1e30}} {
		for _, d := range []tensor.DType{tensor.I8, tensor.U8} {
			s, z := r.Quantizer(d)
			require.Positive(t, s)
			least := map[tensor.DType]int{tensor.I8: -128, tensor.U8: 0}[d]
			require.True(t, z >= least && z <= least+255, "%v %v: %d", r, d, z)
			require.False(t, math.IsInf(float64(1/s), 0))
			if r.Hi > 1e-20 {
				require.InDelta(t, r.Hi, float64(s)*float64(least+255-z), float64(s))
			}
		}
	}
}

// A bias far beyond the sums' range widens its channel's scale instead of wrapping around.
func TestRoomForBias(t *testing.T) {
	t.Parallel()
	scales := []float32{1e-9, 1e-3}
	roomForBias(scales, []float32{1000, 1}, Range{Lo: 0, Hi: 255}, tensor.U8)
	require.InDelta(t, 1000.0/(1<<30), scales[0], 1e-9)
	require.Equal(t, float32(1e-3), scales[1])
}

// No bytes make a recipe fail other than by an error.
func FuzzRecipe(f *testing.F) {
	f.Add([]byte(`{"format":1,"activations":"u8","layers":[{"weight":"w","in":{"lo":-1,"hi":2},"axis":1}]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		r := &Recipe{}
		if json.Unmarshal(raw, r) != nil || r.Validate() != nil {
			return
		}
		for _, l := range r.Layers {
			_, _ = l.In.Quantizer(r.dtype())
			_ = r.layer(l.Weight)
		}
	})
}
