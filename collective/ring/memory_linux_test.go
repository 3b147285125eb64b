package ring

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"ringo/runtime/tensor"
)

// A worker that was cut off in the middle of a call may write late; the next view's pages are others.
func TestLateWritesMissTheNextView(t *testing.T) {
	t.Parallel()
	var listeners []*Listener
	var mem []*Memory
	o := Options{Job: "test", Timeout: 5 * time.Second}
	for i := range 3 {
		l, err := Listen("127.0.0.1:0", ListenOptions{})
		require.NoError(t, err)
		defer l.Close()
		m, err := l.NewMemory(3 << 20)
		require.NoError(t, err)
		defer m.Close()
		listeners, mem = append(listeners, l), append(mem, m)
		o.Members = append(o.Members, Member{ID: fmt.Sprint(i), Addr: l.Addr(), Host: "h"})
	}
	join := func(epoch uint64, n int) []*Ring {
		rings := make([]*Ring, n)
		errs := make(chan error, n)
		for i := range n {
			go func() {
				mine := o
				mine.Self, mine.Epoch, mine.Members = i, epoch, o.Members[:n]
				var err error
				rings[i], err = listeners[i].Join(context.Background(), mine)
				errs <- err
			}()
		}
		for range n {
			require.NoError(t, <-errs)
		}
		return rings
	}
	old := join(1, 3)
	each(t, old, func(r *Ring) error { return r.AllReduce(mem[r.Rank()].Bytes(), tensor.F32) })
	stale := old[2].peer[0].remote.regions[0].mem
	require.NoError(t, errors.Join(old[0].Close(), old[1].Close()))

	rings := join(2, 2)
	bytes := mem[0].Bytes()
	require.Equal(t, make([]byte, 100), bytes[:100], "fresh pages are zeros")
	for i := range stale[:3<<20] {
		stale[i] = 0xff // rank 2 does not know yet
	}
	each(t, rings, func(r *Ring) error {
		v := tensor.View[float32](mem[r.Rank()].Bytes())
		for i := range v {
			v[i] = float32(i % 1000)
		}
		return r.AllReduce(mem[r.Rank()].Bytes(), tensor.F32)
	})
	for i, v := range tensor.View[float32](bytes) {
		if v != float32(2*(i%1000)) {
			t.Fatalf("element %d is %v, expected %d", i, v, 2*(i%1000))
		}
	}
	// While that ring is open another one must do without memory.
	third := join(3, 2)
	each(t, third, func(r *Ring) error { return r.AllReduce(mem[r.Rank()].Bytes(), tensor.F32) })
	require.Zero(t, mapped(third[0]))
	for _, r := range append(append(rings, third...), old[2]) {
		require.NoError(t, r.Close())
	}
}

// A member that lies about where its vectors are costs the others one ring, and they send from then on.
func TestImpossiblePlaces(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(entry []byte){
		"size":       func(e []byte) { binary.LittleEndian.PutUint64(e[8:], 1<<50) },
		"descriptor": func(e []byte) { binary.LittleEndian.PutUint32(e, 1<<20) },
		"token":      func(e []byte) { e[20]++ },
		"empty":      func(e []byte) { clear(e) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rings := world(t, 2, sharedHost)
			mem := memories(t, rings, 1<<16)
			_, ok := rings[0].locate(mem[0])
			require.True(t, ok)
			spoil(rings[0].shm.mem[page:][:tableEntry])
			err := every(rings, func(r *Ring) error {
				err := r.AllReduce(mem[r.Rank()], tensor.F32)
				return errors.Join(err, r.Close())
			})[1]
			var p *PeerError
			require.ErrorAs(t, err, &p)
			require.Equal(t, "w0", p.Peer)
			require.True(t, rings[1].lst.unmappable)
		})
	}
	rings := world(t, 2, sharedHost)
	mem := memories(t, rings, 1<<16)
	each(t, rings, func(r *Ring) error { return r.AllReduce(mem[r.Rank()], tensor.F32) })
	for _, at := range []place{placeSet | 1<<16, placeSet | 2, placeSet | placeOffset, placeSet | 5<<placeSlot, placeSet | 500<<placeSlot, 0} {
		_, err := rings[0].peer[1].vector(at, 1<<16, 4)
		if at == 0 {
			require.NoError(t, err)
			continue
		}
		require.ErrorIs(t, err, errPlace, "%x", at)
	}
}

func TestNothingLeaksFromMemory(t *testing.T) {
	before := descriptors(t)
	for range 20 {
		l, err := Listen("127.0.0.1:0", ListenOptions{})
		require.NoError(t, err)
		m, err := l.NewMemory(5 << 20)
		require.NoError(t, err)
		require.NoError(t, errors.Join(m.fill(), m.Close(), m.Close(), l.Close()))
	}
	require.LessOrEqual(t, descriptors(t), before+1)
}

// Whatever a member writes into its table and sends as a place: an error, or a vector inside its memory.
func FuzzPlaces(f *testing.F) {
	l, err := Listen("127.0.0.1:0", ListenOptions{})
	require.NoError(f, err)
	f.Cleanup(func() { l.Close() })
	m, err := l.NewMemory(3 * page)
	require.NoError(f, err)
	f.Cleanup(func() { m.Close() })
	s := &shared{segment: segment{mem: make([]byte, 2*page)}}
	_, ok := s.lend(m)
	require.True(f, ok)
	good := s.mem[page:]
	f.Add(good, uint64(placeSet), 4096)
	f.Add(good, uint64(placeSet|8), 3*page-8)
	f.Add(good, uint64(placeSet|3*page), 4)
	f.Add(good, uint64(placeSet|1<<placeSlot), 4)
	f.Add(good[:8], uint64(1<<63-1), 1<<30)
	f.Fuzz(func(t *testing.T, table []byte, at uint64, bytes int) {
		if bytes < 0 {
			return
		}
		seg := &segment{mem: make([]byte, 2*page), pid: os.Getpid()}
		copy(seg.mem[page:], table)
		v, err := (&peer{remote: seg}).vector(place(at), bytes, 4)
		if err == nil {
			require.Len(t, v, bytes)
			clear(v) // it is there
		}
		for i := range seg.regions {
			require.NoError(t, seg.regions[i].unmap())
		}
	})
}
