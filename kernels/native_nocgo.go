//go:build !cgo

package kernels

// sequence runs bound calls in order.
type sequence struct{ runs []func() }

func newSequence(runs []func(), _ []native) *sequence { return &sequence{runs} }

func (s *sequence) run(from, to int) {
	for _, run := range s.runs[from:to] {
		run()
	}
}
