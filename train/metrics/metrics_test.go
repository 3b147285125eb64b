package metrics

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"image/png"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"
)

func TestEventsAreJSON(t *testing.T) {
	t.Parallel()
	for want, e := range map[string]Event{
		`{"event":"step","step":10,"loss":3.21,"lr":0.001,"grad_norm":0.9,"step_ms":18.2,"tokens_per_s":42000}`:                                                  &Step{10, 3.21, 0.001, 0.9, 18.2, 42000, "tokens", nil},
		`{"event":"step","step":2,"loss":1,"lr":1,"step_ms":1,"tokens_per_s":1,"gpu_busy":0.97,"gpu_memory_bytes":5,"gpu_power_w":612.5,"gpu_temperature_c":61}`: &Step{2, 1, 1, math.NaN(), 1, 1, "tokens", &GPU{0.97, 5, 612.5, 61}},
		`{"event":"step","step":1,"loss":null,"lr":0.000001,"step_ms":0.00001235,"samples_per_s":1}`:                                                             &Step{1, math.NaN(), 1e-6, math.NaN(), 0.000012345678, 1, "samples", nil},
		`{"event":"eval","step":250,"val_loss":1.91,"accuracy":0.43,"best":true}`:                                                                                &Eval{250, 1.91, 0.43, math.NaN(), true},
		`{"event":"view","epoch":3,"workers":4,"reason":"worker 2 died","step":120,"recovery_ms":410}`:                                                           &View{3, 4, "worker 2 died", 120, 410},
		`{"event":"checkpoint","step":250,"path":"a\"\\\n\u0001ü"}`:                                                                                              &Checkpoint{250, "a\"\\\n\x01ü"},
		`{"event":"sample","step":1,"text":"x"}`:                                                                                                                 &Sample{1, "x"},
		`{"event":"start","step":0,"steps":5,"model":"gpt","params":7,"device":"cpu","precision":"fp32","data":"d"}`:                                             &Start{0, 5, "gpt", 7, "cpu", "fp32", "d"},
		`{"event":"done","step":2000,"val_loss":1.86,"model_sha256":"ab","wall_s":41,"peak_rss_bytes":123456789,"reason":"finished"}`:                            &Done{2000, 1.86, math.NaN(), "ab", 41, 123456789, "finished", 0, 0},
	} {
		got := string(e.AppendJSON(nil))
		require.Equal(t, want, got)
		require.True(t, json.Valid([]byte(got)), got)
	}
}

func TestStepEventsDoNotAllocate(t *testing.T) {
	dir := t.TempDir()
	f, _, err := OpenFile(filepath.Join(dir, "metrics.jsonl"), 0)
	require.NoError(t, err)
	tb, err := OpenTensorBoard(dir, 0, time.Now)
	require.NoError(t, err)
	l := NewLog(f, tb, NewPlot(filepath.Join(dir, "loss.png"), "x", nil, 1000))
	e := &Step{1, 3.14159, 1e-3, 0.25, 17.25, 43000, "tokens", nil}
	emit := func() {
		e.Step++
		require.NoError(t, l.Emit(e))
	}
	emit()
	require.Zero(t, testing.AllocsPerRun(200, emit))
	require.NoError(t, l.Close())
}

func TestResumedFileDropsLaterSteps(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "metrics.jsonl")
	f, _, err := OpenFile(path, 0)
	require.NoError(t, err)
	l := NewLog(f)
	for i := 1; i <= 4; i++ {
		require.NoError(t, l.Emit(&Step{Step: i, Loss: float64(10 - i), GradNorm: math.NaN(), Unit: "tokens"}))
	}
	require.NoError(t, l.Emit(&Eval{Step: 2, ValLoss: 5}))
	require.NoError(t, l.Emit(&Done{Step: 2}))
	_, err = f.f.WriteString(`{"event":"step","st`)
	require.NoError(t, err)
	require.NoError(t, l.Close())

	f, history, err := OpenFile(path, 2)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	require.Len(t, history, 3)
	require.Equal(t, 9.0, *history[0].Loss)
	require.Equal(t, 5.0, *history[2].ValLoss)
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, 3, strings.Count(string(raw), "\n"))
	_, _, err = OpenFile(filepath.Join(path, "no", "folder"), 0)
	require.Error(t, err)
}

