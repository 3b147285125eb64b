package ring

import (
	"fmt"

	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"ringo/runtime/tensor"
)

// mapped counts the others' memory that a rank has mapped.
func mapped(r *Ring) (n int) {
	for _, p := range r.peer {
		if p != nil && p.remote != nil {
			for _, g := range p.remote.regions {
				if g.mem != nil {
					n++
				}
			}
		}
	}
	return n
}

func twoHosts(o *Options) {
	for i := range o.Members {
		o.Members[i].Host = string('a' + rune(i%2))
	}
}

// In place or sent, every operation leaves the same bits.
func TestInPlaceSumsHaveTheBitsOfSentOnes(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*Options){"host": sharedHost, "hosts": twoHosts} {
		for _, n := range []int{2, 3, 5} {
			t.Run(fmt.Sprintf("%s/%d", name, n), func(t *testing.T) {
				t.Parallel()
				rings := world(t, n, change)
				const most = 20_001
				mem := memories(t, rings, 8*most+64)
				for _, dt := range []tensor.DType{tensor.F32, tensor.F64, tensor.F16, tensor.BF16, tensor.I32} {
					for _, elems := range []int{1, 300, most} {
						for op, call := range map[string]func(r *Ring, b []byte) error{
							"all-reduce":     func(r *Ring, b []byte) error { return r.AllReduce(b, dt) },
							"reduce-scatter": func(r *Ring, b []byte) error { return r.ReduceScatter(b, dt) },
							"all-gather":     func(r *Ring, b []byte) error { return r.AllGather(b, dt) },
							"broadcast":      func(r *Ring, b []byte) error { return r.Broadcast(n-1, b) },
						} {
							if dt != tensor.F32 && op != "all-reduce" {
								continue
							}
							sent, placed := make([][]byte, n), make([][]byte, n)
							for i := range n {
								sent[i] = tensor.AlignedBytes(elems * dt.Size())
								vals := make([]float64, elems)
								for j, v := range fill(uint64(i*7+elems), elems) {
									vals[j] = float64(v) * 100
								}
								tensor.StoreFloat64(sent[i], dt, vals)
								placed[i] = mem[i][64:][:len(sent[i])]
								copy(placed[i], sent[i])
							}
							each(t, rings, func(r *Ring) error { return call(r, sent[r.Rank()]) })
							each(t, rings, func(r *Ring) error { return call(r, placed[r.Rank()]) })
							for i, r := range rings {
								lo, hi := 0, elems
								if op == "reduce-scatter" {
									lo, hi = r.Segment(i, elems)
								}
								lo, hi = lo*dt.Size(), hi*dt.Size()
								require.True(t, slices.Equal(sent[i][lo:hi], placed[i][lo:hi]), "%s of %d × %s, rank %d", op, elems, dt, i)
							}
						}
					}
				}
				require.Equal(t, n > 2 || name == "host", mapped(rings[0]) > 0)
			})
		}
	}
}

func TestInPlaceTreesHaveTheBitsOfSentOnes(t *testing.T) {
	t.Parallel()
	for _, bounds := range [][]int{{0, 8, 16}, {0, 5, 16}, {0, 5, 10, 16}, {0, 0, 3, 7}, {0, 1, 2, 7}, {0, 3, 3, 11, 16}, {0, 16, 16, 16}} {
		t.Run(fmt.Sprint(bounds), func(t *testing.T) {
			t.Parallel()
			n := len(bounds) - 1
			rings := world(t, n, sharedHost)
			const elems = 15_001
			mem := memories(t, rings, 4*elems*8)
			sent, placed := make([][][]float32, n), make([][][]float32, n)
			outs := [2][][]float32{make([][]float32, n), make([][]float32, n)}
			for r := range n {
				k := 0
				subtrees(bounds[r], bounds[r+1], func(lo, hi int) {
					v := fill(uint64(lo*31+hi), elems)
					in := tensor.View[float32](mem[r])[k*elems:][:elems]
					copy(in, v)
					sent[r], placed[r] = append(sent[r], v), append(placed[r], in)
					k++
				})
				if k == 0 {
					outs[0][r], outs[1][r] = make([]float32, elems), tensor.View[float32](mem[r])[:elems]
					continue
				}
				outs[0][r], outs[1][r] = sent[r][k-1], placed[r][k-1] // as training has it: out is the last part
			}
			each(t, rings, func(r *Ring) error { return r.ReduceTree(outs[0][r.Rank()], sent[r.Rank()], bounds) })
			require.Zero(t, mapped(rings[0]))
			each(t, rings, func(r *Ring) error { return r.ReduceTree(outs[1][r.Rank()], placed[r.Rank()], bounds) })
			require.Positive(t, mapped(rings[0]))
			for r := range n {
				require.Equal(t, outs[0][r], outs[1][r], "rank %d", r)
				for k := range len(placed[r]) - 1 {
					require.Equal(t, sent[r][k], placed[r][k], "rank %d: part %d changed", r, k)
				}
			}
		})
	}
}

