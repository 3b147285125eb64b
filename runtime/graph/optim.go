package graph

import (
	"fmt"

	"ringo/runtime/tensor"
)

// The step's numbers that every optimizer reads from a small f32 buffer on the device, so that one planned
// program serves every step: hyper[HyperLR] and so on.
const (
	HyperLR    = 0 // learning rate
	HyperScale = 1 // the gradient's factor: 1/lanes where gradients were summed over lanes
	HyperBias1 = 2 // 1 − β₁ᵗ, t counted from 1
	HyperBias2 = 3 // 1 − β₂ᵗ
	HyperLen   = 8 // the rest is reserved
)

// GradNorm is the attribute struct of "grad_norm". Max 0 only measures.
type GradNorm struct{ Max float64 }

// AdamW is the attribute struct of "adamw".
type AdamW struct{ Beta1, Beta2, Eps, WeightDecay float64 }

// SGD is the attribute struct of "sgd".
type SGD struct {
	Momentum    float64
	Nesterov    bool
	WeightDecay float64 // coupled: added to the gradient, as torch.optim.SGD
}

// Lion is the attribute struct of "lion".
type Lion struct{ Beta1, Beta2, WeightDecay float64 }

// Muon is the attribute struct of "muon".
type Muon struct {
	Momentum    float64
	Nesterov    bool
	WeightDecay float64
	Steps       int // Newton–Schulz iterations; 0 means 5
	// Transposed says that the weight is stored (in, out), as matmul's second factor, instead of (out, in).
	Transposed bool
}

// Lerp is the attribute struct of "lerp".
type Lerp struct{ Alpha, Scale float64 }

// optimInfer checks states equal in shape (param, grad, and so on: `states` of them), then hyper [, norm].
// The outputs are the inputs listed.
func optimInfer(states int, out ...int) func(n *Node) ([]Type, error) {
	return func(n *Node) ([]Type, error) {
		if err := floats(n); err != nil {
			return nil, err
		}
		for i := 1; i < states; i++ {
			if err := sameShape(n, i); err != nil {
				return nil, err
			}
		}
		if h := n.In[states]; h.DType != tensor.F32 || h.Shape.Size() != HyperLen {
			return nil, fmt.Errorf("hyper is %v, expected f32(%d)", h.Type, HyperLen)
		}
		if len(n.In) > states+1 {
			if v := n.In[states+1]; v.DType != tensor.F32 || v.Shape.Size() != 2 {
				return nil, fmt.Errorf("norm is %v, expected f32(2), the output of grad_norm", v.Type)
			}
		}
		var types []Type
		for _, i := range out {
			types = append(types, n.In[i].Type)
		}
		return types, nil
	}
}

func gradNormInfer(n *Node) ([]Type, error) {
	_, err := optimInfer(1)(n)
	return []Type{{tensor.F32, tensor.Shape{2}}}, err
}

func muonInfer(n *Node) ([]Type, error) {
	if s := n.In[0].Shape; len(s) != 2 || s.Size() == 0 {
		return nil, fmt.Errorf("param is %v, expected a matrix: give other parameters to adamw", n.In[0].Type)
	}
	return optimInfer(3, 0, 2)(n)
}

func lerpInfer(n *Node) ([]Type, error) {
	if err := floats(n); err != nil {
		return nil, err
	}
	return []Type{n.In[0].Type}, sameShape(n, 1)
}

// optimSamples makes samples of the given number of states over tail sizes; the state numbered square is positive.
func optimSamples(states, square int, attrs ...any) (out []Sample) {
	hyper := SampleIn{Shape: tensor.Shape{HyperLen}, DType: tensor.F32, Lo: 0.1, Hi: 0.9}
	norm := SampleIn{Shape: tensor.Shape{2}, DType: tensor.F32, Lo: 0.1, Hi: 0.9}
	for i, size := range []int{1, 3, 17, 65, 20_001} {
		var in []SampleIn
		for s := range states {
			if s == square {
				in = append(in, InRange(0.1, 1, size))
			} else {
				in = append(in, In(size))
			}
		}
		in = append(in, hyper)
		if i%2 == 1 {
			in = append(in, norm)
		}
		out = append(out, Sample{In: in, Attrs: attrs[i%len(attrs)], NoGrad: true})
	}
	return out
}

