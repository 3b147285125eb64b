//go:build cuda

package cuda

import (
	"os"
	process "os/exec"
	"testing"

	"github.com/stretchr/testify/require"
	"gorgonia.org/cu"

	"ringo/cuda/driver"
	"ringo/cuda/soft"
)

// Several devices, in a process of its own: the driver counts them when it starts.
func TestSeveralDevices(t *testing.T) {
	t.Parallel()
	for _, env := range []string{"SOFTCUDA_DEFERRED=0", "SOFTCUDA_DEFERRED=1"} {
		cmd := process.Command(os.Args[0], "-test.run=^TestSeveralDevicesChild$", "-test.v")
		cmd.Env = append(os.Environ(), "SOFTCUDA_DEVICES=2", env)
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, string(out))
		require.Contains(t, string(out), "--- PASS: TestSeveralDevicesChild")
	}
}

func TestSeveralDevicesChild(t *testing.T) {
	if os.Getenv("SOFTCUDA_DEVICES") == "" {
		t.Skip("runs as a child of TestSeveralDevices")
	}
	library, err := soft.Library()
	require.NoError(t, err)
	first, err := Open("0", library)
	require.NoError(t, err)
	second, err := Open("1", library)
	require.NoError(t, err)
	a, b := first.d, second.d

	// Each device has streams and memory of its own.
	require.NoError(t, a.enter())
	x, y := upload(t, a, 256)
	require.NoError(t, launch(t, a, "planted_barrier", 256, x, y).Run(0, 1, a.ctx, a.compute))
	done, err := cu.MakeEvent(cu.DisableTiming)
	require.NoError(t, err)
	require.NoError(t, done.Record(a.compute))
	a.leave()

	// A peer copy waits for the other device's stream by an event.
	require.NoError(t, b.enter())
	defer b.leave()
	require.NoError(t, driver.EnablePeer(b.ordinal, a.ordinal, a.ctx))
	there, err := b.allocate(4*256, false)
	require.NoError(t, err)
	require.NoError(t, b.compute.Wait(done, 0))
	require.NoError(t, cu.MemcpyPeerAsync(cu.DevicePtr(there), b.ctx, cu.DevicePtr(y), a.ctx, 4*256, b.compute))
	out := make([]float32, 256)
	require.NoError(t, b.move(there, raw(out), false))
	require.Equal(t, []float32{255, 254, 0}, []float32{out[0], out[1], out[255]})
}

// Memory in a stream's order: what is freed there may be used by work enqueued before.
func TestAsyncMemory(t *testing.T) {
	d := softDevice(t)
	require.NoError(t, d.enter())
	defer d.leave()
	p, err := driver.AllocAsync(4*256, d.compute)
	require.NoError(t, err)
	x, _ := upload(t, d, 256)
	require.NoError(t, cu.MemcpyDtoDAsync(p, cu.DevicePtr(x), 4*256, d.compute))
	require.NoError(t, driver.FreeAsync(p, d.compute))
	require.NoError(t, d.compute.Synchronize())
	require.Error(t, cu.MemcpyDtoDAsync(p, cu.DevicePtr(x), 4*256, d.compute), "it was freed")
}

// The software device's memory cannot be shared between processes, and says so.
func TestIPCIsRefusedHere(t *testing.T) {
	d := softDevice(t)
	require.NoError(t, d.enter())
	defer d.leave()
	x, _ := upload(t, d, 1)
	_, err := driver.Export(cu.DevicePtr(x))
	require.ErrorContains(t, err, "CUDA_ERROR_NOT_SUPPORTED")
}
