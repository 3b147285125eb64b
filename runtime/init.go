package runtime

import (
	"hash/fnv"
	"sync"

	"ringo/runtime/backend"
	"ringo/runtime/graph"
	"ringo/runtime/plan"
	"ringo/runtime/tensor"
)

// hostStore is a store whose tensors lie in host memory; they are initialised in place.
type hostStore interface{ Bytes(name string) []byte }

// drawer is a store that draws normal numbers faster than Philox.FillNormal, to the same bits.
type drawer interface {
	FillNormal(dst []float32, p tensor.Philox, mean, std float32)
}

// Init gives every parameter, state and average of a program its first value. The numbers are a pure
// function of seed and tensor name: neither the order of tensors nor the number of workers matters.
// Optimizer slots start at zero, which is how stores hand out memory.
func Init(s backend.Store, p *plan.Program, seed uint64) error {
	for _, t := range p.Tensors {
		if t.Init == graph.Constant(0) || t.Type.DType != tensor.F32 {
			continue
		}
		var raw []byte
		host, inPlace := s.(hostStore)
		if inPlace {
			raw = host.Bytes(t.Name)
		} else {
			raw = make([]byte, t.Type.Bytes())
		}
		initialise(s, tensor.View[float32](raw), t, seed)
		if !inPlace {
			if err := s.Write(t.Name, raw); err != nil {
				return err
			}
		}
	}
	return nil
}

// initChunk is what one goroutine draws at a time: a multiple of the four words of a Philox block.
const initChunk = 1 << 16

func initialise(s backend.Store, dst []float32, t plan.Tensor, seed uint64) {
	name := t.Name
	if t.Kind == "ema" {
		name = t.Of
	}
	h := fnv.New64a()
	h.Write([]byte(name))
	p := tensor.NewPhilox(seed, h.Sum64())
	if d, ok := s.(drawer); ok && t.Init.Kind == "normal" {
		d.FillNormal(dst, p, float32(t.Init.Value), float32(t.Init.Std))
		return
	}
	var wg sync.WaitGroup
	for at := 0; at < len(dst); at += initChunk {
		part := dst[at:min(at+initChunk, len(dst))]
		p.Counter[0] = uint32(at / 4)
		wg.Go(func() { draw(part, t.Init, p) })
	}
	wg.Wait()
}

func draw(dst []float32, in graph.Init, p tensor.Philox) {
	switch in.Kind {
	case "normal":
		p.FillNormal(dst, float32(in.Value), float32(in.Std))
	case "uniform":
		p.FillUniform(dst, float32(in.Lo), float32(in.Hi))
	default:
		for i := range dst {
			dst[i] = float32(in.Value)
		}
	}
}
