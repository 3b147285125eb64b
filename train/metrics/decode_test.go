package metrics

import (
	"bytes"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDecodeIsTheInverse(t *testing.T) {
	t.Parallel()
	nan := math.NaN()
	for _, e := range []Event{
		&Step{Step: 10, Loss: 3.21, LR: 0.001, GradNorm: 0.9, StepMS: 18.2, Rate: 42000, Unit: "tokens"},
		&Step{Step: 1, Loss: nan, LR: 1e-6, GradNorm: nan, StepMS: 0.00001235, Rate: 1, Unit: "samples"},
		&Step{Step: 3, Loss: 1, LR: 1, GradNorm: nan, Unit: "tokens", GPU: &GPU{0.97, 12345678901, 401.5, 61}},
		&Step{Step: 4, Loss: 1, LR: 1, GradNorm: nan, Unit: "tokens", GPU: &GPU{nan, 1, nan, 61}},
		&Eval{250, 1.91, 0.43, nan, true}, &Eval{250, nan, nan, 7.5, false}, &View{3, 4, "worker 2 died", 120, 410},
		&Checkpoint{250, "a\"\\\n\x01ü"}, &Start{0, 5, "gpt", 7, "cpu", "fp32", "d"}, &Sample{1, "x\ny"},
		&Done{2000, 1.86, nan, "ab", 41, 123456789, "finished", 0, 0},
		&Done{2000, 1.86, nan, "ab", 41, 123456789, "early stop", 1500, 1.8},
	} {
		line := e.AppendJSON(nil)
		got, err := Decode(line)
		require.NoError(t, err)
		require.IsType(t, e, got)
		require.Equal(t, string(line), string(got.AppendJSON(nil)))
	}
	for _, bad := range []string{"", "{", `{"event":"launch"}`, `{"event":"step","step":"x"}`} {
		_, err := Decode([]byte(bad))
		require.ErrorContains(t, err, "metrics: ")
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"event":"step","step":10,"loss":3.21,"lr":0.001,"step_ms":18.2,"tokens_per_s":42000}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		e, err := Decode(line)
		if err != nil {
			return
		}
		once := e.AppendJSON(nil)
		again, err := Decode(once)
		require.NoError(t, err)
		require.True(t, bytes.Equal(once, again.AppendJSON(nil)))
	})
}
