package graph

import (
	"fmt"
	"slices"

	"ringo/runtime/tensor"
)

// MatMul is the attribute struct of "matmul":
//
//	y = act(op(a)·op(b) + bias) [+ residual]        or, with ActGrad,    y = (op(a)·op(b)) ∘ act'(pre) [+ residual]
//
// Inputs in order: a (…,M,K), b (…,K,N), then those that are asked for: bias (N), pre, residual (both as y).
// Where b has rank 2, the leading dimensions of a flatten into M; else they broadcast.
type MatMul struct {
	TransA, TransB bool // a is (…,K,M), b is (…,N,K)
	Bias           bool
	Act            string // "", "relu", "gelu_tanh", "gelu" or "silu"
	KeepPre        bool   // a second output keeps op(a)·op(b) + bias
	ActGrad        string // as Act, or "slope": pre is act' itself
	Residual       bool
	// Blocks, where not zero, is the shape of the matrix b, of which the input holds the "blocks".
	Blocks [2]int
	Slope  bool // KeepPre keeps act'(op(a)·op(b) + bias) instead, which costs little beside act
	// Term: the product, op(a) transposed and b not, is a term of a weight's gradient, which several add up to; the residual, where
	// there is one, is the sum so far. y is f32 where the factors are bf16, and takes the residual's memory where nothing else reads that.
	Term bool
}

// overwrites: a term is added where the sum lies.
func (a MatMul) overwrites() [][2]int {
	if a.Term && a.Residual {
		return [][2]int{{0, 2}}
	}
	return nil
}

// Inputs counts what the attributes ask for.
func (a MatMul) Inputs() int {
	n := 2
	for _, b := range []bool{a.Bias, a.ActGrad != "", a.Residual} {
		if b {
			n++
		}
	}
	return n
}

// MatMulSizes are the dimensions of a matmul node: Batch products of (M,K)·(K,N).
type MatMulSizes struct{ Batch, M, N, K int }

// Sizes works out the dimensions from the shapes of a and b. Flattened leading dimensions count in M.
func (a MatMul) Sizes(x, y tensor.Shape) (MatMulSizes, tensor.Shape, error) {
	var s MatMulSizes
	if a.Blocks != [2]int{} {
		if want := BlockShape(a.Blocks[0], a.Blocks[1]); !y.Equal(want) {
			return s, nil, fmt.Errorf("%v as blocks of %v: expected %v", y, a.Blocks, want)
		}
		y = a.Blocks[:]
	}
	if len(x) < 2 || len(y) < 2 {
		return s, nil, fmt.Errorf("%v×%v: both factors need rank 2 or more", x, y)
	}
	m, k := x[len(x)-2], x[len(x)-1]
	if a.TransA {
		m, k = k, m
	}
	k2, n := y[len(y)-2], y[len(y)-1]
	if a.TransB {
		k2, n = n, k2
	}
	if k != k2 {
		return s, nil, fmt.Errorf("%v×%v: inner dimensions %d ≠ %d", x, y, k, k2)
	}
	lead := x[:len(x)-2]
	if len(y) == 2 && !a.TransA {
		return MatMulSizes{1, m * lead.Size(), n, k}, append(lead.Clone(), m, n), nil
	}
	batch, err := tensor.Broadcast(lead, y[:len(y)-2])
	if err != nil {
		return s, nil, fmt.Errorf("%v×%v: %w", x, y, err)
	}
	return MatMulSizes{batch.Size(), m, n, k}, append(batch.Clone(), m, n), nil
}

var activations = []string{"", "relu", "gelu_tanh", "gelu", "silu"}

func matmulInfer(n *Node) ([]Type, error) {
	a := attrs[MatMul](n)
	dt, err := matmulDType(n, a)
	if err != nil {
		return nil, err
	}
	if a.Term && a != (MatMul{TransA: true, Term: true, Residual: a.Residual}) {
		return nil, fmt.Errorf("attributes %+v: a term is a plain product whose first factor is transposed", a)
	}
	if len(n.In) != a.Inputs() {
		return nil, fmt.Errorf("%d inputs, attributes %+v ask for %d", len(n.In), a, a.Inputs())
	}
	if !slices.Contains(activations, a.Act) || a.ActGrad != "slope" && !slices.Contains(activations, a.ActGrad) {
		return nil, fmt.Errorf("activation %q or %q is unknown, expected one of %q", a.Act, a.ActGrad, activations)
	}
	s, shape, err := a.Sizes(n.In[0].Shape, n.In[1].Shape)
	if err != nil {
		return nil, err
	}
	rest := n.In[2:]
	if a.Bias {
		if !rest[0].Shape.Equal(tensor.Shape{s.N}) {
			return nil, fmt.Errorf("bias %v, expected (%d)", rest[0].Shape, s.N)
		}
		rest = rest[1:]
	}
	for _, v := range rest {
		if !v.Shape.Equal(shape) {
			return nil, fmt.Errorf("pre or residual %v, expected the product's shape %v", v.Shape, shape)
		}
	}
	out := []Type{{dt, shape}}
	if a.KeepPre {
		out = append(out, out[0])
	}
	return out, nil
}

