package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"time"

	"ringo/collective/ring"
	"ringo/collective/secure"
	"ringo/kernels"
	"ringo/runtime/tensor"
)

// AllReduceConfig says what to time.
type AllReduceConfig struct {
	World     int           `json:"world"`
	Sizes     []int         `json:"sizes"`     // bytes of the f32 vector
	Transport string        `json:"transport"` // tcp, tls, or shm
	Wire      string        `json:"wire"`
	Conns     int           `json:"conns"`
	Hosts     int           `json:"hosts"`   // pretend that workers live on so many hosts, for shm; 0 is one
	Budget    time.Duration `json:"budget"`  // per size
	Pin       bool          `json:"pin"`     // keep each worker on a processor of its own where that does no harm (kernels.ShareCores)
	Rewrite   bool          `json:"rewrite"` // write the vector before every call, untimed, as a backward pass does: its lines are in the writer's cache then
	Bind      []string      `json:"bind"`    // where each worker listens; by default on a free port of 127.0.0.1
}

// DefaultAllReduceConfig is two workers over TCP, from 4 KiB to 128 MiB.
func DefaultAllReduceConfig() AllReduceConfig {
	return AllReduceConfig{World: 2, Sizes: []int{4 << 10, 64 << 10, 1 << 20, 16 << 20, 128 << 20}, Transport: "tcp", Wire: "exact", Pin: true, Budget: time.Second}
}

// Validate answers what cannot be timed.
func (c AllReduceConfig) Validate() error {
	if c.World < 1 || c.World > 64 {
		return fmt.Errorf("world %d: expected 1 to 64 workers", c.World)
	}
	if !slices.Contains([]string{"tcp", "tls", "shm"}, c.Transport) {
		return fmt.Errorf("transport %q: expected tcp, tls or shm", c.Transport)
	}
	for _, s := range c.Sizes {
		if s < 4 || s%4 != 0 || s > 4<<30 {
			return fmt.Errorf("size %d: expected a multiple of 4 bytes up to 4 GiB", s)
		}
	}
	if c.Hosts < 0 || c.Hosts > c.World || c.Conns < 0 {
		return fmt.Errorf("hosts %d, connections %d: expected at most %d hosts, and neither below 0", c.Hosts, c.Conns, c.World)
	}
	_, err := ring.ParseWire(c.Wire)
	return err
}

// AllReduceResult is one size. Bus bandwidth is 2(n−1)/n · bytes/time: what every rank must send, whatever the
// schedule, so that it compares with the speed of a link.
type AllReduceResult struct {
	Job       string  `json:"job"`
	World     int     `json:"world"`
	Transport string  `json:"transport"`
	Wire      string  `json:"wire"`
	Bytes     int     `json:"bytes"`
	MS        float64 `json:"ms"`     // median
	MinMS     float64 `json:"min_ms"` // fastest batch
	BusGBps   float64 `json:"bus_GBps"`
}

// allReduceHello is what a worker learns on its standard input; the members follow when all listen.
type allReduceHello struct {
	Config  AllReduceConfig
	Self    int
	Key     []byte
	Cores   []int // to stay on; empty: any
	Members []ring.Member
}

// AllReduce starts worker processes, by the command line that command returns for each, and hands each result to emit. A worker
// runs AllReduceWorker.
func AllReduce(ctx context.Context, c AllReduceConfig, command func(worker int) []string, emit func(AllReduceResult) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type worker struct {
		cmd *exec.Cmd
		in  io.WriteCloser
		out *bufio.Reader
	}
	var workers []worker
	var members []ring.Member
	for i := range c.World {
		line := command(i)
		cmd := exec.CommandContext(ctx, line[0], line[1:]...)
		cmd.Stderr = os.Stderr
		in, err := cmd.StdinPipe()
		if err != nil {
			return err
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			return err
		}
		if err := cmd.Start(); err != nil {
			return fmt.Errorf("all-reduce: start worker %d: %w", i, err)
		}
		defer cmd.Wait() // after cancel, so none is left
		defer cancel()
		workers = append(workers, worker{cmd, in, bufio.NewReader(out)})
	}
	var cores [][]int
	if c.Pin {
		cores = kernels.ShareCores(kernels.Cores(), c.World, 1)
	}
	key := secure.Generate()
	for i, w := range workers {
		h := allReduceHello{Config: c, Self: i, Key: key}
		if cores != nil {
			h.Cores = cores[i]
		}
		if err := json.NewEncoder(w.in).Encode(h); err != nil {
			return fmt.Errorf("all-reduce: worker %d: %w", i, err)
		}
		m := ring.Member{ID: fmt.Sprintf("worker-%d", i)}
		if err := json.NewDecoder(w.out).Decode(&m.Addr); err != nil {
			return fmt.Errorf("all-reduce: worker %d did not start: %w", i, err)
		}
		if m.Host = m.ID; c.Transport != "tls" {
			m.Host = fmt.Sprint("host-", i*max(1, c.Hosts)/c.World)
		}
		members = append(members, m)
	}
	for i, w := range workers {
		if err := json.NewEncoder(w.in).Encode(members); err != nil {
			return fmt.Errorf("all-reduce: worker %d: %w", i, err)
		}
	}
	results := json.NewDecoder(workers[0].out)
	for range c.Sizes {
		var r AllReduceResult
		if err := results.Decode(&r); err != nil {
			return fmt.Errorf("all-reduce: worker 0 ended early: %w", err)
		}
		if err := emit(r); err != nil {
			return err
		}
	}
	for i, w := range workers {
		if err := w.cmd.Wait(); err != nil {
			return fmt.Errorf("all-reduce: worker %d: %w", i, err)
		}
	}
	return nil
}

