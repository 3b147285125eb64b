package gossip

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	// A dial or an accepted stream of memberlist ends on its own within Config.Timeout.
	goleak.VerifyTestMain(m)
}

var testKey = bytes.Repeat([]byte{7}, KeySize)

// heard collects what a node's handler hears.
type heard struct {
	mu   sync.Mutex
	all  []string
	text bytes.Buffer // the log
}

func (h *heard) add(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all = append(h.all, fmt.Sprintf(format, args...))
}

func (h *heard) Write(b []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.text.Write(b)
}

func (h *heard) log() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.text.String()
}

func (h *heard) has(want string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range h.all {
		if s == want {
			return true
		}
	}
	return false
}

func fast(id string, h *heard) Config {
	c := DefaultConfig()
	c.Job, c.Key, c.Self, c.Bind = "gpt", testKey, Host{ID: id, Workers: 2}, "127.0.0.1:0"
	c.Probe, c.Reconnect, c.Timeout = 100*time.Millisecond, 100*time.Millisecond, time.Second
	c.Log = slog.New(slog.NewTextHandler(h, &slog.HandlerOptions{Level: slog.LevelWarn}))
	c.Handler = Handler{
		Seen:    func(x Host) { h.add("seen %s %d %v", x.ID, x.Workers, x.Witness) },
		Lost:    func(id string, left bool) { h.add("lost %s %v", id, left) },
		Message: func(from string, kind byte, data []byte) { h.add("%s %d %d bytes", from, kind, len(data)) },
	}
	return c
}

func startNode(t *testing.T, c Config) *Node {
	t.Helper()
	n, err := Start(c)
	require.NoError(t, err)
	t.Cleanup(func() { n.Close() })
	return n
}

func (h *heard) wait(t *testing.T, want string) {
	t.Helper()
	require.Eventually(t, func() bool { return h.has(want) }, 15*time.Second, 5*time.Millisecond, want)
}

func TestHostsMeetTalkAndPart(t *testing.T) {
	t.Parallel()
	var ha, hb, hc heard
	a, b := startNode(t, fast("a", &ha)), startNode(t, fast("b", &hb))
	cc := fast("c", &hc)
	cc.Self.Witness = true
	c := startNode(t, cc)
	n, err := b.Join([]string{b.Addr(), a.Addr()})
	require.NoError(t, err)
	require.Equal(t, 1, n)
	_, err = c.Join([]string{b.Addr()})
	require.NoError(t, err)
	ha.wait(t, "seen c 2 true") // heard through b
	hc.wait(t, "seen a 2 false")
	require.NoError(t, a.Update(func(h *Host) { h.Workers = 5 }))
	hc.wait(t, "seen a 5 false")
	require.Equal(t, []string{"b", "c"}, []string{a.Hosts()[0].ID, a.Hosts()[1].ID})

	require.NoError(t, a.Send("c", c.Addr(), 'v', make([]byte, 300_000), false))
	hc.wait(t, "a 118 300000 bytes")
	require.NoError(t, a.Send("c", c.Addr(), 'v', make([]byte, 100), true))
	hc.wait(t, "a 118 100 bytes")
	require.NoError(t, a.Send("other", c.Addr(), 'v', make([]byte, 99), false))
	require.ErrorContains(t, a.Send("c", c.Addr(), 'v', make([]byte, MaxMessage+1), false), "at most")
	require.ErrorContains(t, a.Send("c", "nowhere", 'v', nil, false), "expected ip:port")

	require.NoError(t, b.Leave())
	ha.wait(t, "lost b true")
	require.NoError(t, c.Close())
	ha.wait(t, "lost c false")
	require.False(t, hc.has("a 118 99 bytes"), "a message for another host is dropped")
}

func TestAHostThatComesBackIsFound(t *testing.T) {
	t.Parallel()
	var ha, hb, hc heard
	a, b := startNode(t, fast("a", &ha)), startNode(t, fast("b", &hb))
	_, err := b.Join([]string{a.Addr()})
	require.NoError(t, err)
	ha.wait(t, "seen b 2 false")
	require.NoError(t, b.Close())
	ha.wait(t, "lost b false")
	again := fast("c", &hc)
	again.Bind = b.Addr()
	startNode(t, again)          // and joins nobody
	ha.wait(t, "seen c 2 false") // a tries b's address again
}

func TestStrangersAreRefused(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		name, want string
		change     func(*Config)
	}{
		{"key", "its job has another key; start both with the same --key-file", func(c *Config) { c.Key = bytes.Repeat([]byte{8}, KeySize) }},
		{"job", `belongs to job "gpt", this host to "llama"`, func(c *Config) { c.Job = "llama" }},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			var ha, hb heard
			a := startNode(t, fast("a", &ha))
			c := fast("b", &hb)
			x.change(&c)
			b := startNode(t, c)
			for range 3 {
				_, err := b.Join([]string{a.Addr()})
				require.ErrorContains(t, err, x.want)
				require.NotErrorIs(t, err, ErrNobody)
			}
			require.Eventually(t, func() bool { return strings.Contains(ha.log(), "refused") }, 5*time.Second, time.Millisecond)
			require.Equal(t, 1, strings.Count(ha.log(), "level=WARN"), "said once: %s", ha.log())
			require.Empty(t, a.Hosts())
			require.Empty(t, b.Hosts())
		})
	}
}

