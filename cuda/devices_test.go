//go:build cuda

package cuda

import (
	"encoding/hex"
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

// sharing is the device whose memory TestIPC shares: the software device, or the GPU where RINGO_TEST_DEVICE names it.
func sharing(t *testing.T) *device {
	t.Helper()
	if os.Getenv("RINGO_TEST_DEVICE") != "cuda" {
		return softDevice(t)
	}
	b, err := Open("", "")
	require.NoError(t, err)
	return b.d
}

// ipcVariable tells the child of TestIPC the handle and that it is one.
const ipcVariable = "RINGO_TEST_IPC"

// One process's memory, read and written by another: both ends see the same bytes.
func TestIPC(t *testing.T) {
	t.Parallel()
	d := sharing(t)
	require.NoError(t, d.enter())
	defer d.leave()
	x, _ := upload(t, d, 1000)
	h, err := driver.Export(cu.DevicePtr(x))
	require.NoError(t, err)
	if d.soft { // of a driver, only what must go well is asked: what it does beyond is not documented
		_, err = driver.Import(h)
		require.Error(t, err, "a handle is for other processes")
		require.Error(t, driver.CloseImport(cu.DevicePtr(x)), "it is no import")
	}

	cmd := process.Command(os.Args[0], "-test.run=^TestIPCChild$", "-test.v")
	cmd.Env = append(os.Environ(), ipcVariable+"="+hex.EncodeToString(h[:]))
	said, err := cmd.CombinedOutput()
	require.NoError(t, err, string(said))
	require.Contains(t, string(said), "--- PASS: TestIPCChild")

	out := make([]float32, 1000)
	require.NoError(t, d.move(x, raw(out), false))
	require.Equal(t, []float32{-1, 1, 998, -2}, []float32{out[0], out[1], out[998], out[999]})
	require.NoError(t, d.free(x))
	if d.soft {
		cmd = process.Command(os.Args[0], "-test.run=^TestIPCChild$")
		cmd.Env = append(os.Environ(), ipcVariable+"="+hex.EncodeToString(h[:]))
		require.Error(t, cmd.Run(), "it was freed")
	}
}

func TestIPCChild(t *testing.T) {
	text, err := hex.DecodeString(os.Getenv(ipcVariable))
	require.NoError(t, err)
	if len(text) == 0 {
		t.Skip("runs as a child of TestIPC")
	}
	d := sharing(t)
	require.NoError(t, d.enter())
	defer d.leave()
	x, err := driver.Import(driver.IPCHandle(text))
	require.NoError(t, err)
	numbers := make([]float32, 1000)
	require.NoError(t, d.move(uint64(x), raw(numbers), false))
	for i, v := range numbers {
		require.Equal(t, float32(i), v)
	}
	numbers[0], numbers[999] = -1, -2
	require.NoError(t, d.move(uint64(x), raw(numbers), true))
	require.NoError(t, driver.CloseImport(x))
	if d.soft {
		require.Error(t, d.move(uint64(x), raw(numbers), false), "it is closed")
	}
}
