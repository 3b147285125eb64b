package ring

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"ringo/runtime/tensor"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world joins n ranks of one process; change may alter each rank's options.
func world(t testing.TB, n int, change func(o *Options)) []*Ring {
	t.Helper()
	rings, err := tryWorld(t, n, change)
	require.NoError(t, err)
	return rings
}

func tryWorld(t testing.TB, n int, change func(o *Options)) ([]*Ring, error) {
	lst := make([]*Listener, n)
	members := make([]Member, n)
	for i := range n {
		l, err := Listen("127.0.0.1:0", ListenOptions{Secret: []byte("s")})
		require.NoError(t, err)
		t.Cleanup(func() { l.Close() })
		lst[i] = l
		members[i] = Member{ID: fmt.Sprintf("w%d", i), Addr: l.Addr()}
	}
	rings := make([]*Ring, n)
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Add(1)
		go func() {
			defer wg.Done()
			o := Options{Job: "test", Epoch: 1, Self: i, Members: append([]Member{}, members...), Timeout: 5 * time.Second}
			if change != nil {
				change(&o)
			}
			rings[i], errs[i] = lst[i].Join(context.Background(), o)
		}()
	}
	wg.Wait()
	t.Cleanup(func() {
		for _, r := range rings {
			if r != nil {
				r.Close()
			}
		}
	})
	for _, err := range errs {
		if err != nil {
			return rings, err
		}
	}
	return rings, nil
}

// each runs fn on all ranks at once and fails on any error.
func each(t testing.TB, rings []*Ring, fn func(r *Ring) error) {
	t.Helper()
	for i, err := range every(rings, fn) {
		require.NoError(t, err, "rank %d", i)
	}
}

func every(rings []*Ring, fn func(r *Ring) error) []error {
	errs := make([]error, len(rings))
	var wg sync.WaitGroup
	for i, r := range rings {
		wg.Add(1)
		go func() { defer wg.Done(); errs[i] = fn(r) }()
	}
	wg.Wait()
	return errs
}

var variants = []struct {
	name   string
	change func(o *Options)
}{
	{"tcp", nil},
	{"striped", func(o *Options) { o.Conns = 3; o.Chunk = 4096 }},
	{"shared", func(o *Options) {
		for i := range o.Members {
			o.Members[i].Host = "h"
		}
	}},
	{"around", func(o *Options) { o.Schedule = ScheduleAround; o.Chunk = 4096 }},
	{"hosts", func(o *Options) {
		o.Chunk = 8192
		for i := range o.Members {
			o.Members[i].Host = string('a' + rune(i%2))
		}
	}},
}

func TestAllReduceSumsEveryTypeOverEveryWorld(t *testing.T) {
	t.Parallel()
	for _, v := range variants {
		for _, n := range []int{1, 2, 3, 4, 7} {
			t.Run(fmt.Sprintf("%s/%d", v.name, n), func(t *testing.T) {
				t.Parallel()
				rings := world(t, n, v.change)
				for _, dt := range []tensor.DType{tensor.F32, tensor.F64, tensor.F16, tensor.BF16, tensor.I32} {
					for _, elems := range []int{0, 1, 5, 255, 256, 1000, 70_001, 300_000} {
						if testing.Short() && elems > 100_000 {
							continue
						}
						bufs := make([][]byte, n)
						want := make([]float64, elems)
						for i := range n {
							bufs[i] = tensor.AlignedBytes(elems * dt.Size())
							vals := make([]float64, elems)
							for j := range vals {
								vals[j] = float64((i*7+j*3)%17 - 8) // sums are exact in every type
								want[j] += vals[j]
							}
							tensor.StoreFloat64(bufs[i], dt, vals)
						}
						each(t, rings, func(r *Ring) error { return r.AllReduce(bufs[r.Rank()], dt) })
						for i := range n {
							got := make([]float64, elems)
							tensor.LoadFloat64(got, dt, bufs[i])
							require.True(t, slices.Equal(want, got), "%s × %d, rank %d", dt, elems, i)
						}
					}
				}
			})
		}
	}
}

func TestOtherOperations(t *testing.T) {
	t.Parallel()
	for _, v := range variants {
		for _, n := range []int{1, 2, 3, 4, 7} {
			t.Run(fmt.Sprintf("%s/%d", v.name, n), func(t *testing.T) {
				t.Parallel()
				rings := world(t, n, v.change)
				each(t, rings, func(r *Ring) error { return r.Barrier() })
				for _, elems := range []int{3, 100_003} {
					each(t, rings, func(r *Ring) error {
						f := make([]float32, elems)
						for i := range f {
							f[i] = float32(r.Rank() + i%100)
						}
						if err := r.ReduceScatter(bytesOf(f), tensor.F32); err != nil {
							return err
						}
						lo, hi := r.Segment(r.Rank(), elems)
						for i := lo; i < hi; i++ {
							if want := float32(n*(n-1)/2 + n*(i%100)); f[i] != want {
								return fmt.Errorf("reduce-scatter: element %d is %v, expected %v", i, f[i], want)
							}
							f[i] = float32(r.Rank())
						}
						if err := r.AllGather(bytesOf(f), tensor.F32); err != nil {
							return err
						}
						for k := range n {
							lo, hi := r.Segment(k, elems)
							for i := lo; i < hi; i++ {
								if f[i] != float32(k) {
									return fmt.Errorf("all-gather: element %d is %v, expected %d", i, f[i], k)
								}
							}
						}
						for root := range n {
							b := make([]byte, elems)
							if r.Rank() == root {
								for i := range b {
									b[i] = byte(i*7 + root)
								}
							}
							if err := r.Broadcast(root, b); err != nil {
								return err
							}
							for i := range b {
								if b[i] != byte(i*7+root) {
									return fmt.Errorf("broadcast from %d: byte %d is %d", root, i, b[i])
								}
							}
						}
						all, err := r.Gather([]byte(fmt.Sprintf("%*d", r.Rank()*10, r.Rank())))
						if err != nil {
							return err
						}
						for k, s := range all {
							if string(s) != fmt.Sprintf("%*d", k*10, k) {
								return fmt.Errorf("gather: rank %d said %q", k, s)
							}
						}
						return nil
					})
				}
			})
		}
	}
}

// memories makes memory on every rank's listener, nil where the system has none.
func memories(t testing.TB, rings []*Ring, bytes int) [][]byte {
	t.Helper()
	var all [][]byte
	for _, r := range rings {
		m, err := r.lst.NewMemory(bytes)
		if errors.Is(err, errors.ErrUnsupported) {
			return nil
		}
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, m.Close()) })
		all = append(all, m.Bytes())
	}
	return all
}

func fill(seed uint64, n int) []float32 {
	rng := rand.New(rand.NewPCG(seed, 1))
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(rng.NormFloat64())
	}
	return v
}