// matmulDType is the type that all inputs have, or f32 where factors are bf16 and f32. What is added to a product has the product's
// type; blocks are bf16 beside anything.
func matmulDType(n *Node, a MatMul) (tensor.DType, error) {
	factors := n.In[:2]
	if a.Blocks != [2]int{} {
		if factors[1].DType != tensor.BF16 {
			return 0, fmt.Errorf("blocks are %v, expected bf16", factors[1].DType)
		}
		factors = factors[:1]
	}
	want := factors[0].DType
	if a.Term && want == tensor.BF16 {
		want = tensor.F32
	}
	for _, v := range slices.Concat(factors, n.In[2:]) {
		half := v.DType == tensor.BF16 || v.DType == tensor.F32
		switch {
		case !v.DType.IsFloat() || v.DType != want && !(half && (want == tensor.BF16 || want == tensor.F32)):
			return 0, fmt.Errorf("%v beside %v: expected one float type, or bf16 and f32", v.Type, factors[0].Type)
		case v.DType != want:
			want = tensor.F32
		}
	}
	for i, v := range n.In[2:] {
		if v.DType != want {
			return 0, fmt.Errorf("input %d is %v beside a product of %v", i+2, v.DType, want)
		}
	}
	return want, nil
}

func matmulFLOPs(n *Node) int64 {
	s, _, err := attrs[MatMul](n).Sizes(n.In[0].Shape, n.In[1].Shape)
	if err != nil {
		return 0
	}
	return 2 * int64(s.Batch) * int64(s.M) * int64(s.N) * int64(s.K)
}

// matmulVJP, for y = A·B + bias with A = op(a), B = op(b):
//
//	dA = dy·Bᵀ    dB = Aᵀ·dy    dbias = Σ rows of dy
func matmulVJP(g *Graph, n *Node, dy []*Value) []*Value {
	a := attrs[MatMul](n)
	if a.Act != "" || a.ActGrad != "" || a.KeepPre || a.Residual || a.Term || a.Blocks != [2]int{} {
		panic(&Error{n.Op.Name, n.Name, fmt.Errorf("a fused product has no derivative: fuse after differentiating")})
	}
	x, w, d := n.In[0], n.In[1], dy[0]
	if len(w.Shape) == 2 && !a.TransA && len(x.Shape) > 2 {
		rows := x.Shape[:len(x.Shape)-1].Size()
		flat := g.Reshape(d, rows, d.Shape[len(d.Shape)-1])
		dx, dw := productGrads(g, a, g.Reshape(x, rows, x.Shape[len(x.Shape)-1]), w, flat)
		return withBias(g, a, []*Value{g.Reshape(dx, x.Shape...), dw}, flat)
	}
	dx, dw := productGrads(g, a, x, w, d)
	return withBias(g, a, []*Value{g.SumTo(dx, x.Shape), g.SumTo(dw, w.Shape)}, d)
}

// productGrads returns the cotangents of both factors; each comes out untransposed by choice of flags.
func productGrads(g *Graph, a MatMul, x, w, d *Value) (dx, dw *Value) {
	if a.TransA {
		dx = g.MatMul(w, d, MatMul{TransA: a.TransB, TransB: true})
	} else {
		dx = g.MatMul(d, w, MatMul{TransB: !a.TransB})
	}
	if a.TransB {
		dw = g.MatMul(d, x, MatMul{TransA: true, TransB: a.TransA})
	} else {
		dw = g.MatMul(x, d, MatMul{TransA: !a.TransA})
	}
	return dx, dw
}

func withBias(g *Graph, a MatMul, grads []*Value, d *Value) []*Value {
	if !a.Bias {
		return grads
	}
	axes := make([]int, len(d.Shape)-1)
	for i := range axes {
		axes[i] = i
	}
	return append(grads, g.Apply("sum", Reduce{Axes: axes}, d))
}

