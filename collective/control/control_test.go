package control

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"ringo/collective/view"
)

// envRole makes this test binary a worker.
const envRole = "RINGO_TEST_ROLE"

func TestMain(m *testing.M) {
	if role := os.Getenv(envRole); role != "" {
		if err := worker(role); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// worker is the other process of these tests.
func worker(role string) error {
	c, err := Attach()
	if err != nil || c == nil {
		return fmt.Errorf("attach: %v, %v", c, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := c.Ready("127.0.0.1:1", "cpu"); err != nil {
		return err
	}
	switch role {
	case "steps":
		v, err := c.View(ctx, 0)
		if err != nil {
			return err
		}
		if string(c.Job().Key) != "key" || os.Getenv(EnvFD) != "" {
			return fmt.Errorf("key %q, %s=%q", []byte(c.Job().Key), EnvFD, os.Getenv(EnvFD))
		}
		return errors.Join(
			c.Progress(Progress{Epoch: v.Epoch, Step: 7, LaneLo: 1, LaneHi: 3, LanesPerSecond: 2.5, BytesPerSecond: 1e9, RecoveryMS: 12, RingMS: 5, AgreedMS: 4}),
			c.Event([]byte(`{"event":"step","step":7}`)),
			c.Broken(v.Epoch, "w2", errors.New("connection reset")),
			c.Done([]byte("sha")))
	case "until stopped":
		if _, err := c.View(ctx, 0); !errors.Is(err, ErrStopping) {
			return fmt.Errorf("View returned %v, expected ErrStopping", err)
		}
		return c.Leave(fmt.Sprintf("%v %s", c.StoppingAll(), c.StopReason()))
	default: // forever
		select {}
	}
}

// start runs a worker process and returns the launcher's end of its link.
func start(t *testing.T, role string) (*Link, *exec.Cmd) {
	t.Helper()
	l, theirs, err := NewLink(Welcome{ID: "w1", Job: Job{Name: "job", Key: Secret("key")}})
	require.NoError(t, err)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), envRole+"="+role, EnvFD+"=3")
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.Stderr = new(bytes.Buffer)
	require.NoError(t, cmd.Start())
	require.NoError(t, theirs.Close())
	t.Cleanup(func() {
		l.Close()
		cmd.Process.Kill()
		cmd.Wait()
	})
	r, err := l.Receive()
	require.NoError(t, err)
	require.Equal(t, &Ready{"127.0.0.1:1", "cpu"}, r)
	return l, cmd
}

func someView(epoch uint64, ids ...string) view.View {
	v := view.View{Epoch: epoch, Founder: "h", Hosts: []view.Host{{ID: "h"}}}
	for _, id := range ids {
		v.Workers = append(v.Workers, view.Worker{ID: id, Host: "h", Addr: "127.0.0.1:1", Device: "cpu"})
	}
	return v
}

func TestProcesses(t *testing.T) {
	t.Parallel()
	l, cmd := start(t, "steps")
	l.SetView(someView(2, "w1", "w2"))
	for _, want := range []Report{
		&Progress{2, 7, 1, 3, 2.5, 1e9, 12, 5, 4}, &Event{[]byte(`{"event":"step","step":7}`)},
		&Broken{2, "w2", "connection reset"}, &Done{[]byte("sha")},
	} {
		got, err := l.Receive()
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	_, err := l.Receive()
	require.ErrorIs(t, err, io.EOF)
	require.NoError(t, cmd.Wait())
}

func TestDeathOfAWorkerIsSeenAtOnce(t *testing.T) {
	t.Parallel()
	l, cmd := start(t, "forever")
	require.NoError(t, cmd.Process.Kill())
	_, err := l.Receive()
	require.Error(t, err)
	require.Error(t, cmd.Wait())
}

func TestWorkerEndsWithItsLauncher(t *testing.T) {
	t.Parallel()
	l, cmd := start(t, "forever")
	require.NoError(t, l.Close()) // what the kernel does when a launcher dies
	var exit *exec.ExitError
	require.ErrorAs(t, cmd.Wait(), &exit)
	require.Equal(t, exitOrphan, exit.ExitCode())
	require.Contains(t, cmd.Stderr.(*bytes.Buffer).String(), "its launcher is gone")
}

func TestStop(t *testing.T) {
	t.Parallel()
	l, cmd := start(t, "until stopped")
	l.Stop(Stop{All: true, Reason: "interrupt"})
	r, err := l.Receive()
	require.NoError(t, err)
	require.Equal(t, &Leave{"true interrupt"}, r)
	require.NoError(t, cmd.Wait())

	l, cmd = start(t, "until stopped")
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM)) // the notice that a machine is taken away
	r, err = l.Receive()
	require.NoError(t, err)
	require.Equal(t, &Leave{"false SIGTERM"}, r)
	require.NoError(t, cmd.Wait())
}

func TestAttachWithoutALauncher(t *testing.T) {
	require.Empty(t, os.Getenv(EnvFD))
	c, err := Attach()
	require.NoError(t, err)
	require.Nil(t, c)
	t.Setenv(EnvFD, "seven")
	_, err = Attach()
	require.ErrorContains(t, err, `RINGO_CONTROL is "seven"`)
}

// both returns the two ends of a link in this process.
func both(t *testing.T) (*Link, *Client) {
	t.Helper()
	l, theirs, err := NewLink(Welcome{ID: "w1"})
	require.NoError(t, err)
	conn, err := net.FileConn(theirs)
	require.NoError(t, err)
	require.NoError(t, theirs.Close())
	c, err := newClient(conn)
	require.NoError(t, err)
	c.start(nil)
	t.Cleanup(func() {
		l.Close()
		<-c.Lost()
		c.Close()
	})
	return l, c
}

func TestViews(t *testing.T) {
	t.Parallel()
	l, c := both(t)
	seen := make(chan uint64, 9)
	c.OnView(func(e uint64) { seen <- e })
	l.SetView(someView(1, "w1"))
	v, err := c.View(t.Context(), 0)
	require.NoError(t, err)
	require.Equal(t, someView(1, "w1"), v)
	require.Equal(t, uint64(1), <-seen)

	l.SetView(someView(2, "w2")) // without this worker
	require.Equal(t, uint64(2), <-seen)
	require.Equal(t, uint64(2), c.Newest())
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err = c.View(ctx, 1)
	require.ErrorIs(t, err, context.DeadlineExceeded)

	l.SetView(someView(4, "w2", "w1"))
	v, err = c.View(t.Context(), 2)
	require.NoError(t, err)
	require.Equal(t, uint64(4), v.Epoch)
	require.Equal(t, uint64(4), <-seen)
}

func TestGate(t *testing.T) {
	t.Parallel()
	l, c := both(t)
	require.NoError(t, c.Gate(t.Context(), 1))
	l.Pause(true)
	require.Eventually(t, c.paused.Load, 5*time.Second, time.Millisecond)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, c.Gate(ctx, 1), context.DeadlineExceeded)
	open := make(chan error)
	go func() { open <- c.Gate(t.Context(), 1) }()
	l.Pause(false)
	require.NoError(t, <-open)

	l.Pause(true)
	require.Eventually(t, c.paused.Load, 5*time.Second, time.Millisecond)
	go func() { open <- c.Gate(t.Context(), 1) }()
	l.SetView(someView(2, "w1"))
	require.NoError(t, <-open, "a newer view ends the wait")
	go func() { open <- c.Gate(t.Context(), 2) }()
	l.Stop(Stop{Reason: "going"})
	require.ErrorIs(t, <-open, ErrStopping)
}

