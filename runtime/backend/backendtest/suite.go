// Package backendtest owns the compliance suite of backends: a backend passes when Run does. It needs nothing but
// the Backend interface and the op table, so a new backend's test is one line. It must not know any backend.
package backendtest

import (
	"fmt"
	"hash/fnv"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"ringo/runtime/backend"
	"ringo/runtime/graph"
	"ringo/runtime/plan"
	"ringo/runtime/tensor"
)

// Options tunes the suite to a backend.
type Options struct {
	// Tol is the f32 tolerance relative to the largest magnitude of an output where a sample states none; 0
	// means 1e-5: sums of a few hundred terms, each rounded to 2⁻²⁴.
	Tol float64
	// Skip names ops that the backend does not have, each with the reason.
	Skip map[string]string
	// Storage is the float type under test, F32 where it is not set. With BF16, outputs may differ by Tol or by
	// TolBF16, whichever is more, and ops whose row takes no bf16 are left out.
	Storage tensor.DType
	// Refused says whether an error of Compile means that the backend has no kernel for these types; such samples are
	// left out and listed in the log. Nil takes every error for a failure.
	Refused func(op string, err error) bool
}

// TolBF16 is the bf16 tolerance relative to the largest magnitude of an output: two roundings to 8 bits, of the
// result and of a value that an op rounds on its way.
const TolBF16 = 2.0 / 256

// Run checks every op of the table, at every sample, against ref, which runs the plain float64 references;
// then inputs, outputs, stores and refusals.
func Run(t *testing.T, b, ref backend.Backend, o Options) {
	t.Run("ops", func(t *testing.T) {
		for _, op := range graph.Ops() {
			if op.Leaf {
				continue
			}
			if why := o.Skip[op.Name]; why != "" {
				t.Logf("%s is skipped: %s", op.Name, why)
				continue
			}
			t.Run(op.Name, func(t *testing.T) {
				for i, s := range op.Samples {
					t.Run(fmt.Sprintf("%d%s", i, s.Name), func(t *testing.T) { sample(t, b, ref, op, s, o) })
				}
			})
		}
	})
	t.Run("store", func(t *testing.T) { stores(t, b) })
	t.Run("refusals", func(t *testing.T) { refusals(t, b) })
}

// sample runs one op on both backends and compares every output.
func sample(t *testing.T, b, ref backend.Backend, op *graph.Op, s graph.Sample, o Options) {
	t.Helper()
	want, err := outputs(t, ref, op, s, o)
	require.NoError(t, err)
	got, err := outputs(t, b, op, s, o)
	if err != nil && o.Refused != nil && o.Refused(op.Name, err) {
		t.Skip(err)
	}
	require.NoError(t, err)
	tol := o.Tol
	if tol == 0 {
		tol = 1e-5
	}
	tol = max(tol, s.Tol)
	if o.Storage == tensor.BF16 {
		tol = max(tol, TolBF16)
	}
	for i := range want {
		Compare(t, want[i], got[i], tol, fmt.Sprintf("%s output %d", op.Name, i))
	}
}

// outputs runs one op as a program of its own. The error is that of the backend's Compile.
func outputs(t *testing.T, b backend.Backend, op *graph.Op, s graph.Sample, o Options) ([]*tensor.Tensor, error) {
	t.Helper()
	storage := tensor.F32
	if o.Storage != tensor.Invalid {
		storage = o.Storage
	}
	feeds := map[string]*tensor.Tensor{}
	var node *graph.Node
	g, err := graph.Build(func(g *graph.Graph) {
		var in []*graph.Value
		for i, si := range s.In {
			name := fmt.Sprint("x", i)
			feeds[name] = Fill(si, storage, stream(op.Name)+uint64(i))
			in = append(in, g.Input(name, feeds[name].DType, feeds[name].Shape...))
		}
		node = g.ApplyN(op.Name, s.Attrs, in...)[0].Node
		for i, v := range node.Out {
			g.Output(fmt.Sprint("y", i), v)
		}
	})
	if err != nil && storage != tensor.F32 {
		t.Skipf("the row takes no %v here: %v", storage, err)
	}
	require.NoError(t, err)
	p, err := plan.Compile(g, plan.Options{})
	require.NoError(t, err)
	st := b.NewStore()
	defer st.Close()
	e, err := b.Compile(p, st)
	if err != nil {
		return nil, err
	}
	defer e.Close()
	for name, x := range feeds {
		require.NoError(t, e.Feed(name, x.Bytes()))
	}
	require.NoError(t, e.Run(0, len(p.Instrs)))
	var out []*tensor.Tensor
	for i, v := range node.Out {
		y := tensor.New(v.DType, v.Shape...)
		require.NoError(t, e.Fetch(fmt.Sprint("y", i), y.Bytes()))
		out = append(out, y)
	}
	return out, nil
}