func init() {
	register(Op{Name: "matmul", MinIn: 2, MaxIn: 5, Infer: matmulInfer, VJP: matmulVJP, FLOPs: matmulFLOPs, Samples: matmulSamples()})
}

func matmulSamples() []Sample {
	var out []Sample
	for _, s := range [][3]int{{1, 1, 1}, {3, 17, 5}, {17, 3, 65}, {33, 65, 17}, {1, 130, 33}, {65, 1, 3}, {64, 96, 160}} {
		for _, t := range [][2]bool{{false, false}, {true, false}, {false, true}, {true, true}} {
			a, b := In(s[0], s[2]), In(s[2], s[1])
			if t[0] {
				a = In(s[2], s[0])
			}
			if t[1] {
				b = In(s[1], s[2])
			}
			out = append(out, Sample{In: []SampleIn{a, b}, Attrs: MatMul{TransA: t[0], TransB: t[1]}})
		}
	}
	out = append(out,
		Sample{Name: "flatten", In: []SampleIn{In(2, 3, 5), In(5, 7), In(7)}, Attrs: MatMul{Bias: true}},
		Sample{Name: "batched", In: []SampleIn{In(2, 3, 4, 5), In(2, 3, 5, 6)}, Attrs: MatMul{}},
		Sample{Name: "broadcast", In: []SampleIn{In(2, 1, 4, 5), In(3, 6, 5)}, Attrs: MatMul{TransB: true}},
	)
	fused := func(a MatMul, in ...SampleIn) Sample {
		return Sample{In: append([]SampleIn{In(17, 9), In(9, 33)}, in...), Attrs: a, NoGrad: true, Why: "fused after differentiation"}
	}
	y, bias := InRange(-3, 3, 17, 33), In(33)
	for _, act := range activations[1:] {
		out = append(out,
			fused(MatMul{Bias: true, Act: act}, bias),
			fused(MatMul{Bias: true, Act: act, KeepPre: true}, bias),
			fused(MatMul{Act: act, Residual: true}, y),
			fused(MatMul{ActGrad: act}, y),
			fused(MatMul{ActGrad: act, Residual: true}, y, y))
	}
	for _, act := range []string{"gelu_tanh", "gelu", "silu"} { // relu's, a step, does not bear a sum's rounding
		out = append(out, fused(MatMul{Bias: true, Act: act, KeepPre: true, Slope: true}, bias))
	}
	for _, s := range [][3]int{{17, 33, 9}, {40, 24, 1030}} {
		term := Sample{In: []SampleIn{In(s[2], s[0]), In(s[2], s[1])}, Attrs: MatMul{TransA: true, Term: true}, NoGrad: true, Why: "made after differentiation"}
		next := term
		next.In, next.Attrs = append(slices.Clone(term.In), In(s[0], s[1]).Statistic()), MatMul{TransA: true, Term: true, Residual: true}
		out = append(out, term, next)
	}
	for i, trans := range []bool{false, true} {
		blocks := SampleIn{Shape: BlockShape(64, 96), DType: tensor.BF16, Lo: -1, Hi: 1}
		out = append(out, Sample{Name: "blocks", In: []SampleIn{In(37, []int{64, 96}[i]), blocks}, Attrs: MatMul{TransB: trans, Blocks: [2]int{64, 96}},
			NoGrad: true, Why: "after differentiation"})
	}
	return append(out, fused(MatMul{Bias: true, Residual: true}, bias, y), fused(MatMul{ActGrad: "slope", Residual: true}, y, y))
}

// MatMul multiplies; see the attribute struct.
func (g *Graph) MatMul(a, b *Value, m MatMul) *Value { return g.Apply("matmul", m, a, b) }

// Linear is x·w + bias with w (in,out), GPT-2's layout; bias may be nil.
func (g *Graph) Linear(x, w, bias *Value) *Value { return g.linear(x, w, bias, MatMul{}) }

// LinearT is x·wᵀ + bias with w (out,in), PyTorch's layout; bias may be nil.
func (g *Graph) LinearT(x, w, bias *Value) *Value { return g.linear(x, w, bias, MatMul{TransB: true}) }

func (g *Graph) linear(x, w, bias *Value, m MatMul) *Value {
	if bias == nil {
		return g.Apply("matmul", m, x, w)
	}
	m.Bias = true
	return g.Apply("matmul", m, x, w, bias)
}
