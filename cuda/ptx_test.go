//go:build cuda

package cuda

import (
	"fmt"
	"os"
	process "os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"gorgonia.org/cu"

	"ringo/cuda/driver"
	"ringo/cuda/soft"
	"ringo/kernels"
)

// The PTX machine (cuda/soft/ptx) runs the PTX that ships. The mistakes of cuda/soft/ptx/planted.cu are compiled by the compiler
// that ships, too.

// loadPTX loads a text in place of a device's kernels.
func loadPTX(t *testing.T, d *device, text string) {
	t.Helper()
	require.NoError(t, d.enter())
	defer d.leave()
	m, err := cu.LoadData(text + "\x00")
	require.NoError(t, err)
	d.modules, d.functions = []cu.Module{m}, map[string]*function{}
}

// planted is the text of planted.cu; it lies beside the software device where scripts/cuda.sh planted has made it.
func planted(t *testing.T) string {
	t.Helper()
	library, err := soft.Library()
	require.NoError(t, err)
	text, err := os.ReadFile(filepath.Join(filepath.Dir(library), "cuda", "planted.ptx"))
	if err != nil {
		t.Skip("no planted.ptx: scripts/cuda.sh planted makes it")
	}
	return string(text)
}

// launchPTX runs kernel(x, y) over blocks of 64 threads, x and y with 512 floats in allocations of their own.
func launchPTX(t *testing.T, d *device, kernel string, blocks int) ([]float32, error) {
	t.Helper()
	require.NoError(t, d.enter())
	defer d.leave()
	x, y := upload(t, d, 512)
	b := &binder{d: d, commands: &driver.Commands{}}
	c := &kernels.DeviceCall{Device: d.info, Queue: b}
	require.NoError(t, c.Launch(kernel, kernels.Grid(blocks), kernels.Block(64), 256, x, y))
	if err := b.commands.Run(0, 1, d.ctx, d.compute); err != nil {
		return nil, err
	}
	out := make([]float32, 512)
	return out, d.move(y, raw(out), false)
}

// blocksOf is how many blocks show a kernel's mistake.
func blocksOf(kernel string) int {
	if strings.HasPrefix(kernel, "planted_block") {
		return 2
	}
	return 1
}

// plantedPTX lists the mistakes: what is said of each, and where.
var plantedPTX = []struct{ name, says, line string }{
	{"misaligned", `thread \(0,0,0\).*ld\.global\.v4.*reads 16 bytes of global memory at 0x[0-9a-f]*4, which is no multiple of 16`, "device.cuh:"},
	{"out_of_bounds", `thread \(63,0,0\).*reads 4 bytes of global memory at 0x[0-9a-f]+, 2048 bytes into the nearest allocation, of 2048`, "planted.cu:11"},
	{"missing_barrier", `reads shared memory at offset \d+ that nobody wrote in this block`, "planted.cu:19"},
	{"missing_syncwarp", `reads shared memory at offset 124 that thread 31 wrote, with no barrier between`, "planted.cu:29"},
	{"write_after_read", `reads shared memory at offset 124 that thread 31 wrote, with no barrier between`, "planted.cu:41"},
	{"block_reads_block", `reads global memory at 0x[0-9a-f]+ that block 0 wrote in the same launch`, "planted.cu:54"},
	{"blocks_write", `writes global memory at 0x[0-9a-f]+ that block 0 wrote in the same launch`, "planted.cu:64"},
	{"missing_wait", `reads shared memory at offset 512 while cp.async is on its way there`, "planted.cu:74"},
	{"wait_without_barrier", `reads shared memory at offset 512 (that nobody wrote in this block|while cp.async is on its way there)`, "planted.cu:74"},
	{"refilled_too_soon", `reads shared memory at offset 508 that thread 31 wrote, with no barrier between`, "planted.cu:89"},
	{"shared_out_of_bounds", `thread \(63,0,0\).*writes 4 bytes of shared memory at offset 256, the block has 256`, "planted.cu:100"},
	{"shared_unwritten", `thread \(63,0,0\).*reads shared memory at offset 256 that nobody wrote in this block`, "planted.cu:112"},
	{"divergent_barrier", `barrier in divergent code: 32 of 64 threads ended`, ""},
	{"two_barriers", `barrier in divergent code: lanes of one warp wait at different barriers`, "planted.cu:1"},
	{"half_mask", `shuffles from lane 16, which is not in its mask 0xffff`, "planted.cu:133"},
	{"ended_lane", `thread \(30,0,0\).*shuffles from lane 31, which has ended`, "planted.cu:140"},
	{"wrong_mask", `thread \(31,0,0\).*is not in the mask 0x7fffffff of its own instruction`, "planted.cu:142"},
	{"divergent_product", `mma\.sync.*waits for lanes 0x20, which end or wait elsewhere`, "mma.cuh:"},
}

