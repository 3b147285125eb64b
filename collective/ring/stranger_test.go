package ring

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"ringo/collective/secure"
	"ringo/runtime/tensor"
)

// logBuffer is a log that tests read while others write.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func listen(t *testing.T, o ListenOptions) *Listener {
	l, err := Listen("127.0.0.1:0", o)
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	return l
}

// TestStrangersAreRefusedAndDisturbNobody talks nonsense to a member's port while it trains with another.
func TestStrangersAreRefusedAndDisturbNobody(t *testing.T) {
	t.Parallel()
	log := &logBuffer{}
	lo := ListenOptions{Secret: []byte("s"), Handshake: 300 * time.Millisecond, Pending: 8, Log: slog.New(slog.NewTextHandler(log, nil))}
	a, b := listen(t, lo), listen(t, lo)
	members := []Member{{ID: "a", Addr: a.Addr()}, {ID: "b", Addr: b.Addr()}}
	rings := make([]*Ring, 2)
	var wg sync.WaitGroup
	for i, l := range []*Listener{a, b} {
		wg.Add(1)
		go func() {
			defer wg.Done()
			var err error
			rings[i], err = l.Join(context.Background(), Options{Job: "gpt", Epoch: 5, Self: i, Members: members, Timeout: 2 * time.Second})
			require.NoError(t, err)
		}()
	}
	wg.Wait()
	defer rings[0].Close()
	defer rings[1].Close()

	digest := rings[0].opt.digest()
	good := hello{kind: kindControl, epoch: 5, from: 1, to: 0, digest: digest, job: "gpt", id: "b"}
	frame := func(change func(h *hello)) []byte {
		h := good
		change(&h)
		var b bytes.Buffer
		require.NoError(t, writeFrame(&b, h.encode()))
		return b.Bytes()
	}
	huge := append([]byte(magic), 0, version, 0xff, 0xff)
	other := append([]byte(magic), 0, 99, 0, 0)
	noise := make([]byte, 100_000)
	rand.Read(noise)
	for say, want := range map[string]string{
		"GET / HTTP/1.1\r\n\r\n": "not a ringo connection",
		string(noise):            "not a ringo connection",
		string(huge):             "handshake frame of 65535 bytes, expected at most 1024",
		string(other):            fmt.Sprintf("protocol version 99, expected %d", version),
		string(append([]byte(magic), 0, version, 0, 2, 'x', 'x')): "hello of wrong length",
		string(frame(func(h *hello) { h.job = "bert" })):          `job \"bert\", expected \"gpt\"`,
		string(frame(func(h *hello) { h.epoch = 4 })):             "epoch 4 is over, this process is in epoch 5",
		string(frame(func(h *hello) { h.epoch = 9 })):             "epoch 9 is not known here",
		string(frame(func(h *hello) { h.from = 7 })):              "as rank 7 calls rank 0",
		string(frame(func(h *hello) { h.id = "x" })):              `\"x\" as rank 1`,
		string(frame(func(h *hello) { h.digest[0]++ })):           "has other members or options",
		string(frame(func(h *hello) { h.kind = 9 })):              "hello of unknown kind 9",
	} {
		for range 3 {
			c, err := net.Dial("tcp", a.Addr())
			require.NoError(t, err)
			c.SetDeadline(time.Now().Add(5 * time.Second))
			c.Write([]byte(say))
			io.Copy(io.Discard, c) // until it hangs up
			c.Close()
		}
		require.Eventually(t, func() bool { return strings.Contains(log.String(), want) }, 3*time.Second, 5*time.Millisecond, want)
		require.Equal(t, 1, strings.Count(log.String(), want), "logged once: %s", want)
	}
	// Who knows all names but not the key gets to the proof and no further.
	c, err := net.Dial("tcp", a.Addr())
	require.NoError(t, err)
	defer c.Close()
	_, err = c.Write(frame(func(*hello) {}))
	require.NoError(t, err)
	_, err = readFrame(c)
	require.NoError(t, err)
	require.NoError(t, writeFrame(c, make([]byte, 33)))
	require.Eventually(t, func() bool { return strings.Contains(log.String(), "does not have this job's key") }, 3*time.Second, 5*time.Millisecond)

	// Silent connections are dropped, the oldest first, and members come through.
	for range 50 {
		c, err := net.Dial("tcp", a.Addr())
		require.NoError(t, err)
		defer c.Close()
	}
	each(t, rings, func(r *Ring) error { return r.AllReduce(tensor.AlignedBytes(1<<20), tensor.F32) })
}

