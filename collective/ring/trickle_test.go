package ring

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"ringo/runtime/tensor"
)

// A stranger that sends a byte now and then gets the time of one handshake, not one per byte.
func TestTricklingStrangerIsDropped(t *testing.T) {
	t.Parallel()
	l, err := Listen("127.0.0.1:0", ListenOptions{Handshake: 200 * time.Millisecond, Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	require.NoError(t, err)
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr())
	require.NoError(t, err)
	defer c.Close()
	frame := new(bytes.Buffer)
	require.NoError(t, writeFrame(frame, make([]byte, 1000)))
	start := time.Now()
	for _, b := range frame.Bytes() {
		if _, err = c.Write([]byte{b}); err != nil {
			break
		}
		c.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
		if _, err = c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
	}
	require.Error(t, err)
	require.False(t, errors.Is(err, os.ErrDeadlineExceeded), "after %v the stranger was still listened to", time.Since(start))
	require.Less(t, time.Since(start), 5*time.Second)
}

// A member that sends a byte now and then inside a call, and says that it is alive and busy with it, is dropped; so is one whose
// state changes all the while.
func TestTricklingMemberIsDropped(t *testing.T) {
	t.Parallel()
	for _, v := range variants {
		for _, restless := range []bool{false, true} {
			if v.name == "hosts" || restless && v.name != "shared" { // stages look as "shared" or "tcp" does
				continue
			}
			t.Run(fmt.Sprintf("%s/%v", v.name, restless), func(t *testing.T) {
				t.Parallel()
				const timeout = 400 * time.Millisecond
				rings := world(t, 3, func(o *Options) {
					if v.change != nil {
						v.change(o)
					}
					o.Timeout = timeout
				})
				start := time.Now()
				errs := every(rings, func(r *Ring) error {
					const elems = 100_000
					if r.Rank() < 2 {
						return r.AllReduce(make([]byte, 4*elems), tensor.F32)
					}
					return trickle(r, elems, restless)
				})
				for _, err := range errs[:2] {
					var p *PeerError
					require.ErrorAs(t, err, &p)
					require.Equal(t, "w2", p.Peer)
				}
				require.ErrorContains(t, errors.Join(errs...), "moved less than 65536 bytes")
				require.Less(t, time.Since(start), 20*timeout)
			})
		}
	}
}

// trickle takes part in a call at a byte every few milliseconds, until the ring is over.
func trickle(r *Ring, elems int, restless bool) error {
	if err := r.begin(); err != nil {
		return err
	}
	x := r.set(opAllReduce, tensor.F32, 4)
	if r.schedule(tensor.F32, 4*elems) == ScheduleAround {
		x.stage = 4
	}
	x.seg = split(x.seg, elems, r.Size())
	var f flow
	x.header(&f)
	for i := 0; r.failure() == nil; i++ {
		b := []byte{0}
		if i < headerSize {
			b[0] = f.head[i]
		}
		for _, p := range r.peer[:2] {
			if _, err := p.link.send(b, nil); err != nil {
				break // the other end gave up
			}
		}
		if restless {
			r.waiting.Store(int32(i%40/20) - 1)
		}
		time.Sleep(5 * time.Millisecond)
	}
	return r.end(r.failure())
}