// Fill makes one sample input; dt is the float type under test.
func Fill(in graph.SampleIn, dt tensor.DType, stream uint64) *tensor.Tensor {
	p := tensor.NewPhilox(7, stream)
	if in.DType != tensor.Invalid {
		dt = in.DType
	} else if in.Wide && dt.Size() < 4 {
		dt = tensor.F32
	}
	t := tensor.New(dt, in.Shape...)
	x := make([]float64, t.Size())
	lo, hi := in.Lo, in.Hi
	if lo == 0 && hi == 0 {
		lo, hi = -1, 1
	}
	var perm []int32
	if in.Distinct {
		perm = p.Perm(len(x))
	}
	for i := range x {
		u := float64(tensor.Unit(p.Next()[0]))
		switch {
		case in.Max > 0:
			x[i] = math.Floor(u * float64(in.Max))
		case dt == tensor.Bool:
			x[i] = math.Round(u)
		case in.Distinct:
			x[i] = lo + (hi-lo)*(float64(perm[i])+0.5)/float64(len(x))
		default:
			x[i] = lo + (hi-lo)*u
		}
	}
	tensor.StoreFloat64(t.Bytes(), dt, x)
	return t
}

// Compare fails unless got equals want to tol times the largest magnitude of want; integers must be equal, NaN
// must meet NaN.
func Compare(t *testing.T, want, got *tensor.Tensor, tol float64, what string) {
	t.Helper()
	w, g := want.Float64s(), got.Float64s()
	var scale float64
	for _, v := range w {
		if !math.IsInf(v, 0) && !math.IsNaN(v) { // max would carry a NaN into the tolerance
			scale = max(scale, math.Abs(v))
		}
	}
	if !want.DType.IsFloat() {
		tol = 0
	}
	for i := range w {
		if w[i] == g[i] || (w[i] != w[i] && g[i] != g[i]) {
			continue
		}
		require.LessOrEqual(t, math.Abs(w[i]-g[i]), tol*max(scale, 1e-6), "%s: element %d is %g, reference %g (largest %g)", what, i, g[i], w[i], scale)
	}
}

// stream derives a random stream from an op's name.
func stream(name string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(name))
	return h.Sum64()
}

// counter is a program with one state that grows by its input.
func counter(t *testing.T, size int) *plan.Program {
	t.Helper()
	g, err := graph.Build(func(g *graph.Graph) {
		w := g.Param(graph.Leaf{Name: "w", Type: graph.Type{DType: tensor.F32, Shape: tensor.Shape{size}}})
		g.Output("y", g.Mul(w, g.Input("x", tensor.F32, size)))
	})
	require.NoError(t, err)
	p, err := plan.Compile(g, plan.Options{})
	require.NoError(t, err)
	return p
}

// stores: two programs share a tensor by name; another shape under that name is refused.
func stores(t *testing.T, b backend.Backend) {
	st := b.NewStore()
	defer st.Close()
	first, err := b.Compile(counter(t, 3), st)
	require.NoError(t, err)
	second, err := b.Compile(counter(t, 3), st)
	require.NoError(t, err)
	require.True(t, st.Has("w"))
	require.NoError(t, st.Write("w", tensor.Of(tensor.Shape{3}, float32(1), 2, 3).Bytes()))
	y := tensor.New(tensor.F32, 3)
	for _, e := range []backend.Executable{first, second} {
		require.NoError(t, e.Feed("x", tensor.Of(tensor.Shape{3}, float32(10), 10, 10).Bytes()))
		require.NoError(t, e.Run(0, len(e.Program().Instrs)))
		require.NoError(t, e.Fetch("y", y.Bytes()))
		require.Equal(t, []float32{10, 20, 30}, tensor.Data[float32](y))
		require.NoError(t, e.Close())
	}
	_, err = b.Compile(counter(t, 4), st)
	require.ErrorContains(t, err, `tensor "w" has shape (3) in the store, the program expects (4)`)
}

// refusals: unknown names and wrong sizes are errors that name them.
func refusals(t *testing.T, b backend.Backend) {
	st := b.NewStore()
	defer st.Close()
	e, err := b.Compile(counter(t, 3), st)
	require.NoError(t, err)
	defer e.Close()
	require.ErrorContains(t, e.Feed("z", nil), `no input "z"`)
	require.ErrorContains(t, e.Feed("x", make([]byte, 8)), "8 bytes, expected 12")
	require.ErrorContains(t, e.Fetch("z", nil), `no output "z"`)
	require.ErrorContains(t, st.Read("v", nil), `"v"`)
}
