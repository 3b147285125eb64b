package launch

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"ringo/collective/control"
	"ringo/collective/ring"
	"ringo/collective/view"
	"ringo/runtime/tensor"
)

// envSteps makes this test binary a worker that takes so many steps.
const envSteps, envPause = "RINGO_TEST_STEPS", "RINGO_TEST_PAUSE"

func TestMain(m *testing.M) {
	if n, err := strconv.Atoi(os.Getenv(envSteps)); err == nil {
		pause, _ := time.ParseDuration(os.Getenv(envPause))
		if err := work(n, pause); err != nil {
			fmt.Fprintln(os.Stderr, "worker:", err)
			if errors.Is(err, errUsage) {
				os.Exit(exitUsage)
			}
			os.Exit(1)
		}
		os.Exit(0)
	}
	if r := os.Getenv(envLauncher); r != "" {
		launcherProcess(r)
	}
	flag.Parse()
	if !slices.ContainsFunc(os.Args, func(a string) bool { return strings.HasPrefix(a, "-test.parallel") }) {
		flag.Set("test.parallel", "8") // these tests wait for processes and time-outs more than they compute
	}
	goleak.VerifyTestMain(m)
}

// quick shortens what a launcher waits before it believes that a host is gone.
func quick(c *Config) {
	c.Gossip.Probe = 200 * time.Millisecond
	c.View.Heartbeat, c.View.LostAfter = 150*time.Millisecond, 1200*time.Millisecond
}

// envLauncher makes this test binary a launcher, to be killed or put into a network namespace; its value is a recipe.
const envLauncher = "RINGO_TEST_LAUNCHER"

// recipe is what such a launcher does.
type recipe struct {
	Bind    string
	Join    []string
	Workers int
	Witness bool
	Steps   int
	Pause   time.Duration
}

func launcherProcess(text string) {
	var r recipe
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		panic(err)
	}
	os.Unsetenv(envLauncher)
	cfg := DefaultConfig()
	cfg.Job, cfg.Key, cfg.Workers, cfg.Witness, cfg.Output = "toy", make([]byte, 32), r.Workers, r.Witness, os.Stdout
	cfg.Join, cfg.Log = r.Join, slog.New(slog.NewTextHandler(os.Stdout, nil))
	quick(&cfg)
	if r.Bind != "" {
		cfg.Bind = r.Bind
	}
	cfg.Event = func(line []byte, _ bool) { fmt.Printf("event %s\n", line) }
	cfg.Command = toyCommand(r.Steps, r.Pause)
	result, err := Run(context.Background(), cfg)
	fmt.Printf("result %v %s %v\n", result.Done, result.Data, err)
	os.Exit(0)
}

var errUsage = errors.New("settings that make no sense")

// lanes of the toy run: each step sums term(step, lane) over all of them.
const lanes = 16

func term(step, lane int) int32 { return int32((step*2654435761 + lane*40503) >> 7 & 0xffff) }

// chain is the state after so many steps; every term of every step counts once, in order.
func chain(state uint64, total int32) uint64 {
	return state*6364136223846793005 + uint64(uint32(total)) + 1
}

// undisturbed is the state that a run of n steps ends with.
func undisturbed(n int) uint64 {
	var x uint64
	for s := range n {
		var total int32
		for l := range lanes {
			total += term(s, l)
		}
		x = chain(x, total)
	}
	return x
}

// toy is a worker that does what training does, in small: steps over the real ring, tried again in the next view, with
// the state handed over when workers meet.
type toy struct {
	c        *control.Client
	listen   *ring.Listener
	steps    int
	pause    time.Duration
	step     int
	state    uint64
	brokeAt  time.Time
	recovery float64
}

