// Package runtime owns the executor and the public entry points of the engine: compile a graph for a
// device, initialise its tensors, run training steps lane by lane, read results back. It must not know which device
// runs a program, nor models, data or optimizers.
package runtime

import (
	"fmt"
	"math/bits"

	"ringo/runtime/backend"
	"ringo/runtime/graph"
	"ringo/runtime/plan"
	"ringo/runtime/tensor"
)

// Compile builds a graph, plans it as the device asks and binds it to a device and a store.
func Compile(b backend.Backend, s backend.Store, build func(g *graph.Graph), opt plan.Options) (backend.Executable, error) {
	g, err := graph.Build(build)
	if err != nil {
		return nil, err
	}
	p, err := plan.Compile(g, backend.Tuned(b, opt))
	if err != nil {
		return nil, err
	}
	return b.Compile(p, s)
}

// Step runs a training program: Begin, Lanes, Update. It is not safe for concurrent use, and it allocates
// nothing after the first step.
type Step struct {
	exec  backend.Executable
	prog  *plan.Program
	grad  backend.Gradient
	hyper []byte
	raw   [8]byte // a scalar on its way out; here, since what is passed to an interface leaves the stack
}

// NewStep wraps an executable that was planned with Options.Training.
func NewStep(e backend.Executable) (*Step, error) {
	p := e.Program()
	if _, ok := p.Inputs[plan.Hyper]; !ok {
		return nil, fmt.Errorf("runtime: the program has no update phase; plan it with Options.Training")
	}
	return &Step{exec: e, prog: p, grad: e.Gradient(), hyper: make([]byte, 4*graph.HyperLen)}, nil
}

// Begin sets the step's numbers: learning rate and the bias corrections 1−β₁ᵗ and 1−β₂ᵗ of step t, counted
// from 1. The scale 1/lanes is set here too.
func (s *Step) Begin(lr, bias1, bias2 float64) error {
	h := tensor.View[float32](s.hyper)
	h[graph.HyperLR] = float32(lr)
	h[graph.HyperScale] = 1 / float32(s.prog.Lanes)
	h[graph.HyperBias1] = float32(bias1)
	h[graph.HyperBias2] = float32(bias2)
	return s.exec.Feed(plan.Hyper, s.hyper)
}

// Lanes runs lanes [lo,hi), each after feed(lane), and leaves the sum of their gradients in the gradient,
// added in the order of one fixed binary tree: leaves are lanes, and a node's two children are added left
// to right. [lo,hi) must be a whole subtree: a power of two of lanes that starts at a multiple of itself.
//
// Where ready is given, it is called for every bucket of the program as soon as the bucket's stretch of the sum is
// complete, while the last lane's backward pass goes on behind it; the stretch is the caller's from then on.
//
// Partial sums wait like the digits of a binary counter: after lane i, every trailing 1 bit of i−lo is a
// waiting sum that the new one completes, so at most log₂(lanes) of them exist.
func (s *Step) Lanes(lo, hi int, feed func(lane int) error, ready func(b plan.Bucket) error) error {
	n := hi - lo
	if n < 1 || n&(n-1) != 0 || lo%n != 0 || hi > s.prog.Lanes {
		return fmt.Errorf("runtime: lanes [%d,%d) are no subtree of %d lanes", lo, hi, s.prog.Lanes)
	}
	for i := range n {
		if err := feed(lo + i); err != nil {
			return err
		}
		full := bits.TrailingZeros(^uint(i))
		if i+1 == n && ready != nil {
			return s.last(full, ready)
		}
		if err := s.exec.Run(0, s.prog.Split); err != nil {
			return err
		}
		s.complete(full, 0, s.grad.Len())
		if i+1 < n {
			s.grad.Save(full)
		}
	}
	return nil
}

// complete adds the waiting sums of the first levels to a range of the gradient.
func (s *Step) complete(levels, from, to int) {
	for k := range levels {
		s.grad.Add(k, from, to)
	}
}

// last runs the last lane piece by piece and gives away each bucket when it is complete.
func (s *Step) last(levels int, ready func(b plan.Bucket) error) error {
	done := 0
	for _, b := range s.prog.Buckets {
		if b.Ready >= done {
			if err := s.exec.Run(done, b.Ready+1); err != nil {
				return err
			}
			done = b.Ready + 1
		}
		s.complete(levels, int(b.Offset/4), int((b.Offset+b.Bytes)/4))
		if err := ready(b); err != nil {
			return err
		}
	}
	return s.exec.Run(done, s.prog.Split)
}

// Subtrees cuts lanes [lo,hi) into the fewest whole subtrees, left to right.
func Subtrees(lo, hi int) [][2]int {
	var out [][2]int
	for lo < hi {
		size := 1 << bits.TrailingZeros(uint(lo|1<<30))
		for size > hi-lo {
			size >>= 1
		}
		out = append(out, [2]int{lo, lo + size})
		lo += size
	}
	return out
}

// Update runs the update phase on the summed gradient.
func (s *Step) Update() error { return s.exec.Run(s.prog.Split, len(s.prog.Instrs)) }

// Mean returns the average over lanes of a scalar output such as "loss".
func (s *Step) Mean(name string) (float32, error) {
	if err := s.exec.Fetch(name, s.raw[:4]); err != nil {
		return 0, err
	}
	return tensor.View[float32](s.raw[:])[0] / float32(s.prog.Lanes), nil
}

// GradNorm returns the gradient's norm before clipping, where the program computes it.
func (s *Step) GradNorm() (float32, bool) {
	if _, ok := s.prog.Outputs["grad_norm"]; !ok || s.exec.Fetch("grad_norm", s.raw[:]) != nil {
		return 0, false
	}
	return tensor.View[float32](s.raw[:])[0], true
}