func TestJoinNamesWhoIsMissing(t *testing.T) {
	t.Parallel()
	l := listen(t, ListenOptions{Secret: []byte("s")})
	gone := listen(t, ListenOptions{})
	addr := gone.Addr()
	gone.Close()
	_, err := l.Join(context.Background(), Options{Epoch: 1, Self: 1, Members: []Member{{ID: "dead", Addr: addr}, {ID: "me", Addr: l.Addr()}}})
	var p *PeerError
	require.ErrorAs(t, err, &p)
	require.Equal(t, "dead", p.Peer)
	require.ErrorContains(t, err, "refused")

	_, err = l.Join(context.Background(), Options{Epoch: 2, Self: 0, Timeout: 200 * time.Millisecond, Members: []Member{{ID: "me", Addr: l.Addr()}, {ID: "late", Addr: addr}}})
	require.ErrorAs(t, err, &p)
	require.Equal(t, "late", p.Peer)
	require.ErrorContains(t, err, "did not connect within 200ms")

	_, err = l.Join(context.Background(), Options{Epoch: 2, Self: 0, Members: []Member{{ID: "me"}, {ID: "x"}}})
	require.ErrorContains(t, err, "epoch 2 was joined before")

	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(50*time.Millisecond, cancel)
	_, err = l.Join(ctx, Options{Epoch: 3, Self: 0, Members: []Member{{ID: "me"}, {ID: "x"}}})
	require.ErrorIs(t, err, context.Canceled)

	other := listen(t, ListenOptions{Secret: []byte("another")})
	members := []Member{{ID: "a", Addr: other.Addr()}, {ID: "b", Addr: l.Addr()}}
	r0 := make(chan error, 1)
	go func() {
		_, err := other.Join(context.Background(), Options{Epoch: 5, Self: 0, Members: members, Timeout: 500 * time.Millisecond})
		r0 <- err
	}()
	_, err = l.Join(context.Background(), Options{Epoch: 5, Self: 1, Members: members, Timeout: 500 * time.Millisecond})
	require.ErrorContains(t, err, "does not have this job's key")
	require.Error(t, <-r0)
}

// liar joins as rank 1 of two and hands its raw data connection to fn.
func liar(t *testing.T, fn func(c net.Conn)) (*Ring, func()) {
	a, b := listen(t, ListenOptions{}), listen(t, ListenOptions{})
	members := []Member{{ID: "honest", Addr: a.Addr()}, {ID: "liar", Addr: b.Addr()}}
	var r *Ring
	done := make(chan error, 1)
	go func() {
		var err error
		r, err = a.Join(context.Background(), Options{Epoch: 1, Members: members, Conns: 1, Timeout: time.Second})
		done <- err
	}()
	lie := &Ring{opt: Options{Epoch: 1, Self: 1, Members: members, Conns: 1, Timeout: time.Second}, self: 1}
	require.NoError(t, lie.opt.fill())
	control, _, err := lie.dial(context.Background(), nil, 0, kindControl, 0)
	require.NoError(t, err)
	data, _, err := lie.dial(context.Background(), nil, 0, kindData, 0)
	require.NoError(t, err)
	require.NoError(t, <-done)
	go fn(data)
	return r, func() { control.Close(); data.Close(); r.Close() }
}

