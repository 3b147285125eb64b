package bench

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Every job runs and its loss is a number; the small ones only, the rest are for `ringo bench`.
func TestJobsRun(t *testing.T) {
	for _, name := range []string{"gpt-char", "mnist-mlp"} {
		job, err := Find(name)
		require.NoError(t, err)
		c := DefaultConfig()
		c.Steps = 2
		r, err := Run(job, c)
		require.NoError(t, err)
		require.Greater(t, r.Loss, 0.0)
		require.Less(t, r.Loss, 6.0)
		require.Positive(t, r.MS)
		require.Positive(t, r.PeakShare)
	}
}

// What a job runs on, and how, is its own where nothing else is asked for.
func TestJobsChooseDeviceAndPrecision(t *testing.T) {
	t.Parallel()
	for name, want := range map[string][2]string{"gpt2-124m": {"cpu", "fp32"}, "gpt2-124m-gpu": {"cuda", "bf16"}} {
		job, err := Find(name)
		require.NoError(t, err)
		c := DefaultConfig().of(job)
		require.Equal(t, want, [2]string{c.Device, c.DType})
		c = Config{Device: "soft", DType: "fp32"}.of(job)
		require.Equal(t, [2]string{"soft", "fp32"}, [2]string{c.Device, c.DType})
	}
}

func TestUnknownJobIsNamed(t *testing.T) {
	t.Parallel()
	_, err := Find("gpt-5")
	require.ErrorContains(t, err, `benchmark "gpt-5" is unknown: expected kernels, allreduce or one of`)
	require.ErrorContains(t, Config{DType: "fp8"}.Validate(), `dtype "fp8": expected fp32 or bf16`)
}

// BenchmarkTrain times whole training steps: go test ./bench -bench 'Train/gpt-char$'.
func BenchmarkTrain(b *testing.B) {
	for _, job := range jobs {
		b.Run(job.Name, func(b *testing.B) {
			if job.GPU {
				b.Skip("too large for a CPU")
			}
			w, err := prepare(job, DefaultConfig())
			require.NoError(b, err)
			defer w.close()
			require.NoError(b, w.run())
			b.ReportAllocs()
			for b.Loop() {
				_ = w.run()
			}
			b.ReportMetric(float64(w.exec.Program().Totals().FLOPs)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
		})
	}
}