func init() {
	hyper := SampleIn{Shape: tensor.Shape{HyperLen}, DType: tensor.F32, Lo: 0.1, Hi: 0.9}
	norm := SampleIn{Shape: tensor.Shape{2}, DType: tensor.F32, Lo: 0.1, Hi: 0.9}
	var norms, lerps, muons []Sample
	for _, size := range []int{1, 3, 17, 65, 70_001} {
		norms = append(norms, Sample{In: []SampleIn{In(size), hyper}, Attrs: GradNorm{float64(size % 2)}, NoGrad: true})
		lerps = append(lerps, Sample{In: []SampleIn{In(size), In(size)}, Attrs: Lerp{0.1, 0.5}, NoGrad: true})
	}
	for _, c := range []struct {
		r, c int
		a    Muon
	}{{3, 5, Muon{Momentum: 0.95, Nesterov: true}}, {65, 17, Muon{Momentum: 0.9, WeightDecay: 0.1}}, {17, 33, Muon{Momentum: 0.9, Steps: 3, Transposed: true}}, {1, 1, Muon{}}} {
		in := []SampleIn{In(c.r, c.c), In(c.r, c.c), In(c.r, c.c), hyper}
		if c.r == 65 {
			in = append(in, norm)
		}
		muons = append(muons, Sample{In: in, Attrs: c.a, NoGrad: true, Tol: 1e-3,
			Why: "each Newton–Schulz step multiplies small singular values, and their rounding errors, by 3.4"})
	}
	const states3, states4 = 3, 4
	register(
		// In every update the gradient is g = grad·hyper[HyperScale]·norm[1], norm being grad_norm's output where given.

		// grad, hyper → {‖g‖, factor}, with ‖g‖ = hyper[HyperScale]·√Σ grad² and factor = min(1, Max/‖g‖), or 1 where
		// Max is 0. The sum runs in float64 over fixed chunks, added in order.
		Op{Name: "grad_norm", MinIn: 2, Infer: gradNormInfer, FLOPs: perElement(2), Samples: norms},
		// param, grad, m, v, hyper [, norm] → param, m, v (Loshchilov and Hutter, 2019), as torch.optim.AdamW:
		//   p −= lr·wd·p;  m = β₁·m + (1−β₁)·g;  v = β₂·v + (1−β₂)·g²;  p −= lr·(m/bias₁)/(√(v/bias₂) + eps)
		// grad may be bf16 beside f32.
		Op{Name: "adamw", MinIn: 5, MaxIn: 6, Infer: optimInfer(states4, 0, 2, 3), FLOPs: perElement(14),
			Mutates: [][2]int{{0, 0}, {1, 2}, {2, 3}},
			Samples: append(optimSamples(states4, 3, AdamW{0.9, 0.99, 1e-8, 0.1}, AdamW{0.9, 0.95, 1e-6, 0}), Sample{Name: "half", NoGrad: true,
				In: []SampleIn{In(1003), {Shape: tensor.Shape{1003}, DType: tensor.BF16, Lo: -1, Hi: 1}, In(1003), InRange(0.1, 1, 1003), hyper}, Attrs: AdamW{0.9, 0.95, 1e-6, 0}})},
		// param, grad, mom, hyper [, norm] → param, mom, as torch.optim.SGD with dampening 0 and mom 0 at the start:
		//   g += wd·p;  mom = μ·mom + g;  p −= lr·(nesterov ? g + μ·mom : mom)
		Op{Name: "sgd", MinIn: 4, MaxIn: 5, Infer: optimInfer(states3, 0, 2), FLOPs: perElement(7),
			Mutates: [][2]int{{0, 0}, {1, 2}},
			Samples: optimSamples(states3, -1, SGD{Momentum: 0.9}, SGD{0.9, true, 0.1}, SGD{})},
		// param, grad, m, hyper [, norm] → param, m (Chen et al., "Symbolic Discovery of Optimization Algorithms", 2023):
		//   p −= lr·(sign(β₁·m + (1−β₁)·g) + wd·p);  m = β₂·m + (1−β₂)·g
		Op{Name: "lion", MinIn: 4, MaxIn: 5, Infer: optimInfer(states3, 0, 2), FLOPs: perElement(9),
			Mutates: [][2]int{{0, 0}, {1, 2}},
			Samples: optimSamples(states3, -1, Lion{0.9, 0.99, 0.1}, Lion{0.95, 0.98, 0})},
		// param (R,C), grad, mom, hyper [, norm] → param, mom (Jordan, "Muon: an optimizer for hidden layers", 2024):
		//   mom = μ·mom + g;  u = nesterov ? g + μ·mom : mom
		//   X = u/(‖u‖ + 1e-7), transposed where R > C;  Steps times: A = X·Xᵀ, X = a·X + (b·A + c·A²)·X
		//   p = (1 − lr·wd)·p − lr·√max(1, out/in)·X, with (out, in) = (R, C), or (C, R) where Transposed
		Op{Name: "muon", MinIn: 4, MaxIn: 5, Infer: muonInfer, FLOPs: muonFLOPs,
			Mutates: [][2]int{{0, 0}, {1, 2}}, Samples: muons},
		// state, new → state = (1−Alpha)·state + Alpha·Scale·new: running averages
		Op{Name: "lerp", MinIn: 2, Infer: lerpInfer, FLOPs: perElement(3), Mutates: [][2]int{{0, 0}}, Samples: lerps},
	)
}

// muonFLOPs counts, per step and with r the smaller side: X·Xᵀ 2r²c, A² 2r³, B·X 2r²c.
func muonFLOPs(n *Node) int64 {
	s := n.In[0].Shape
	r, c := int64(min(s[0], s[1])), int64(max(s[0], s[1]))
	steps := int64(attrs[Muon](n).Steps)
	if steps == 0 {
		steps = 5
	}
	return steps*(4*r*r*c+2*r*r*r) + 8*r*c
}