func TestAnotherVersionIsRefused(t *testing.T) {
	t.Parallel()
	var h heard
	n := startNode(t, fast("a", &h))
	d := delegate{n}
	m := *n.list.LocalNode()
	m.Name = "b"
	m.Meta = []byte(`{"v":9,"job":"gpt","id":"b"}`)
	require.ErrorContains(t, d.NotifyAlive(&m), "speaks version 9 of ringo's protocol, this host 1")
	m.Meta = []byte(`{"v":1,"job":"gpt","id":"c"}`)
	require.ErrorContains(t, d.NotifyAlive(&m), `calls itself "b" and "c"`)
	m.Meta = nil
	require.ErrorContains(t, d.NotifyAlive(&m), "says nothing about itself")
}

func TestGarbage(t *testing.T) {
	t.Parallel()
	var ha, hb heard
	a, b := startNode(t, fast("a", &ha)), startNode(t, fast("b", &hb))
	_, err := b.Join([]string{a.Addr()})
	require.NoError(t, err)
	var idle []net.Conn
	for i := range 20 {
		conn, err := net.Dial("tcp", a.Addr())
		require.NoError(t, err)
		defer conn.Close()
		if i%2 == 0 {
			idle = append(idle, conn) // half open: nothing ever comes
			continue
		}
		conn.Write(append([]byte{10, 0xff, 0xff, 0xff, 0xff}, bytes.Repeat([]byte{byte(i)}, 1<<10)...))
		conn.(*net.TCPConn).CloseWrite()
		udp, err := net.Dial("udp", a.Addr())
		require.NoError(t, err)
		udp.Write(bytes.Repeat([]byte{byte(i)}, 13*i+1))
		udp.Close()
	}
	require.Eventually(t, func() bool { return strings.Contains(ha.log(), "it is not gossip of this job") }, 5*time.Second, time.Millisecond)
	require.NoError(t, b.Send("a", a.Addr(), 1, []byte("still here"), false))
	ha.wait(t, "b 1 10 bytes")
	require.LessOrEqual(t, strings.Count(ha.log(), "level=WARN"), 2, ha.log())
	for _, c := range idle { // the other end gives up
		c.SetReadDeadline(time.Now().Add(10 * time.Second))
		_, err := io.Copy(io.Discard, c)
		require.NoError(t, err)
	}
}

func TestNobodyAnswers(t *testing.T) {
	t.Parallel()
	var h heard
	n := startNode(t, fast("a", &h))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	free := l.Addr().String()
	l.Close()
	_, err = n.Join([]string{free})
	require.ErrorIs(t, err, ErrNobody)
	_, err = n.Join([]string{n.Addr()})
	require.ErrorIs(t, err, ErrNobody)
	require.True(t, n.Is(n.Addr()))
	require.False(t, n.Is(free))
}

func TestConfig(t *testing.T) {
	t.Parallel()
	var h heard
	for want, change := range map[string]func(*Config){
		"the job's name is \"a b\"":  func(c *Config) { c.Job = "a b" },
		"the host's ID is \"\"":      func(c *Config) { c.Self.ID = "" },
		"key has 3 bytes":            func(c *Config) { c.Key = []byte("abc") },
		"cannot bind to":             func(c *Config) { c.Bind = "127.0.0.1:x" },
		"cannot advertise":           func(c *Config) { c.Advertise = "127.0.0.1:99999" },
		"cannot listen on 192.0.2.1": func(c *Config) { c.Bind = "192.0.2.1:0" }, // RFC 5737: nobody's address
	} {
		c := fast("a", &h)
		change(&c)
		_, err := Start(c)
		require.ErrorContains(t, err, want)
	}
}

func FuzzMessage(f *testing.F) {
	b, _ := encode("a", "b", 3, []byte("data"))
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		from, to, kind, data, err := decode(b)
		if err != nil {
			return
		}
		again, err := encode(from, to, kind, data)
		require.NoError(t, err)
		require.Equal(t, b, again)
	})
}

func Example() {
	met := make(chan string, 1)
	host := func(id string, h Handler) *Node {
		c := DefaultConfig()
		c.Job, c.Key, c.Self, c.Bind, c.Handler = "gpt", make([]byte, KeySize), Host{ID: id}, "127.0.0.1:0", h
		n, err := Start(c)
		if err != nil {
			panic(err)
		}
		return n
	}
	a := host("a", Handler{Seen: func(h Host) { met <- h.ID }})
	b := host("b", Handler{})
	b.Join([]string{a.Addr()})
	fmt.Println("a has met", <-met)
	b.Leave()
	a.Leave()
	// Output: a has met b
}
