package train

import (
	"fmt"
	"math"

	"ringo/runtime/tensor"
)

// nonFinite says that training produced NaN or ±Inf, and where it first shows.
type nonFinite struct {
	Step  int    // counted from 1, as events do
	What  string // "loss is NaN"
	First string // the first tensor that holds such a number; empty where a repetition finds none
}

func (e *nonFinite) Error() string {
	msg := fmt.Sprintf("step %d: %s", e.Step, e.What)
	if e.First != "" {
		msg += "; the first tensor that is not finite is " + e.First
	}
	return msg + "; lower optim.lr, lengthen optim.warmup or set optim.clip"
}

func isFinite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

// diagnose finds where a loss that is not finite comes from: a parameter that the update before left
// broken, or the first instruction of the repeated step whose output is.
func (t *Trainer) diagnose(loss float64) error {
	e := &nonFinite{Step: t.step + 1, What: fmt.Sprintf("the loss is %v", loss)}
	for _, p := range t.prog.Tensors {
		raw, err := readTensor(t.store, p.Name, p.Type.Bytes(), nil)
		if err != nil {
			return err
		}
		if at, v, bad := firstBad(raw, p.Type.DType); bad {
			e.First = fmt.Sprintf("%s %q %v before the step: element %d is %v", p.Kind, p.Name, p.Type, at, v)
			return e
		}
	}
	lo, hi := 0, t.cfg.Train.Lanes
	if t.crew != nil {
		lo, hi = t.crew.lanes() // the other workers look at theirs
	}
	for lane := lo; lane < hi; lane++ {
		if err := t.feed(lane); err != nil {
			return err
		}
		for i := range t.prog.Split {
			if err := t.exec.Run(i, i+1); err != nil {
				return err
			}
			in := &t.prog.Instrs[i]
			for k, out := range in.Out {
				raw, err := t.exec.Instruction(i, k)
				if err != nil {
					return err
				}
				if at, v, bad := firstBad(raw, out.Type.DType); bad {
					e.First = fmt.Sprintf("output %d of %s %q %v in lane %d: element %d is %v", k, in.Op.Name, in.Name, out.Type, lane, at, v)
					return e
				}
			}
		}
	}
	return e
}

// diagnoseGradient names the parameter whose summed gradient made the norm NaN or infinite.
func (t *Trainer) diagnoseGradient(norm float64) error {
	e := &nonFinite{Step: t.step + 1, What: fmt.Sprintf("the gradient's norm is %v", norm)}
	g := t.exec.Gradient()
	grad, err := g.Host(0, g.Len())
	if err != nil {
		return err
	}
	raw := make([]byte, 0, 4*len(grad))
	for _, b := range t.prog.Buffers {
		if b.Region != gradRegion || b.Offset+b.Bytes > t.prog.GradBytes {
			continue
		}
		part := grad[b.Offset/4 : (b.Offset+b.Bytes)/4]
		raw = append(raw[:0], bytesOf(part)...)
		if at, v, bad := firstBad(raw, tensor.F32); bad {
			e.First = fmt.Sprintf("%q: element %d is %v", b.Name, at, v)
			return e
		}
	}
	return e
}

// firstBad returns the first element that is NaN or infinite.
func firstBad(raw []byte, d tensor.DType) (at int, v float64, bad bool) {
	switch d {
	case tensor.F32:
		for i, x := range tensor.View[float32](raw) {
			if x-x != 0 { // NaN − NaN and Inf − Inf are NaN, all else 0
				return i, float64(x), true
			}
		}
	case tensor.F64:
		for i, x := range tensor.View[float64](raw) {
			if x-x != 0 {
				return i, x, true
			}
		}
	case tensor.BF16:
		for i, h := range tensor.View[uint16](raw) {
			if x := tensor.F32FromBF16(h); x-x != 0 {
				return i, float64(x), true
			}
		}
	}
	return 0, 0, false
}
