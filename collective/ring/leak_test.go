package ring

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"ringo/runtime/tensor"
)

// TestNothingLeaksOverManyViews joins and closes 200 epochs on the same listeners; goleak looks at goroutines in
// TestMain, here descriptors are counted.
func TestNothingLeaksOverManyViews(t *testing.T) {
	var listeners []*Listener
	o := Options{Job: "test", Timeout: 5 * time.Second}
	for i := range 3 {
		l, err := Listen("127.0.0.1:0", ListenOptions{})
		require.NoError(t, err)
		defer l.Close()
		listeners = append(listeners, l)
		o.Members = append(o.Members, Member{ID: fmt.Sprint(i), Addr: l.Addr(), Host: string('a' + rune(i/2))})
	}
	before := -1
	for epoch := range 200 {
		errs := make(chan error, 3)
		for i, l := range listeners {
			go func() {
				mine := o
				mine.Self, mine.Epoch = i, uint64(epoch+1)
				r, err := l.Join(context.Background(), mine)
				if err == nil {
					if err = r.AllReduce(make([]byte, 4096), tensor.F32); err == nil && epoch%3 == 0 {
						r.Abort(ErrAborted)
					}
					err = errors.Join(err, r.Close())
				}
				if epoch%3 == 0 && (errors.Is(err, ErrAborted)) {
					err = nil // a faster rank aborted before this one was done
				}
				errs <- err
			}()
		}
		for range listeners {
			require.NoError(t, <-errs)
		}
		if epoch == 10 {
			before = descriptors(t)
		}
	}
	require.LessOrEqual(t, descriptors(t), before+1)
}

func descriptors(t *testing.T) int {
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("no /proc here")
	}
	return len(list)
}

func TestCallsAllocateNothing(t *testing.T) {
	for _, v := range variants[:3] {
		for _, wire := range []Wire{WireExact, WireBF16, WireInt8} {
			rings := world(t, 2, func(o *Options) {
				o.Wire, o.Timeout = wire, time.Minute // keepalives allocate, seldom
				if v.change != nil {
					v.change(o)
				}
			})
			bufs := [2][]byte{tensor.AlignedBytes(1 << 20), tensor.AlignedBytes(1 << 20)}
			parts := [2][][]float32{{make([]float32, 5000)}, {make([]float32, 5000), make([]float32, 5000)}}
			bounds := []int{0, 1, 4}
			other := make(chan error)
			const runs = 20
			round := func(r *Ring) error {
				return errors.Join(r.AllReduce(bufs[r.Rank()], tensor.F32), r.ReduceTree(parts[r.Rank()][len(parts[r.Rank()])-1], parts[r.Rank()], bounds))
			}
			each(t, rings, round)
			each(t, rings, round)
			go func() {
				var err error
				for range runs + 1 {
					err = errors.Join(err, round(rings[1]))
				}
				other <- err
			}()
			var err error
			allocs := testing.AllocsPerRun(runs, func() { err = errors.Join(err, round(rings[0])) })
			require.NoError(t, errors.Join(err, <-other))
			require.Zero(t, allocs, "%s, %s", v.name, wire)
		}
	}
}
