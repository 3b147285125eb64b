//go:build cuda

package cuda

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"ringo/cuda/driver"
	"ringo/cuda/soft"
	"ringo/kernels"
)

// nullLaunches returns a device and a list of n launches with eight arguments.
func nullLaunches(t testing.TB, n int) (*device, *driver.Commands) {
	t.Helper()
	library, err := soft.Library()
	require.NoError(t, err)
	b, err := Open("", library)
	require.NoError(t, err)
	list := &binder{d: b.d, commands: &driver.Commands{}}
	c := &kernels.DeviceCall{Device: b.d.info, Queue: list}
	for range n {
		require.NoError(t, c.Launch("planted_nothing", kernels.Grid(1), kernels.Block(32), 0,
			uint64(1), uint64(2), uint64(3), uint64(4), int64(5), int32(6), float32(7), uint32(8)))
	}
	return b.d, list.commands
}

// BenchmarkLaunch is what a launch costs on top of the driver's own work. It needs a driver that does nothing:
//
//	SOFTCUDA_NULL=1 go test -tags cuda ./cuda -run '^$' -bench Launch
func BenchmarkLaunch(b *testing.B) {
	if os.Getenv("SOFTCUDA_NULL") == "" {
		b.Skip("set SOFTCUDA_NULL=1")
	}
	for name, n := range map[string]int{"one per call": 1, "200 per call": 200} {
		b.Run(name, func(b *testing.B) {
			d, list := nullLaunches(b, n)
			require.NoError(b, d.enter())
			defer d.leave()
			b.ReportAllocs()
			for b.Loop() {
				if err := list.Run(0, n, d.ctx, d.compute); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/launch")
		})
	}
}

func TestLaunchAllocatesNothing(t *testing.T) {
	d, list := nullLaunches(t, 3)
	require.NoError(t, d.enter())
	defer d.leave()
	require.Zero(t, testing.AllocsPerRun(20, func() {
		if list.Run(0, 3, d.ctx, d.compute) != nil {
			t.Fail()
		}
	}))
	require.NoError(t, d.compute.Synchronize())
}

// A launch whose arguments do not fit the kernel is refused when the program is bound.
func TestArgumentsAreChecked(t *testing.T) {
	d, _ := nullLaunches(t, 0)
	b := &binder{d: d, commands: &driver.Commands{}}
	c := &kernels.DeviceCall{Device: d.info, Queue: b}
	require.NoError(t, d.enter())
	defer d.leave()
	err := c.Launch("planted_barrier", kernels.Grid(1), kernels.Block(256), 0, uint64(1), int32(2))
	require.EqualError(t, err, "kernel planted_barrier takes parameters of [8 8] bytes, the launch passes [8 4]")
	err = c.Launch("planted_nonsense", kernels.Grid(1), kernels.Block(256), 0)
	require.ErrorContains(t, err, `kernel "planted_nonsense" is in no image`)
	err = c.Launch("planted_barrier", kernels.Grid(1), kernels.Block(256), 1<<20, uint64(1), uint64(2))
	require.ErrorContains(t, err, "asks for 1048576 bytes of shared memory")
}
