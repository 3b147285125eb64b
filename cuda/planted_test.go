//go:build cuda

package cuda

import (
	"math"
	"os"
	process "os/exec"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"gorgonia.org/cu"

	"ringo/cuda/driver"
	"ringo/cuda/soft"
	"ringo/kernels"
	"ringo/runtime/tensor"
)

// The planted mistakes are in cuda/soft/device/planted.cu. Each runs in a process of its own, since an error sticks to
// a device's context and the library's modes are chosen by environment variables.

// child runs TestPlantedChild/name in a process of its own and returns what it prints.
func child(t *testing.T, name string, env ...string) (string, error) {
	t.Helper()
	cmd := process.Command(os.Args[0], "-test.run=^TestPlantedChild$/^"+name+"$", "-test.v")
	cmd.Env = append(append(os.Environ(), "RINGO_PLANTED=1"), env...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func softDevice(t *testing.T) *device {
	t.Helper()
	library, err := soft.Library()
	require.NoError(t, err)
	b, err := Open("", library)
	require.NoError(t, err)
	return b.d
}

// upload returns device memory with 0, 1, 2, …, and results as large.
func upload(t *testing.T, d *device, n int) (x, y uint64) {
	t.Helper()
	host := make([]float32, n)
	for i := range host {
		host[i] = float32(i)
	}
	x, err := d.allocate(int64(4*n), false)
	require.NoError(t, err)
	y, err = d.allocate(int64(4*n), false)
	require.NoError(t, err)
	require.NoError(t, d.move(x, raw(host), true))
	return x, y
}

// run launches kernel(x, y) with one block and returns y.
func run(t *testing.T, d *device, kernel string, threads, n int) ([]float32, error) {
	t.Helper()
	require.NoError(t, d.enter())
	defer d.leave()
	x, y := upload(t, d, n)
	commands := launch(t, d, kernel, threads, x, y)
	if err := commands.Run(0, 1, d.ctx, d.compute); err != nil {
		return nil, err
	}
	out := make([]float32, n)
	return out, d.move(y, raw(out), false)
}

func launch(t *testing.T, d *device, kernel string, threads int, args ...any) *driver.Commands {
	t.Helper()
	b := &binder{d: d, commands: &driver.Commands{}}
	c := &kernels.DeviceCall{Device: d.info, Queue: b}
	const shared = 9 << 10 // what the products of a warpgroup want
	require.NoError(t, c.Launch(kernel, kernels.Grid(1), kernels.Block(threads), shared, args...))
	return b.commands
}

// TestPlantedChild holds what the tests below run in processes of their own.
func TestPlantedChild(t *testing.T) {
	if os.Getenv("RINGO_PLANTED") == "" {
		t.Skip("runs as a child of the tests that plant a mistake")
	}
	t.Run("barrier", func(t *testing.T) {
		y, err := run(t, softDevice(t), "planted_barrier", 256, 256)
		require.NoError(t, err)
		require.Equal(t, []float32{255, 254, 0}, []float32{y[0], y[1], y[255]})
	})
	t.Run("missing_barrier", func(t *testing.T) {
		y, err := run(t, softDevice(t), "planted_missing_barrier", 256, 256)
		require.NoError(t, err)
		require.True(t, y[0] != y[0] || y[255] != y[255], "a value was read before it was written: %v %v", y[0], y[255])
	})
	t.Run("divergent_barrier", func(t *testing.T) {
		_, err := run(t, softDevice(t), "planted_divergent_barrier", 256, 256)
		require.Regexp(t, "(?i)launch_?failed", err.Error())
	})
	t.Run("half_mask", func(t *testing.T) {
		y, err := run(t, softDevice(t), "planted_half_mask", 32, 32)
		require.NoError(t, err)
		require.True(t, math.IsNaN(float64(y[0])), "a lane outside the mask gave %v", y[0])
	})
	t.Run("missing_wait", func(t *testing.T) {
		y, err := run(t, softDevice(t), "planted_missing_wait", 32, 128)
		require.NoError(t, err)
		require.True(t, math.IsNaN(float64(y[0])), "the copy had arrived: %v", y[0])
	})
	t.Run("product", func(t *testing.T) {
		y, err := run(t, softDevice(t), "planted_product", 128, 2048)
		require.NoError(t, err)
		require.Equal(t, float32(0+1+4+9+16+25+36+49), y[0])
	})
	t.Run("product_missing_wait", func(t *testing.T) {
		y, err := run(t, softDevice(t), "planted_product_missing_wait", 128, 2048)
		require.NoError(t, err)
		require.True(t, math.IsNaN(float64(y[0])), "the product had landed: %v", y[0])
	})
	t.Run("product_missing_fence", func(t *testing.T) {
		_, err := run(t, softDevice(t), "planted_product_missing_fence", 128, 2048)
		require.Regexp(t, "(?i)launch_?failed", err.Error())
	})
	t.Run("out_of_bounds", func(t *testing.T) {
		_, err := run(t, softDevice(t), "planted_out_of_bounds", 256, 256)
		require.NoError(t, err)
	})
	t.Run("misaligned", func(t *testing.T) {
		_, err := run(t, softDevice(t), "planted_misaligned", 8, 64)
		require.NoError(t, err)
	})
	t.Run("missing_synchronisation", childMissingSynchronisation)
	t.Run("missing_event", childMissingEvent)
}

// The host reads a result that it did not wait for: without deferral it is there by luck, with it it is old.
func childMissingSynchronisation(t *testing.T) {
	d := softDevice(t)
	require.NoError(t, d.enter())
	defer d.leave()
	x, y := upload(t, d, 256)
	host, err := driver.NewPinned(4 * 256)
	require.NoError(t, err)
	out := tensor.View[float32](host.Bytes)
	out[0] = -1
	commands := launch(t, d, "planted_barrier", 256, x, y)
	require.NoError(t, commands.Run(0, 1, d.ctx, d.compute))
	require.NoError(t, cu.MemcpyDtoHAsync(unsafe.Pointer(&out[0]), cu.DevicePtr(y), 4*256, d.compute))
	early := out[0]
	require.NoError(t, d.compute.Synchronize())
	require.Equal(t, float32(255), out[0])
	require.Equal(t, os.Getenv("SOFTCUDA_DEFERRED") == "1", early == -1)
}

// A kernel reads what another stream copies, without waiting for that stream's event.
func childMissingEvent(t *testing.T) {
	d := softDevice(t)
	require.NoError(t, d.enter())
	defer d.leave()
	x, y := upload(t, d, 256)
	host, err := driver.NewPinned(4 * 256)
	require.NoError(t, err)
	for i := range tensor.View[float32](host.Bytes) {
		tensor.View[float32](host.Bytes)[i] = 7
	}
	require.NoError(t, cu.MemcpyHtoDAsync(cu.DevicePtr(x), unsafe.Pointer(&host.Bytes[0]), 4*256, d.copies))
	commands := launch(t, d, "planted_barrier", 256, x, y)
	require.NoError(t, commands.Run(0, 1, d.ctx, d.compute))
	out := make([]float32, 256)
	require.NoError(t, d.move(y, raw(out), false))
	require.Equal(t, os.Getenv("SOFTCUDA_DEFERRED") == "1", out[0] != 7, "got %v", out[0])
}

func TestPlantedMistakesShow(t *testing.T) {
	for _, name := range []string{"barrier", "missing_barrier", "divergent_barrier", "half_mask", "missing_wait", "product", "product_missing_wait", "product_missing_fence", "missing_synchronisation", "missing_event"} {
		for _, env := range []string{"SOFTCUDA_DEFERRED=0", "SOFTCUDA_DEFERRED=1", "SOFTCUDA_ORDER=reverse"} {
			t.Run(name+" "+env, func(t *testing.T) {
				t.Parallel()
				out, err := child(t, name, env)
				require.NoError(t, err, out)
				require.Contains(t, out, "--- PASS: TestPlantedChild/"+name)
			})
		}
	}
}

// An error in a kernel names the kernel and the block.
func TestKernelErrorNamesKernelAndBlock(t *testing.T) {
	t.Parallel()
	out, err := child(t, "divergent_barrier")
	require.NoError(t, err, out)
	require.Contains(t, out, "softcuda: kernel planted_divergent_barrier, block (0,0,0): barrier in divergent code: 128 of 256 threads ended")
}

// A product that reads what was copied without a fence is named.
func TestMissingProxyFenceIsNamed(t *testing.T) {
	t.Parallel()
	out, err := child(t, "product_missing_fence")
	require.NoError(t, err, out)
	require.Contains(t, out, "wgmma reads what thread 0 copied to shared memory without fence.proxy.async after it")
}

// asanEnv is the environment in which the software device runs under AddressSanitizer.
func asanEnv(t *testing.T) []string {
	t.Helper()
	library, err := soft.Library()
	require.NoError(t, err)
	asan := strings.TrimSuffix(library, ".so") + "_asan.so"
	if _, err := os.Stat(asan); err != nil {
		t.Skip("no AddressSanitizer build of the software device: scripts/cuda.sh asan makes it")
	}
	runtime, err := process.Command("gcc", "-print-file-name=libasan.so").Output()
	require.NoError(t, err)
	path := strings.TrimSpace(string(runtime))
	if !filepath.IsAbs(path) {
		t.Skip("the compiler has no libasan.so")
	}
	return []string{"RINGO_SOFT_LIBRARY=" + asan, "LD_PRELOAD=" + path, "ASAN_OPTIONS=detect_leaks=0,detect_stack_use_after_return=0", "RINGO_CUDA_SEPARATE=1"}
}

// A read one past the end is found, with the line of the kernel.
func TestOutOfBoundsIsFound(t *testing.T) {
	t.Parallel()
	out, err := child(t, "out_of_bounds", asanEnv(t)...)
	require.Error(t, err)
	require.Contains(t, out, "heap-buffer-overflow")
	require.Contains(t, out, "planted.cu:")
}

// A pack read from an address that is no multiple of 16 is found: a GPU would refuse it.
func TestMisalignedAccessIsFound(t *testing.T) {
	t.Parallel()
	out, err := child(t, "misaligned", asanEnv(t)...)
	require.Error(t, err)
	require.Contains(t, out, "misaligned address")
}

// Every op and several tiles under AddressSanitizer, with every buffer an allocation of its own.
func TestSuiteUnderAddressSanitizer(t *testing.T) {
	t.Parallel()
	cmd := process.Command(os.Args[0], "-test.run=^(TestSuite|TestSuiteBF16|TestShapes|TestWarpgroups)$")
	cmd.Env = append(os.Environ(), asanEnv(t)...)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
}

// The suite with work deferred until something synchronises, and threads run last to first.
func TestSuiteDeferredAndReversed(t *testing.T) {
	t.Parallel()
	cmd := process.Command(os.Args[0], "-test.run=^(TestSuite|TestWarpgroups)$")
	cmd.Env = append(os.Environ(), "SOFTCUDA_DEFERRED=1", "SOFTCUDA_ORDER=reverse")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
}

// raw is a slice's memory as bytes.
func raw[T float32 | uint32](x []T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(x))), 4*len(x))
}