// Each mistake is found, with kernel, thread, line of PTX and line of source.
func TestPTXMistakesAreFound(t *testing.T) {
	t.Parallel()
	planted(t)
	for _, c := range plantedPTX {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			out, err := ptxChild(t, "mistake", "RINGO_PTX_KERNEL=planted_"+c.name)
			require.NoError(t, err, out)
			require.Regexp(t, `softcuda: kernel planted_`+c.name+`, block .*`+c.says, out)
			require.Contains(t, out, c.line)
		})
	}
}

// ptxChild runs TestPTXChild/name in a process of its own, since an error sticks to a context.
func ptxChild(t *testing.T, name string, env ...string) (string, error) {
	t.Helper()
	cmd := process.Command(os.Args[0], "-test.run=^TestPTXChild$/^"+name+"$", "-test.v")
	cmd.Env = append(append(os.Environ(), "RINGO_PTX_CHILD=1"), env...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestPTXChild(t *testing.T) {
	if os.Getenv("RINGO_PTX_CHILD") == "" {
		t.Skip("runs as a child of the tests of the PTX machine")
	}
	t.Run("mistake", func(t *testing.T) {
		d := softDevice(t)
		loadPTX(t, d, planted(t))
		kernel := os.Getenv("RINGO_PTX_KERNEL")
		_, err := launchPTX(t, d, kernel, blocksOf(kernel))
		require.Regexp(t, "(?i)launch_?failed", err.Error())
	})
	t.Run("snippet", func(t *testing.T) {
		d := softDevice(t)
		loadPTX(t, d, ptxKernel(os.Getenv("RINGO_PTX_BODY")))
		_, err := launchPTX(t, d, "snippet", 1)
		require.Regexp(t, "(?i)launch_?failed", err.Error())
	})
	t.Run("kernels", childEveryKernel)
}

// The twins without the mistakes run.
func TestPTXTwinsRun(t *testing.T) {
	d := softDevice(t)
	loadPTX(t, d, planted(t))
	for name, want := range twins {
		y, err := launchPTX(t, d, "planted_"+name+"_twin", blocksOf("planted_"+name))
		require.NoError(t, err, name)
		for i, v := range y[:64] {
			require.Equal(t, want(i), v, "%s: element %d", name, i)
		}
	}
}

// twins are what the twins compute of x[i] = i.
var twins = map[string]func(i int) float32{
	"misaligned":           func(i int) float32 { return float32(i + 4) },
	"out_of_bounds":        func(i int) float32 { return float32(448 + i) },
	"missing_barrier":      func(i int) float32 { return float32(63 - i) },
	"missing_syncwarp":     func(i int) float32 { return float32(i ^ 31) },
	"write_after_read":     func(i int) float32 { return float32(63 - i + 127 - i) },
	"block_reads_block":    func(i int) float32 { return float32(i) },
	"blocks_write":         func(i int) float32 { return float32(i) },
	"missing_wait":         func(i int) float32 { return float32((i + 128) % 256) },
	"refilled_too_soon":    func(i int) float32 { return float32(255 - 4*i + 511 - 4*i) },
	"shared_out_of_bounds": func(i int) float32 { return float32(i) },
	"half_mask":            func(i int) float32 { return float32(i ^ 8) },
}

// Every kernel that ships is decoded: no instruction in it is unknown to the PTX machine.
func TestPTXOfEveryKernelIsKnown(t *testing.T) {
	t.Parallel()
	out, err := ptxChild(t, "kernels", "SOFTCUDA_PTX=1")
	require.NoError(t, err, out)
}

func childEveryKernel(t *testing.T) {
	d := softDevice(t)
	require.NoError(t, d.enter())
	defer d.leave()
	texts, err := images(d.info.Capability, true)
	if err != nil {
		t.Skip(err)
	}
	n := 0
	for _, text := range texts {
		for _, line := range strings.Split(text, "\n") {
			var name string
			if _, err := fmt.Sscanf(line, ".visible .entry %s", &name); err != nil {
				continue
			}
			f, err := d.function(strings.TrimSuffix(name, "("))
			require.NoError(t, err)
			require.NotZero(t, f.handle)
			n++
		}
	}
	require.Greater(t, n, 400)
}

// Every op at every sample in f32 and bf16, shapes of several tiles, and ten steps of training against PyTorch, all on the PTX
// that ships, with every buffer an allocation of its own.
func TestSuiteOnPTX(t *testing.T) {
	t.Parallel()
	onPTX(t, "^(TestSuite|TestSuiteBF16|TestShapes|TestGolden)$", "RINGO_CUDA_SEPARATE=1")
}

// Warps last to first.
func TestSuiteOnPTXReversed(t *testing.T) {
	t.Parallel()
	onPTX(t, "^(TestSuite|TestSuiteBF16)$", "SOFTCUDA_ORDER=reverse", "SOFTCUDA_DEFERRED=1")
}

func onPTX(t *testing.T, tests string, env ...string) {
	t.Helper()
	if _, err := unpack("image/unary.ptx.gz"); err != nil {
		t.Skip("no images of the kernels: scripts/cuda.sh image makes them")
	}
	cmd := process.Command(os.Args[0], "-test.run="+tests, "-test.short")
	cmd.Env = append(append(os.Environ(), "SOFTCUDA_PTX=1"), env...)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
}