// TestSlowWorker: a worker that does not read never holds its launcher up, and then gets the newest view.
func TestSlowWorker(t *testing.T) {
	t.Parallel()
	l, theirs, err := NewLink(Welcome{ID: "w1"})
	require.NoError(t, err)
	defer l.Close()
	ids := make([]string, 2000)
	for i := range ids {
		ids[i] = fmt.Sprintf("w%d", i)
	}
	for e := range uint64(200) {
		l.SetView(someView(e+1, ids...)) // more than any socket buffer holds
	}
	conn, err := net.FileConn(theirs)
	require.NoError(t, err)
	theirs.Close()
	c, err := newClient(conn)
	require.NoError(t, err)
	c.start(nil)
	require.Eventually(t, func() bool { return c.Newest() == 200 }, 10*time.Second, time.Millisecond)
	l.Close()
	<-c.Lost()
	_, err = c.View(t.Context(), 200)
	require.ErrorIs(t, err, ErrLost)
	require.ErrorIs(t, c.Ready("a", "cpu"), ErrLost)
}

func frame(k kind, payload string) []byte {
	b, _ := appendFrame(nil, k, []byte(payload))
	return b
}

func TestNonsense(t *testing.T) {
	t.Parallel()
	newer := append([]byte(magic), Version+1)
	long := binary.LittleEndian.AppendUint32(nil, MaxFrame+1)
	for _, c := range []struct {
		name, want string
		bytes      []byte
	}{
		{"version", "speaks version 2 of the control link, this one 1", frame(kindHello, string(newer))},
		{"no hello", "opens with a ready frame", frame(kindReady, "{}")},
		{"size", "claims 4194305 bytes, at most 4194304", append(long, byte(kindHello))},
		{"kind", "unknown frame kind 99", []byte{0, 0, 0, 0, 99}},
		{"cut", "unexpected EOF", frame(kindHello, string(hello()))[:9]},
		{"direction", "a worker does not send view frames", append(frame(kindHello, string(hello())), frame(kindView, "{}")...)},
		{"json", "a ready report that cannot be read", append(frame(kindHello, string(hello())), frame(kindReady, "{")...)},
		{"progress", "a progress report of 3 bytes, expected 72", append(frame(kindHello, string(hello())), frame(kindProgress, "abc")...)},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l := &Link{in: reader{r: bytes.NewReader(c.bytes)}}
			_, err := l.Receive()
			require.ErrorContains(t, err, c.want)
		})
	}
}

