//go:build cuda

package cuda

import (
	"errors"
	"os"
	process "os/exec"
	"testing"

	"github.com/stretchr/testify/require"
	"gorgonia.org/cu"

	"ringo/cuda/driver"
	"ringo/cuda/soft"
	"ringo/runtime/graph"
	"ringo/runtime/plan"
	"ringo/runtime/tensor"
)

// product is a program y = x·w, element by element.
func product(t *testing.T, size int) *plan.Program {
	t.Helper()
	g, err := graph.Build(func(g *graph.Graph) {
		w := g.Param(graph.Leaf{Name: "w", Type: graph.Type{DType: tensor.F32, Shape: tensor.Shape{size}}})
		g.Output("y", g.Neg(g.Mul(w, g.Input("x", tensor.F32, size))))
	})
	require.NoError(t, err)
	p, err := plan.Compile(g, plan.Options{})
	require.NoError(t, err)
	return p
}

// Feeding, running and fetching allocate nothing, and many steps in a row keep the inputs apart.
func TestStepsAllocateNothing(t *testing.T) {
	b := &Backend{softDevice(t)}
	st := b.NewStore()
	defer st.Close()
	e, err := b.Compile(product(t, 3), st)
	require.NoError(t, err)
	defer e.Close()
	require.NoError(t, st.Write("w", raw([]float32{1, 2, 3})))
	x, y := []float32{0, 0, 0}, make([]float32, 3)
	rawX, rawY := raw(x), raw(y)
	step := func() {
		x[0]++
		if e.Feed("x", rawX) != nil || e.Run(0, 2) != nil || e.Fetch("y", rawY) != nil || y[0] != -x[0] {
			t.Fail()
		}
	}
	step()
	require.Zero(t, testing.AllocsPerRun(20, step))
	// Without fetching, several inputs are on their way at once; the last one counts.
	for range 7 {
		x[0]++
		require.NoError(t, e.Feed("x", rawX))
		require.NoError(t, e.Run(0, 2))
	}
	require.NoError(t, e.Fetch("y", rawY))
	require.Equal(t, -x[0], y[0])
}

// Without graphs the same commands run one by one.
func TestWithoutGraphs(t *testing.T) {
	d := softDevice(t)
	d.ungraphed = true
	b := &Backend{d}
	st := b.NewStore()
	defer st.Close()
	e, err := b.Compile(product(t, 2), st)
	require.NoError(t, err)
	defer e.Close()
	require.NoError(t, st.Write("w", raw([]float32{2, 3})))
	require.NoError(t, e.Feed("x", raw([]float32{5, 7})))
	require.NoError(t, e.Run(0, 2))
	require.Empty(t, e.(*exec).phases)
	y := make([]float32, 2)
	require.NoError(t, e.Fetch("y", raw(y)))
	require.Equal(t, []float32{-10, -21}, y)
}

// What is compiled and closed leaves nothing on the device.
func TestCloseFreesEverything(t *testing.T) {
	b := &Backend{softDevice(t)}
	free := func() int64 {
		require.NoError(t, b.d.enter())
		defer b.d.leave()
		n, _, err := cu.MemInfo()
		require.NoError(t, err)
		return n
	}
	before := free()
	st := b.NewStore()
	e, err := b.Compile(product(t, 1000), st)
	require.NoError(t, err)
	require.Less(t, free(), before)
	require.NoError(t, e.Close())
	require.NoError(t, st.Close())
	require.Equal(t, before, free())
}

// A program that does not fit is refused before anything is allocated, with what it needs and what to do.
func TestOutOfMemory(t *testing.T) {
	t.Parallel()
	cmd := process.Command(os.Args[0], "-test.run=^TestOutOfMemoryChild$", "-test.v")
	cmd.Env = append(os.Environ(), "SOFTCUDA_MEMORY=4")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	require.Contains(t, string(out), "--- PASS: TestOutOfMemoryChild")
}

func TestOutOfMemoryChild(t *testing.T) {
	if os.Getenv("SOFTCUDA_MEMORY") == "" {
		t.Skip("runs as a child of TestOutOfMemory")
	}
	library, err := soft.Library()
	require.NoError(t, err)
	b, err := Open("", library)
	require.NoError(t, err)
	st := b.NewStore()
	_, err = b.Compile(product(t, 1<<20), st)
	require.True(t, errors.Is(err, driver.OutOfMemory))
	require.EqualError(t, err, "cuda: the program needs 20 MiB (parameters and optimizer 4, gradients 0, activations 4, inputs 12), software CUDA device has 4 MiB free of 4: "+
		"raise train.lanes or lower train.batch for smaller activations, set train.recompute, use a smaller model, or --device cpu: "+
		"CUDA_ERROR_OUT_OF_MEMORY: reported by the software device")
	require.False(t, st.Has("w"))
	_, err = b.Compile(product(t, 1000), st)
	require.NoError(t, err)
}
