package ring

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"ringo/runtime/tensor"
)

// TestProcess is one rank in a process of its own, for tests that kill it: it sums until it is killed.
func TestProcess(t *testing.T) {
	if os.Getenv("RINGO_RING_TEST") == "" {
		t.Skip("started by other tests")
	}
	l, err := Listen("127.0.0.1:0", ListenOptions{Secret: []byte("s")})
	require.NoError(t, err)
	require.NoError(t, json.NewEncoder(os.Stdout).Encode(l.Addr()))
	var o Options
	require.NoError(t, json.NewDecoder(os.Stdin).Decode(&o))
	r, err := l.Join(context.Background(), o)
	require.NoError(t, err)
	buf := tensor.AlignedBytes(1 << 20)
	if n, _ := strconv.Atoi(os.Getenv("RINGO_RING_TEST_MEMORY")); n > 0 {
		m, err := l.NewMemory(n)
		require.NoError(t, err)
		buf = m.Bytes()
	}
	for r.AllReduce(buf, tensor.F32) == nil {
	}
}

// withProcess joins n−1 ranks of this process and one other process, the last rank.
func withProcess(t *testing.T, n int, change func(o *Options), environ ...string) ([]*Ring, *exec.Cmd) {
	cmd := exec.Command(os.Args[0], "-test.run=^TestProcess$")
	cmd.Env = append(append(os.Environ(), "RINGO_RING_TEST=1"), environ...)
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	var addr string
	require.NoError(t, json.NewDecoder(bufio.NewReader(out)).Decode(&addr))
	o := Options{Job: "test", Epoch: 1, Timeout: 5 * time.Second}
	var listeners []*Listener
	for i := range n - 1 {
		l, err := Listen("127.0.0.1:0", ListenOptions{Secret: []byte("s")})
		require.NoError(t, err)
		t.Cleanup(func() { l.Close() })
		listeners = append(listeners, l)
		o.Members = append(o.Members, Member{ID: fmt.Sprintf("w%d", i), Addr: l.Addr()})
	}
	o.Members = append(o.Members, Member{ID: "victim", Addr: addr})
	if change != nil {
		change(&o)
	}
	o.Self = n - 1
	require.NoError(t, json.NewEncoder(in).Encode(o))
	rings := make([]*Ring, n-1)
	errs := make(chan error, n)
	for i, l := range listeners {
		go func() {
			mine := o
			mine.Self = i
			var err error
			rings[i], err = l.Join(context.Background(), mine)
			errs <- err
		}()
	}
	for range listeners {
		require.NoError(t, <-errs)
	}
	t.Cleanup(func() {
		for _, r := range rings {
			r.Close()
		}
	})
	return rings, cmd
}

func sharedHost(o *Options) {
	for i := range o.Members {
		o.Members[i].Host = "h"
	}
}

func TestKilledPeerEndsEveryCallAtOnce(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*Options){"tcp": nil, "shared": sharedHost} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rings, cmd := withProcess(t, 4, change)
			type end struct {
				at  time.Time
				err error
			}
			ends := make(chan end, 3)
			for _, r := range rings {
				go func() {
					buf := tensor.AlignedBytes(1 << 20)
					for {
						if err := r.AllReduce(buf, tensor.F32); err != nil {
							ends <- end{time.Now(), err}
							return
						}
					}
				}()
			}
			time.Sleep(100 * time.Millisecond)
			killed := time.Now()
			require.NoError(t, cmd.Process.Signal(syscall.SIGKILL))
			for range rings {
				e := <-ends
				var p *PeerError
				require.ErrorAs(t, e.err, &p)
				require.Equal(t, "victim", p.Peer)
				// The bound is loose for machines under load; on a quiet one it is a few milliseconds.
				require.Less(t, e.at.Sub(killed), 2*time.Second)
				t.Logf("known %v after the kill", e.at.Sub(killed).Round(100*time.Microsecond))
			}
		})
	}
}

func TestFrozenPeerIsNoticed(t *testing.T) {
	t.Parallel()
	rings, cmd := withProcess(t, 3, func(o *Options) { o.Timeout = time.Second })
	buf := [2][]byte{tensor.AlignedBytes(1 << 20), tensor.AlignedBytes(1 << 20)}
	each(t, rings, func(r *Ring) error { return r.AllReduce(buf[r.Rank()], tensor.F32) })
	require.NoError(t, cmd.Process.Signal(syscall.SIGSTOP)) // sockets stay open and take bytes: half-open
	for _, err := range every(rings, func(r *Ring) error {
		for {
			if err := r.AllReduce(buf[r.Rank()], tensor.F32); err != nil {
				return err
			}
		}
	}) {
		var p *PeerError
		require.ErrorAs(t, err, &p)
		require.Equal(t, "victim", p.Peer)
	}
}