// The file is read back by TensorBoard's own rules: frames, checksums, messages.
func TestTensorBoardFrames(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	clock := func() time.Time { return time.Unix(1700000000, 500e6) }
	tb, err := OpenTensorBoard(dir, 7, clock)
	require.NoError(t, err)
	require.NoError(t, tb.Event(&Step{Step: 8, Loss: 2.5, LR: 0.5, GradNorm: math.NaN(), StepMS: 1}, nil))
	require.NoError(t, tb.Event(&Checkpoint{}, nil))
	require.NoError(t, tb.Close())
	files, err := filepath.Glob(filepath.Join(dir, "events.out.tfevents.1700000000.*"))
	require.NoError(t, err)
	require.Len(t, files, 1)
	raw, err := os.ReadFile(files[0])
	require.NoError(t, err)
	var events [][]byte
	for len(raw) > 0 {
		n := binary.LittleEndian.Uint64(raw)
		require.Equal(t, maskedCRC(raw[:8]), binary.LittleEndian.Uint32(raw[8:]))
		msg := raw[12 : 12+n]
		require.Equal(t, maskedCRC(msg), binary.LittleEndian.Uint32(raw[12+n:]))
		events = append(events, msg)
		raw = raw[16+n:]
	}
	require.Len(t, events, 3)
	require.Equal(t, "brain.Event:2", string(field(t, events[0], eventFileVersion)))
	require.NotNil(t, field(t, events[1], eventSessionLog))
	first := field(t, field(t, events[2], eventSummary), summaryValue)
	require.Equal(t, "loss/train", string(field(t, first, valueTag)))
	bits, n := protowire.ConsumeFixed32(field(t, first, valueSimple))
	require.Positive(t, n)
	require.Equal(t, float32(2.5), math.Float32frombits(bits))
	// RFC 3720, section B.4: the checksum of 32 zero bytes is 8a9136aa; masked by hand.
	c := uint32(0x8a9136aa)
	require.Equal(t, (c>>15|c<<17)+0xa282ead8, maskedCRC(make([]byte, 32)))
}

// field returns the raw value of the first field with a number.
func field(t *testing.T, msg []byte, num protowire.Number) []byte {
	t.Helper()
	for len(msg) > 0 {
		got, typ, n := protowire.ConsumeTag(msg)
		require.Positive(t, n)
		msg = msg[n:]
		m := protowire.ConsumeFieldValue(got, typ, msg)
		require.Positive(t, m)
		if got == num {
			if typ == protowire.BytesType {
				v, _ := protowire.ConsumeBytes(msg)
				return v
			}
			return msg[:m]
		}
		msg = msg[m:]
	}
	return nil
}

func TestPlotDraws(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "loss.png")
	require.NoError(t, NewPlot(path, "empty", nil, 0).Close())
	require.NoFileExists(t, path)
	p := NewPlot(path, "gpt-char: loss", nil, 100)
	for i := range 200 {
		s := float64(i * 10)
		noise := 0.06 * math.Sin(s*1.7) * math.Cos(s*0.31)
		require.NoError(t, p.Event(&Step{Step: i * 10, Loss: 1.6 + 2.6*math.Exp(-s/250) + noise}, nil))
		if i%25 == 24 {
			require.NoError(t, p.Event(&Eval{Step: i*10 + 10, ValLoss: 1.75 + 2.4*math.Exp(-s/260)}, nil))
		}
	}
	require.NoError(t, p.Event(&Step{Step: 1, Loss: math.NaN()}, nil))
	require.NoError(t, p.Close())
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	img, err := png.Decode(bytes.NewReader(raw))
	require.NoError(t, err)
	require.Equal(t, 960, img.Bounds().Dx())
	if to := os.Getenv("RINGO_TEST_KEEP_PLOT"); to != "" {
		require.NoError(t, os.WriteFile(to, raw, 0o644))
	}
	require.ErrorContains(t, NewPlot(filepath.Join(path, "x.png"), "", []Point{{Step: 1, Loss: new(float64)}}, 0).Close(), "loss plot")
}

