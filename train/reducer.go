package train

import (
	"sync/atomic"

	"ringo/runtime/plan"
	"ringo/runtime/tensor"
)

// reducer sums buckets of the gradient over the workers of a view on a goroutine of its own, in the order in which it is
// given them, while the caller computes on. It allocates nothing after it was made.
type reducer struct {
	crew  *crew
	tree  bool
	exact int    // elements from here on are no gradient and travel exactly, whatever train.wire says
	wide  []byte // scratch for those as float64, empty where everything travels exactly
	in    chan stretch
	out   chan error
	given int
	parts [][]float32 // scratch: the partial sums' stretches
	// failed is set as soon as a sum fails, so that the caller need not compute to the end first.
	failed atomic.Bool
}

// stretch is a bucket in host memory: elements [from,to) of the gradient.
type stretch struct {
	host     []float32
	from, to int
}

// startReducer starts the goroutine for a program's buckets. coded says that train.wire is not exact.
func startReducer(c *crew, p *plan.Program, tree, coded bool) *reducer {
	buckets := len(p.Buckets)
	r := &reducer{crew: c, tree: tree, exact: int(p.GradBytes / 4), in: make(chan stretch, buckets), out: make(chan error, buckets),
		parts: make([][]float32, 0, len(c.parts)+1)}
	if coded {
		r.wide = tensor.AlignedBytes(2 * int(p.Sizes[plan.Grad]-p.GradBytes))
	}
	go func() {
		for s := range r.in {
			err := r.sum(s)
			if err != nil {
				r.failed.Store(true)
				err = lost{err}
			}
			r.out <- err
		}
	}()
	return r
}

// sum adds one stretch over all workers, in place.
func (r *reducer) sum(s stretch) error {
	if !r.tree {
		return r.sumPlain(s)
	}
	parts := r.parts[:0]
	if len(r.crew.subtrees) > 0 {
		for _, p := range r.crew.parts {
			parts = append(parts, p[s.from:s.to])
		}
		parts = append(parts, s.host)
	}
	return r.crew.ReduceTree(s.host, parts, r.crew.bounds)
}

// sumPlain adds a stretch over workers in the group's own order. Losses, statistics and the flag, which lie behind the
// gradient, are sent as float64, which no wire coding touches: rounding could make a flag vanish.
func (r *reducer) sumPlain(s stretch) error {
	n := len(s.host)
	if len(r.wide) > 0 && s.to > r.exact {
		n = max(0, r.exact-s.from)
		tail := s.host[n:]
		raw := r.wide[:8*len(tail)]
		wide := tensor.View[float64](raw)
		for i, v := range tail {
			wide[i] = float64(v)
		}
		if err := r.crew.AllReduce(raw, tensor.F64); err != nil {
			return err
		}
		for i, v := range wide {
			tail[i] = float32(v)
		}
	}
	if n == 0 {
		return nil
	}
	return r.crew.AllReduce(bytesOf(s.host[:n]), tensor.F32)
}

func (r *reducer) give(b plan.Bucket, host []float32) {
	r.given++
	r.in <- stretch{host, int(b.Offset / 4), int((b.Offset + b.Bytes) / 4)}
}

// wait returns when every given stretch is summed, with the first error.
func (r *reducer) wait() error {
	var err error
	for ; r.given > 0; r.given-- {
		if e := <-r.out; err == nil {
			err = e
		}
	}
	return err
}

func (r *reducer) close() { close(r.in) }