func TestBusyPeerIsWaitedFor(t *testing.T) {
	t.Parallel()
	rings := world(t, 3, func(o *Options) { o.Timeout = 400 * time.Millisecond })
	each(t, rings, func(r *Ring) error {
		if r.Rank() == 1 {
			time.Sleep(2 * time.Second) // a checkpoint: five timeouts
		}
		return r.AllReduce(make([]byte, 4000), tensor.I32)
	})
}

func TestAbortEndsCallsEverywhere(t *testing.T) {
	t.Parallel()
	newer := errors.New("epoch 2 is here")
	for _, v := range variants {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			rings := world(t, 3, v.change)
			time.AfterFunc(50*time.Millisecond, func() { rings[2].Abort(newer) })
			errs := every(rings, func(r *Ring) error {
				if r.Rank() == 1 {
					<-r.over // never calls
				}
				return r.Barrier()
			})
			require.ErrorIs(t, errs[2], newer)
			for _, err := range errs[:2] {
				require.ErrorIs(t, err, ErrAborted)
				require.ErrorContains(t, err, "epoch 2 is here")
				var p *PeerError
				require.False(t, errors.As(err, &p), "nobody is to blame")
			}
			require.ErrorIs(t, rings[2].AllReduce(nil, tensor.F32), newer)
		})
	}
}

func TestCloseWhileOthersWait(t *testing.T) {
	t.Parallel()
	for _, v := range variants {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			rings := world(t, 3, v.change)
			each(t, rings, func(r *Ring) error { return r.Barrier() })
			errs := every(rings, func(r *Ring) error {
				if r.Rank() == 2 {
					return r.Close()
				}
				return r.Barrier()
			})
			require.NoError(t, errs[2])
			for _, err := range errs[:2] {
				var p *PeerError
				require.ErrorAs(t, err, &p)
				require.Equal(t, "w2", p.Peer)
			}
			require.ErrorIs(t, rings[2].Barrier(), ErrClosed)
		})
	}
}

// TestLastCallReachesAll closes right after a call: nothing of it may be lost.
func TestLastCallReachesAll(t *testing.T) {
	t.Parallel()
	for _, v := range variants {
		for range 5 {
			rings := world(t, 3, v.change)
			each(t, rings, func(r *Ring) error {
				buf := tensor.AlignedBytes(4 << 20)
				return errors.Join(r.AllReduce(buf, tensor.F32), r.Close())
			})
		}
	}
}

func TestRanksThatDisagreeGetAnError(t *testing.T) {
	t.Parallel()
	rings := world(t, 2, nil)
	errs := every(rings, func(r *Ring) error {
		if r.Rank() == 0 {
			return r.AllReduce(make([]byte, 400), tensor.F32)
		}
		return r.AllReduce(make([]byte, 1<<30), tensor.F32)
	})
	for _, err := range errs {
		var p *PeerError
		require.ErrorAs(t, err, &p)
	}
	require.ErrorContains(t, errors.Join(errs...), "all ranks must make the same calls")
	require.ErrorContains(t, errors.Join(errs...), "call 1, all-reduce of 100 elements")
}

func TestBadArguments(t *testing.T) {
	t.Parallel()
	r := world(t, 1, nil)[0]
	require.ErrorContains(t, r.AllReduce(make([]byte, 3), tensor.F32), "no aligned array of f32")
	require.ErrorContains(t, r.AllReduce(make([]byte, 8), tensor.I64), "cannot sum elements of type i64")
	require.ErrorContains(t, r.Broadcast(1, nil), "broadcast from rank 1")
	require.ErrorContains(t, r.ReduceTree(nil, nil, []int{0, 4}), "0 parts for lanes [0,4), which are 1 subtrees")
	require.ErrorContains(t, r.ReduceTree(nil, nil, []int{0}), "lane bounds [0]")
	_, err := r.Gather(make([]byte, maxGather+1))
	require.ErrorContains(t, err, "gather of 1048577 bytes")
	out := []float32{0}
	require.NoError(t, r.ReduceTree(out, [][]float32{{5}}, []int{0, 4}))
	require.Equal(t, float32(5), out[0])
}