// Where one rank's vector is elsewhere, all send.
func TestMixedVectorsAreSent(t *testing.T) {
	t.Parallel()
	rings := world(t, 3, sharedHost)
	mem := memories(t, rings, 1<<20)
	mem[1] = tensor.AlignedBytes(1 << 20)
	for i, b := range mem {
		tensor.View[float32](b)[1000] = float32(i + 1)
	}
	each(t, rings, func(r *Ring) error { return r.AllReduce(mem[r.Rank()], tensor.F32) })
	for i, b := range mem {
		require.Equal(t, float32(6), tensor.View[float32](b)[1000])
		require.Zero(t, mapped(rings[i]))
	}
}

func TestCallsInPlaceAllocateNothing(t *testing.T) {
	rings := world(t, 2, sharedHost)
	mem := memories(t, rings, 1<<20)
	done := make(chan error)
	go func() {
		for {
			if err := rings[1].AllReduce(mem[1], tensor.F32); err != nil {
				done <- err
				return
			}
		}
	}()
	call := func() { require.NoError(t, rings[0].AllReduce(mem[0], tensor.F32)) }
	call()
	require.Less(t, testing.AllocsPerRun(50, call), 0.5)
	rings[0].Abort(nil)
	require.Error(t, <-done)
}

// Killed in the middle of a call in place: the others end at once, and the victim's pages stay readable until they leave.
func TestKilledInPlace(t *testing.T) {
	t.Parallel()
	rings, cmd := withProcess(t, 3, sharedHost, fmt.Sprint("RINGO_RING_TEST_MEMORY=", 8<<20))
	mem := memories(t, rings, 8<<20)
	ends := make(chan error, len(rings))
	for i, r := range rings {
		go func() {
			for {
				if err := r.AllReduce(mem[i], tensor.F32); err != nil {
					ends <- err
					return
				}
			}
		}()
	}
	time.Sleep(200 * time.Millisecond)
	killed := time.Now()
	require.NoError(t, cmd.Process.Signal(syscall.SIGKILL))
	for range rings {
		var p *PeerError
		require.ErrorAs(t, <-ends, &p)
		require.Equal(t, "victim", p.Peer)
		t.Logf("known %v after the kill", time.Since(killed).Round(100*time.Microsecond))
	}
	require.Equal(t, 2, mapped(rings[0]))
}

// Frames of odd lengths around and around the pipes: what is consumed, padding included, was committed at once.
func TestOddFrames(t *testing.T) {
	t.Parallel()
	rings := world(t, 2, sharedHost)
	each(t, rings, func(r *Ring) error {
		var b [7]byte
		for i := range 20_000 {
			mine := b[:1+i%7]
			mine[0] = byte(i)
			if r.Rank() == 1 {
				mine[0] = 0
			}
			if err := r.Broadcast(0, mine); err != nil || mine[0] != byte(i) {
				return fmt.Errorf("call %d: %v, got %v", i, err, mine)
			}
		}
		return nil
	})
}
