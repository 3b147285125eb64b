package kernels

import (
	"fmt"
	"hash/fnv"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"ringo/runtime/backend"
	"ringo/runtime/backend/backendtest"
	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

func stream(name string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(name))
	return h.Sum64()
}

func eachSample(t *testing.T, fn func(t *testing.T, op *graph.Op, s graph.Sample)) {
	for _, op := range graph.Ops() {
		if op.Leaf {
			continue
		}
		t.Run(op.Name, func(t *testing.T) {
			for i, s := range op.Samples {
				t.Run(fmt.Sprintf("%d%s", i, s.Name), func(t *testing.T) { fn(t, op, s) })
			}
		})
	}
}

// sampleGraph applies op to inputs of float type dt; it returns the graph, the node and the feeds.
func sampleGraph(op *graph.Op, s graph.Sample, dt tensor.DType) (*graph.Graph, *graph.Node, map[*graph.Value]*tensor.Tensor, error) {
	feeds := map[*graph.Value]*tensor.Tensor{}
	var node *graph.Node
	g, err := graph.Build(func(g *graph.Graph) {
		var in []*graph.Value
		for i, si := range s.In {
			x := backendtest.Fill(si, dt, stream(op.Name)+uint64(i))
			v := g.Input(fmt.Sprint("x", i), x.DType, x.Shape...)
			feeds[v] = x
			in = append(in, v)
		}
		node = g.ApplyN(op.Name, s.Attrs, in...)[0].Node
	})
	return g, node, feeds, err
}

// TestGradients compares every op's derivative, built by its VJP and evaluated by the float64 references,
// with central differences (f(x+h)−f(x−h))/2h of a random projection of the op's outputs.
func TestGradients(t *testing.T) {
	t.Parallel()
	eachSample(t, func(t *testing.T, op *graph.Op, s graph.Sample) {
		if op.VJP == nil || s.NoGrad {
			return
		}
		t.Parallel()
		g, node, feeds, err := sampleGraph(op, s, tensor.F64)
		require.NoError(t, err)
		loss := project(g, node, feeds)
		var wrt []*graph.Value
		for _, v := range node.In {
			if v.DType == tensor.F64 {
				wrt = append(wrt, v)
			}
		}
		grads, err := g.Gradient(loss, 1, wrt)
		require.NoError(t, err)
		require.NoError(t, graph.Verify(g))
		vals, err := Eval(g, feeds, true)
		require.NoError(t, err)
		g.Nodes = g.Nodes[:loss.Node.ID+1] // the forward part alone serves the differences
		for i, w := range wrt {
			if grads[i] != nil {
				checkGradient(t, g, loss, w, feeds, vals[grads[i]].Float64s())
			}
		}
	})
}

// project adds Σ wᵢ·yᵢ over the differentiable outputs of node, with fixed random w.
func project(g *graph.Graph, node *graph.Node, feeds map[*graph.Value]*tensor.Tensor) *graph.Value {
	var loss *graph.Value
	for i, o := range node.Out {
		if !o.DType.IsFloat() || !differentiable(node, i) {
			continue
		}
		w := g.Input(fmt.Sprint("w", i), o.DType, o.Shape...)
		feeds[w] = backendtest.Fill(graph.SampleIn{Shape: o.Shape}, o.DType, 99+uint64(i))
		term := g.Apply("sum", graph.Reduce{}, g.Apply("mul", nil, o, w))
		if loss == nil {
			loss = term
		} else {
			loss = g.Apply("add", nil, loss, term)
		}
	}
	return loss
}

// differentiable says whether output i has a cotangent at all: secondary outputs are saved statistics
// (row maxima, means, indices) that only the op's own gradient reads.
func differentiable(n *graph.Node, i int) bool { return i == 0 || n.Op.DiffOuts > i }

