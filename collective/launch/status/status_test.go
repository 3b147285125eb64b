package status

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// sample is a job of two hosts and a witness.
func sample() Snapshot {
	s := Snapshot{Job: "gpt-char", Host: "node-1a2b3c4d", State: "member", Epoch: 4, Step: 480, Steps: 2000, StepMS: 18.4}
	for i := range 7 {
		h := []string{"node-1a2b3c4d", "other-99aa88bb"}[i/4]
		s.Workers = append(s.Workers, Worker{ID: fmt.Sprintf("%s/%d", h, i%4), Host: h, Device: "cpu", Step: 480, LaneLo: 2 * i, LaneHi: 2*i + 2, LanesPS: 61.5, BytesPS: 3.2e8, GPU: -1, Restarts: i % 2})
	}
	s.Hosts = []Host{{ID: "node-1a2b3c4d", Addr: "10.0.0.1:7946"}, {ID: "other-99aa88bb", Addr: "10.0.0.2:7946", RTTMS: 0.21}, {ID: "small-00112233", Addr: "10.0.0.3:7946", Witness: true, RTTMS: 0.4}}
	s.Changes = []Change{{1, 0, "host node-1a2b3c4d founded the job", 1763000000, 0}, {2, 4, "worker 0 joined", 1763000001, 0}, {3, 7, "host other-99aa88bb joined", 1763000020, 0}, {4, 7, "worker 2 died", 1763000060, 43}}
	return s
}

func serve(t *testing.T) *Server {
	t.Helper()
	s, err := Serve("127.0.0.1:0", func() (Snapshot, bool) { return sample(), true })
	require.NoError(t, err)
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		require.NoError(t, s.Close())
	})
	return s
}

func get(t *testing.T, url string) (*http.Response, string) {
	t.Helper()
	r, err := http.Get(url)
	require.NoError(t, err)
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	require.NoError(t, err)
	return r, string(b)
}

func TestFiles(t *testing.T) {
	t.Parallel()
	s := serve(t)
	for path, want := range map[string]string{"/": "<title>ringo</title>", "/app.js": "EventSource", "/style.css": "--bg", "/snapshot.json": `"job":"gpt-char"`} {
		r, body := get(t, "http://"+s.Addr()+path)
		require.Equal(t, 200, r.StatusCode, path)
		require.Contains(t, body, want)
		require.NotContains(t, strings.ReplaceAll(body, "http://www.w3.org/2000/svg", ""), "http", "the page needs no other site")
		require.Contains(t, r.Header.Get("Content-Security-Policy"), "'self'")
	}
	r, _ := get(t, "http://"+s.Addr()+"/nothing")
	require.Equal(t, 404, r.StatusCode)
}

// read returns the next server-sent event.
func read(t *testing.T, b *bufio.Reader) (event, data string) {
	t.Helper()
	for {
		line, err := b.ReadString('\n')
		require.NoError(t, err)
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "event: "):
			event = line[7:]
		case strings.HasPrefix(line, "data: "):
			data = line[6:]
		case line == "":
			return event, data
		}
	}
}

func TestStream(t *testing.T) {
	t.Parallel()
	s := serve(t)
	loss := 3.5
	s.Point(Point{Step: 1, Loss: &loss})
	r, err := http.Get("http://" + s.Addr() + "/events")
	require.NoError(t, err)
	defer r.Body.Close()
	require.Equal(t, "text/event-stream", r.Header.Get("Content-Type"))
	b := bufio.NewReader(r.Body)
	event, data := read(t, b)
	require.Equal(t, []string{"history", `[{"step":1,"loss":3.5}]`}, []string{event, data})
	event, data = read(t, b)
	require.Equal(t, "state", event)
	require.Contains(t, data, `"epoch":4`)
	s.Point(Point{Step: 2, Loss: &loss})
	for event != "point" { // states come in between
		event, data = read(t, b)
	}
	require.Equal(t, `{"step":2,"loss":3.5}`, data)
}

func TestTheCurveIsBounded(t *testing.T) {
	t.Parallel()
	s := serve(t)
	loss := 1.0
	for i := range 100_000 {
		s.Point(Point{Step: i, Loss: &loss})
		if i%10 == 0 {
			s.Point(Point{Step: i, ValLoss: &loss})
		}
	}
	require.LessOrEqual(t, len(s.points), maxPoints+1)
	require.Greater(t, len(s.points), maxPoints/4)
}

func TestTooManyPagesAndSlowOnes(t *testing.T) {
	t.Parallel()
	s := serve(t)
	for range maxClients {
		c, err := net.Dial("tcp", s.Addr())
		require.NoError(t, err)
		defer c.Close()
		fmt.Fprintf(c, "GET /events HTTP/1.1\r\nHost: x\r\n\r\n") // and never reads
	}
	require.Eventually(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return len(s.clients) == maxClients }, 5*time.Second, time.Millisecond)
	r, body := get(t, "http://"+s.Addr()+"/events")
	require.Equal(t, http.StatusServiceUnavailable, r.StatusCode)
	require.Contains(t, body, "too many pages")
	s.mu.Lock()
	for range 100_000 {
		s.send(make([]byte, 1000))
	}
	require.Empty(t, s.clients, "those who do not read are dropped")
	s.mu.Unlock()
}

// Example serves a page and reads what a browser would.
func Example() {
	s, _ := Serve("127.0.0.1:0", func() (Snapshot, bool) { return Snapshot{Job: "gpt", Epoch: 2}, true })
	r, _ := http.Get("http://" + s.Addr() + "/snapshot.json")
	b, _ := io.ReadAll(r.Body)
	fmt.Println(strings.Contains(string(b), `"epoch":2`))
	r.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	s.Close()
	// Output: true
}