// AllReduceWorker is one process of AllReduce: it says where it listens, reads whom to join, and the first one
// writes results.
func AllReduceWorker(ctx context.Context, in io.Reader, out io.Writer) (err error) {
	var h allReduceHello
	from := json.NewDecoder(in)
	if err := from.Decode(&h); err != nil {
		return err
	}
	if len(h.Cores) > 0 {
		if err := kernels.PinCores(h.Cores); err != nil {
			return err
		}
	}
	var lo ring.ListenOptions
	if h.Config.Transport == "tls" {
		if lo.TLS, err = secure.TLS(h.Key, "bench", secure.Files{}); err != nil {
			return err
		}
	}
	bind := "127.0.0.1:0"
	if h.Self < len(h.Config.Bind) {
		bind = h.Config.Bind[h.Self]
	}
	l, err := ring.Listen(bind, lo)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	if err := json.NewEncoder(out).Encode(l.Addr()); err != nil {
		return err
	}
	if err := from.Decode(&h.Members); err != nil {
		return err
	}
	wire, err := ring.ParseWire(h.Config.Wire)
	if err != nil {
		return err
	}
	o := ring.Options{Job: "bench", Epoch: 1, Self: h.Self, Members: h.Members, Wire: wire, Conns: h.Config.Conns}
	if h.Config.Transport != "shm" {
		o.SharedMemory = ring.SharedOff
	}
	r, err := l.Join(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	for _, size := range h.Config.Sizes {
		res, err := timeAllReduce(l, r, h.Config, size)
		if err != nil {
			return err
		}
		if h.Self == 0 {
			if err := json.NewEncoder(out).Encode(res); err != nil {
				return err
			}
		}
	}
	return r.Barrier()
}

// vector is memory such as training has its gradients in.
func vector(l *ring.Listener, c AllReduceConfig, n int) ([]byte, func() error, error) {
	if c.Transport == "shm" {
		m, err := l.NewMemory(n)
		if err == nil {
			return m.Bytes(), m.Close, nil
		}
	}
	a, err := kernels.NewArena(n)
	if err != nil {
		return nil, nil, err
	}
	return a.Bytes, a.Close, nil
}

// timeBatch returns the milliseconds of a call: of a batch between two barriers, or of calls that each follow a write of the
// whole vector and a barrier.
func timeBatch(r *ring.Ring, buf []byte, batch int, rewrite bool) (float64, error) {
	calls := batch
	if rewrite {
		calls = 1
	}
	var spent time.Duration
	for done := 0; done < batch; done += calls {
		if v := tensor.View[float32](buf); rewrite {
			for i := range v {
				v[i] *= 0.5
			}
		}
		if err := r.Barrier(); err != nil {
			return 0, err
		}
		start := time.Now()
		for range calls {
			if err := r.AllReduce(buf, tensor.F32); err != nil {
				return 0, err
			}
		}
		spent += time.Since(start)
	}
	return spent.Seconds() * 1e3 / float64(batch), nil
}

// timeAllReduce times batches of calls until the budget is used; small vectors are batched, as a clock and a barrier
// would cost more than they.
func timeAllReduce(l *ring.Listener, r *ring.Ring, c AllReduceConfig, size int) (AllReduceResult, error) {
	whole, free, err := vector(l, c, max(size, 2<<20)) // as training's buckets are parts of memory with huge pages
	if err != nil {
		return AllReduceResult{}, err
	}
	defer free()
	buf := whole[:size]
	clear(buf) // pages that nobody has touched are all one page of zeros
	batch := max(1, min(100, (4<<20)/size))
	run := func() (float64, error) { return timeBatch(r, buf, batch, c.Rewrite) }
	var ms []float64
	first, err := run()
	if err == nil {
		first, err = run() // the first run grew buffers
	}
	// The first rank's clock decides how many batches all do.
	n := []byte{byte(max(3, min(200, c.Budget.Seconds()*1e3/(first*float64(batch)))))}
	if err == nil {
		err = r.Broadcast(0, n)
	}
	for range n[0] {
		if err != nil {
			break
		}
		var t float64
		t, err = run()
		ms = append(ms, t)
	}
	if err != nil {
		return AllReduceResult{}, err
	}
	slices.Sort(ms)
	res := AllReduceResult{Job: "allreduce", World: r.Size(), Transport: c.Transport, Wire: c.Wire, Bytes: size, MS: ms[len(ms)/2], MinMS: ms[0]}
	res.BusGBps = 2 * float64(r.Size()-1) / float64(r.Size()) * float64(size) / res.MS / 1e6
	return res, nil
}