func checkGradient(t *testing.T, g *graph.Graph, loss, w *graph.Value, feeds map[*graph.Value]*tensor.Tensor, got []float64) {
	t.Helper()
	x := tensor.Data[float64](feeds[w])
	var rms float64
	for _, v := range got {
		rms += v * v / float64(len(got))
	}
	rms = math.Sqrt(rms)
	at := func() float64 {
		vals, err := Eval(g, feeds, true)
		require.NoError(t, err)
		return vals[loss].Float64s()[0]
	}
	step := max(1, len(x)/12)
	for i := 0; i < len(x); i += step {
		// A fourth-order stencil: (8(f₊₁−f₋₁) − (f₊₂−f₋₂)) / 12h, error O(h⁴).
		const h = 1e-3
		old := x[i]
		var f [4]float64
		for k, d := range []float64{h, -h, 2 * h, -2 * h} {
			x[i] = old + d
			f[k] = at()
		}
		x[i] = old
		want := (8*(f[0]-f[1]) - (f[2] - f[3])) / (12 * h)
		scale := max(math.Abs(want), rms, 1e-3)
		require.LessOrEqual(t, math.Abs(got[i]-want)/scale, 1e-6, "d/d%s[%d]: VJP %g, differences %g", w.Node.Name, i, got[i], want)
	}
}

// parityTol is the float32 tolerance relative to the largest magnitude of the output: kernels sum a few
// hundred terms at most in the samples, each rounded to 2⁻²⁴.
const parityTol = 1e-5

// TestParity compares the fast version of every op with its reference, on poisoned outputs, with outputs
// in place where the row allows it, and with one thread and several, whose bits must agree.
func TestParity(t *testing.T) {
	for _, dt := range []tensor.DType{tensor.F32, tensor.BF16} {
		t.Run(dt.String(), func(t *testing.T) {
			eachSample(t, func(t *testing.T, op *graph.Op, s graph.Sample) {
				_, node, feeds, err := sampleGraph(op, s, dt)
				require.NoError(t, err)
				require.NotNil(t, refs[op.Name], "op has no reference")
				if op.Alias {
					return
				}
				want := runCall(t, node, feeds, true, [2]int{-1, -1}, 1)
				if want == nil {
					return
				}
				tol := parityTol
				if s.Tol > 0 {
					tol = s.Tol
				}
				if dt == tensor.BF16 {
					tol = max(tol, 1.0/128) // one rounding of the result to 8 bits, and of an intermediate
				}
				places := append([][2]int{{-1, -1}}, op.Overwrites(s.Attrs)...)
				for _, place := range places {
					one := runCall(t, node, feeds, false, place, 1)
					if one == nil {
						continue
					}
					many := runCall(t, node, feeds, false, place, 3)
					for i := range want {
						require.Equal(t, one[i].Bytes, many[i].Bytes, "output %d differs between 1 and 3 threads", i)
						backendtest.Compare(t, host(want[i]), host(one[i]), tol, fmt.Sprintf("output %d, in place %v", i, place))
					}
				}
			})
		})
	}
	initCPU(maxISA(), 2)
}

// runCall runs node on copies of feeds. place {output, input} shares memory; it returns nil where that
// input's size differs or where no fast version exists.
func runCall(t *testing.T, n *graph.Node, feeds map[*graph.Value]*tensor.Tensor, reference bool, place [2]int, threads int) []View {
	t.Helper()
	c := &Call{Op: n.Op.Name, Attrs: n.Attrs, Precision: tensor.F32}
	for _, v := range n.In {
		x := newOffHeap(v.Type)
		copy(x.Bytes(), feeds[v].Bytes())
		t.Cleanup(func() { _ = x.DType })
		c.In = append(c.In, View{v.Type, x.Bytes()})
	}
	for i, o := range n.Out {
		x := newOffHeap(o.Type)
		t.Cleanup(func() { _ = x.DType })
		for j := range x.Bytes() {
			x.Bytes()[j] = 0xff // NaN in every float type
		}
		out := View{o.Type, x.Bytes()}
		for _, m := range append([][2]int{place}, n.Op.Mutates...) {
			if m[0] == i {
				if o.Type.Bytes() != n.In[m[1]].Type.Bytes() {
					return nil
				}
				out.Bytes = c.In[m[1]].Bytes
			}
		}
		c.Out = append(c.Out, out)
	}
	initCPU(maxISA(), threads)
	if f := fasts[c.Op]; !reference {
		if f == nil {
			return nil
		}
		run := f(c)
		if run == nil {
			return nil
		}
		run()
		return c.Out
	}
	refs[c.Op](c)
	return c.Out
}

// host views memory as a tensor.
func host(v View) *tensor.Tensor {
	t, err := tensor.FromBytes(v.DType, v.Shape, v.Bytes)
	if err != nil {
		panic(err)
	}
	return t
}

func TestBackend(t *testing.T) {
	backendtest.Run(t, NewCPU(backend.Options{}), NewCPU(backend.Options{Reference: true}), backendtest.Options{})
}