func work(steps int, pause time.Duration) error {
	if steps == 0 {
		return errUsage
	}
	c, err := control.Attach()
	if err != nil || c == nil {
		return fmt.Errorf("attach: %v, %v", c, err)
	}
	quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
	l, err := ring.Listen(c.Job().Listen, ring.ListenOptions{Secret: c.Job().Key, Log: quiet})
	if err != nil {
		return err
	}
	_, port, _ := net.SplitHostPort(l.Addr())
	addr := net.JoinHostPort(c.Job().Advertise, port)
	fmt.Println("listening at", addr)
	if err := c.Ready(addr, "cpu"); err != nil {
		return err
	}
	t := &toy{c: c, listen: l, steps: steps, pause: pause}
	var after uint64
	for {
		v, err := c.View(context.Background(), after)
		if errors.Is(err, control.ErrStopping) {
			return c.Leave("asked to")
		}
		if err != nil {
			return err
		}
		after = v.Epoch
		over, err := t.in(v)
		if over || err == nil {
			return err
		}
		if t.brokeAt.IsZero() {
			t.brokeAt = time.Now()
		}
		if c.Newest() <= v.Epoch {
			peer := ""
			if p := (*ring.PeerError)(nil); errors.As(err, &p) {
				peer = p.Peer
			}
			c.Broken(v.Epoch, peer, err)
		}
	}
}

// in takes steps in a view until it breaks.
func (t *toy) in(v view.View) (over bool, err error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	t.c.OnView(func(e uint64) {
		if e > v.Epoch {
			cancel()
		}
	})
	if t.c.Newest() > v.Epoch {
		return false, errors.New("a newer view is there")
	}
	o := ring.Options{Job: t.c.Job().Name, Epoch: v.Epoch, Self: v.Rank(t.c.ID()), Timeout: 3 * time.Second}
	for _, w := range v.Workers {
		o.Members = append(o.Members, ring.Member{ID: w.ID, Addr: w.Addr, Host: w.Host})
	}
	r, err := t.listen.Join(ctx, o)
	if err != nil {
		return false, err
	}
	defer r.Close()
	stood := time.Now()
	context.AfterFunc(ctx, func() { r.Abort(errors.New("a newer view is there")) })
	if err := t.agree(r); err != nil {
		return false, err
	}
	agreed := time.Now()
	lo, hi := r.Rank()*lanes/r.Size(), (r.Rank()+1)*lanes/r.Size()
	sum := tensor.Of(tensor.Shape{2}, int32(0), 0)
	for t.step < t.steps {
		if err := t.c.Gate(ctx, v.Epoch); err != nil {
			return false, err
		}
		data := tensor.Data[int32](sum)
		data[0], data[1] = 0, 0
		for l := lo; l < hi; l++ {
			data[0] += term(t.step, l)
		}
		if t.c.Stopping() {
			data[1] = 1
		}
		time.Sleep(t.pause)
		if err := r.AllReduce(sum.Bytes(), tensor.I32); err != nil {
			return false, err
		}
		t.state = chain(t.state, data[0])
		t.step++
		if !t.brokeAt.IsZero() {
			t.recovery, t.brokeAt = float64(time.Since(t.brokeAt).Microseconds())/1e3, time.Time{}
		}
		t.c.Progress(control.Progress{Epoch: v.Epoch, Step: t.step, LaneLo: lo, LaneHi: hi, LanesPerSecond: 100, BytesPerSecond: 1e6, RecoveryMS: t.recovery,
			RingMS: time.Since(stood).Seconds() * 1e3, AgreedMS: time.Since(agreed).Seconds() * 1e3})
		t.recovery = 0
		t.c.Event(fmt.Appendf(nil, `{"event":"step","step":%d,"loss":%g,"step_ms":1.5}`, t.step, 4/(1+float64(t.step)/50)))
		if t.c.Stopping() {
			return true, t.c.Leave("asked to")
		}
		if data[1] > 0 { // somebody leaves after this step
			return false, errors.New("a peer leaves")
		}
	}
	return true, t.c.Done(fmt.Appendf(nil, "%d", t.state))
}

// agree gives every worker the state of the one that is furthest.
func (t *toy) agree(r *ring.Ring) error {
	mine := binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, uint64(t.step)), t.state)
	all, err := r.Gather(mine)
	if err != nil {
		return err
	}
	for _, b := range all {
		if s := int(binary.LittleEndian.Uint64(b)); s > t.step {
			t.step, t.state = s, binary.LittleEndian.Uint64(b[8:])
		}
	}
	return nil
}

// toyCommand starts this test binary as a worker.
func toyCommand(steps int, pause time.Duration) func(control.Welcome) *exec.Cmd {
	return func(control.Welcome) *exec.Cmd {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), envSteps+"="+strconv.Itoa(steps), envPause+"="+pause.String())
		return cmd
	}
}
