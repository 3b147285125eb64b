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

func startReducer(c *crew, tree bool, buckets int) *reducer {
	r := &reducer{crew: c, tree: tree, in: make(chan stretch, buckets), out: make(chan error, buckets),
		parts: make([][]float32, 0, len(c.parts)+1)}
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
		return r.crew.AllReduce(bytesOf(s.host), tensor.F32)
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