func TestAnEventThatIsTooLong(t *testing.T) {
	t.Parallel()
	_, c := both(t)
	require.ErrorContains(t, c.Event(make([]byte, MaxFrame+1)), "at most 4194304 fit")
}

type discard struct{ net.Conn }

func (discard) Write(b []byte) (int, error) { return len(b), nil }

func TestProgressDoesNotAllocate(t *testing.T) {
	c := &Client{conn: discard{}}
	p := Progress{Epoch: 3, Step: 4}
	require.NoError(t, c.Progress(p))
	require.Zero(t, testing.AllocsPerRun(100, func() { c.Progress(p) }))
}

func TestSecretsStayHidden(t *testing.T) {
	t.Parallel()
	w := Welcome{Job: Job{Key: Secret("topsecret")}}
	text := fmt.Sprintf("%v %+v %#v %s", w, w, w, w.Job.Key)
	require.NotContains(t, text, "topsecret")
	require.Equal(t, 4, strings.Count(text, "hidden"))
}

func FuzzFrames(f *testing.F) {
	f.Add(append(frame(kindHello, string(hello())), frame(kindReady, `{"Addr":"a"}`)...))
	f.Add(frame(kindProgress, strings.Repeat("x", progressSize)))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := reader{r: bytes.NewReader(b)}
		for {
			k, payload, err := r.next()
			if err != nil {
				return
			}
			decode(k, payload)
			c := &Client{changed: make(chan struct{}), stopped: make(chan struct{})}
			c.handle(k, payload)
		}
	})
}

// Example shows both ends of a link in one process; a launcher hands the file to another.
func Example() {
	l, theirs, _ := NewLink(Welcome{ID: "w1", Job: Job{Name: "gpt"}})
	conn, _ := net.FileConn(theirs)
	theirs.Close()
	c, _ := newClient(conn) // Attach in a worker
	c.start(nil)
	c.Ready("127.0.0.1:7000", "cpu")
	r, _ := l.Receive()
	fmt.Println(r.(*Ready).Addr)
	l.SetView(view.View{Epoch: 1, Workers: []view.Worker{{ID: "w1"}}})
	v, _ := c.View(context.Background(), 0)
	fmt.Println(v.Epoch, c.Job().Name)
	l.Close()
	<-c.Lost()
	c.Close()
	// Output:
	// 127.0.0.1:7000
	// 1 gpt
}