func TestTicks(t *testing.T) {
	t.Parallel()
	for _, r := range [][2]float64{{0, 2000}, {0, 1}, {1.6, 4.2}, {0, 7}, {-3, 1e9}, {math.Pi, math.Nextafter(math.Pi, 4)}, {5, 5}, {1e300, math.Inf(1)}} {
		n := len(ticks(r[0], r[1]))
		require.LessOrEqual(t, n, 12, "%v", r)
		if d := r[1] - r[0]; d > 1e-3 && finite(d) {
			require.GreaterOrEqual(t, n, 5, "%v", r)
		}
	}
}

func ExampleLog() {
	l := NewLog(Lines{os.Stdout})
	err := l.Emit(&Eval{Step: 250, ValLoss: 1.91, Accuracy: 0.43, Perplexity: math.NaN()})
	fmt.Print(err)
	// Output:
	// {"event":"eval","step":250,"val_loss":1.91,"accuracy":0.43,"best":false}
	// <nil>
}

func TestProgressDisplays(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	at := time.Unix(0, 0)
	l := NewLog(NewPlain(&out, func() time.Time { return at }))
	var bar bytes.Buffer
	l.Add(NewBar(&bar))
	for _, e := range []Event{
		&Start{Step: 5, Steps: 100, Model: "gpt", Params: 809856, Device: "cpu", Precision: "fp32", Data: "text"},
		&Step{6, 3.2, 1e-3, 1, 20, 42000, "tokens", nil},
		&Step{7, 3.1, 1e-3, 1, 20, 42000, "tokens", nil}, // too soon after the last
		&Eval{7, 1.5, 0.5, math.NaN(), true},
		&Eval{7, 1.5, math.NaN(), 4.48, false},
		&Step{100, 3.0, 1e-3, 1, 20, 1234567, "tokens", nil},
		&Sample{100, "x"},
		&Done{Step: 100},
	} {
		require.NoError(t, l.Emit(e))
	}
	require.NoError(t, l.Close())
	require.Equal(t, `gpt, 809,856 parameters, fp32; cpu; text; going on after step 5
step      6/100  loss 3.2000  lr 1.00e-03  20.0 ms/step  42,000 tokens/s  2s left
step      7  validation loss 1.5000  accuracy 50.00 %  (best)
step      7  validation loss 1.5000  perplexity 4.480
step    100/100  loss 3.0000  lr 1.00e-03  20.0 ms/step  1,234,567 tokens/s  0s left
`, out.String())
	require.Contains(t, bar.String(), "loss 3.0000  val 1.5000  1,234,567 tokens/s")
	require.Contains(t, bar.String(), "accuracy 50.00 %")
	require.Equal(t, "-1,000", Group(-1000))
}

// A long run's plot is drawn from means of neighbours: it takes no longer than that of a short one.
func TestPlotOfALongRun(t *testing.T) {
	t.Parallel()
	p := NewPlot("", "long", nil, 1_000_000)
	for i := range 1_000_000 {
		require.NoError(t, p.Event(&Step{Step: i + 1, Loss: 2}, nil))
	}
	shown := thinned(p.train, mostPoints)
	require.LessOrEqual(t, len(shown), mostPoints)
	require.InDelta(t, 2, shown[len(shown)-1].Y, 1e-9)
	require.NoError(t, p.Draw(io.Discard))
}