func TestLiarsAreFoundOut(t *testing.T) {
	t.Parallel()
	head := func(change func(b []byte)) func(net.Conn) {
		return func(c net.Conn) {
			x := &exchange{r: &Ring{}, op: opAllReduce, dt: tensor.F32, group: []int{0, 1}, seg: []int{0, 256, 400}}
			x.r.seq.Store(1)
			var f flow
			x.header(&f)
			change(f.head[:])
			c.Write(f.head[:])
			go io.Copy(io.Discard, c)
		}
	}
	for want, lie := range map[string]func(net.Conn){
		"of 1152921504606846976 elements": head(func(b []byte) { binary.BigEndian.PutUint64(b[16:], 1<<60) }),
		"sent garbage":                    func(c net.Conn) { c.Write(make([]byte, 1<<20)) },
		"an unknown operation":            head(func(b []byte) { b[4] = 200 }),
		"silent for":                      head(func([]byte) {}), // then never a byte, on any connection
	} {
		r, stop := liar(t, lie)
		err := r.AllReduce(tensor.AlignedBytes(1600), tensor.F32)
		var p *PeerError
		require.ErrorAs(t, err, &p)
		require.Equal(t, "liar", p.Peer)
		require.ErrorContains(t, err, want)
		stop()
	}
}

func TestTLSBetweenHosts(t *testing.T) {
	t.Parallel()
	key := secure.Generate()
	join := func(keys []secure.Key, host func(i int) string) ([]*Ring, []error) {
		var ls []*Listener
		var members []Member
		var configs []*tls.Config
		for i, k := range keys {
			c, err := secure.TLS(k, "gpt", secure.Files{})
			require.NoError(t, err)
			l := listen(t, ListenOptions{TLS: c, Secret: k.Secret("gpt"), Log: slog.New(slog.DiscardHandler)})
			ls, configs = append(ls, l), append(configs, c)
			members = append(members, Member{ID: fmt.Sprint(i), Addr: l.Addr(), Host: host(i)})
		}
		rings, errs := make([]*Ring, len(keys)), make([]error, len(keys))
		var wg sync.WaitGroup
		for i, l := range ls {
			wg.Add(1)
			go func() {
				defer wg.Done()
				rings[i], errs[i] = l.Join(context.Background(), Options{Job: "gpt", Epoch: 1, Self: i, Members: members, Timeout: time.Second, TLS: configs[i]})
				if r := rings[i]; r != nil {
					t.Cleanup(func() { r.Close() })
				}
			}()
		}
		wg.Wait()
		return rings, errs
	}
	rings, errs := join([]secure.Key{key, key, key}, func(i int) string { return fmt.Sprint(i / 2) })
	for _, err := range errs {
		require.NoError(t, err)
	}
	require.Equal(t, []int{1, 1, 2}, []int{rings[0].Stats().Secure, rings[1].Stats().Secure, rings[2].Stats().Secure})
	each(t, rings, func(r *Ring) error {
		buf := tensor.AlignedBytes(1 << 20)
		tensor.View[int32](buf)[1<<17] = 1
		if err := r.AllReduce(buf, tensor.I32); err != nil {
			return err
		}
		if got := tensor.View[int32](buf)[1<<17]; got != 3 {
			return fmt.Errorf("sum %d, expected 3", got)
		}
		return nil
	})
	_, errs = join([]secure.Key{key, secure.Generate()}, func(i int) string { return fmt.Sprint(i) })
	require.ErrorContains(t, errs[1], "it has another job's key or certificates; give all hosts of a job the same key file")
	require.Error(t, errs[0])
}

func FuzzFrames(f *testing.F) {
	h := hello{kind: kindData, job: "j", id: "w"}
	f.Add(h.encode())
	f.Add((&reply{text: "no"}).encode())
	f.Add((&message{kind: msgAbort, text: "x"}).encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if h, err := decodeHello(b); err == nil {
			require.Equal(t, b, h.encode())
		}
		if r, err := decodeReply(b); err == nil && len(r.text) <= maxHello/2 {
			require.Equal(t, b, r.encode())
		}
		if m, err := readMessage(bytes.NewReader(b), make([]byte, messageHead+messageText)); err == nil {
			require.True(t, bytes.HasPrefix(b, m.encode()))
		}
		if body, err := readFrame(bytes.NewReader(b)); err == nil {
			require.LessOrEqual(t, len(body), maxHello)
		}
	})
}
