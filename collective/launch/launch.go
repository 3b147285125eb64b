// Package launch owns a host's part in a job: it starts workers, restarts those that die, agrees with the launchers of
// other hosts on views and hands these to its workers, collects what workers report, and stops everything cleanly.
//
// One goroutine, the loop, owns all state; everything else posts to it. The agreement itself is collective/view's, who
// might be there is collective/gossip's, and the link to a worker is collective/control's. It must not know what workers
// compute.
package launch

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"time"

	"ringo/collective/control"
	"ringo/collective/gossip"
	"ringo/collective/view"
)

// Config is what Run needs. DefaultConfig fills in times.
type Config struct {
	Job       string
	Key       []byte // the job's key, gossip.KeySize bytes
	Workers   int    // to keep running here; 0 for a witness
	Witness   bool   // only votes
	Bind      string // host:port for gossip; the host part is where workers listen, too
	Advertise string // host[:port] that others reach this host at
	Join      []string
	Restarts  int // how many dead workers are replaced in all

	MinWorkers, MaxWorkers int // of a view; 0: no limit

	TLS                       bool // data connections between hosts are encrypted
	CertFile, KeyFile, CAFile string

	// Command makes the command of a worker; Run adds its environment and its link. The process must call
	// control.Attach.
	Command func(control.Welcome) *exec.Cmd
	Output  io.Writer // takes what workers print, line by line with a prefix
	// Event takes metrics events, JSON objects, from one goroutine. first says that the ring's first worker runs here.
	Event   func(line []byte, first bool)
	Journal io.Writer // takes lines that say which worker completed which steps with which lanes; nil: nobody does
	Status  string    // address of the status page, host:port; "" none
	Log     *slog.Logger
	Stop    <-chan struct{} // closed: stop at once, killing; the context's end asks to stop in order

	FoundAfter time.Duration // how long the first of Join waits for others before it founds the job alone
	Grace      time.Duration // how long workers have to leave when asked to
	Backoff    time.Duration // before a restart, doubled with each further one in a row
	Healthy    time.Duration // a worker that lived so long starts a new row
	Gossip     gossip.Config // times only
	View       view.Config   // times only
	ready      func(Ready)   // for tests
}

// Ready is what a launcher can say of itself once its sockets are open.
type Ready struct{ Host, Addr, Status string }

// DefaultConfig returns the settings of a real run.
func DefaultConfig() Config {
	return Config{Bind: "127.0.0.1:0", Restarts: 10, Output: os.Stderr, Log: slog.New(slog.DiscardHandler),
		FoundAfter: 5 * time.Second, Grace: 20 * time.Second, Backoff: 250 * time.Millisecond, Healthy: 10 * time.Second,
		Gossip: gossip.DefaultConfig(), View: view.DefaultConfig(view.Host{})}
}

// maxLocal bounds the workers of one launcher.
const maxLocal = 256

// Validate returns an error that names the first setting that makes no sense.
func (c Config) Validate() error {
	switch {
	case c.Witness && c.Workers != 0:
		return fmt.Errorf("launch: a witness has no workers, found %d", c.Workers)
	case c.Witness && len(c.Join) == 0:
		return errors.New("launch: a witness joins a job; give --join the address of one of its hosts")
	case !c.Witness && (c.Workers < 1 || c.Workers > maxLocal):
		return fmt.Errorf("launch: %d workers, expected 1 to %d", c.Workers, maxLocal)
	case c.Restarts < 0 || c.MinWorkers < 0 || c.MaxWorkers < 0:
		return fmt.Errorf("launch: restarts %d, least workers %d, most workers %d: none may be negative", c.Restarts, c.MinWorkers, c.MaxWorkers)
	case c.MaxWorkers > 0 && c.MinWorkers > c.MaxWorkers:
		return fmt.Errorf("launch: at least %d workers and at most %d: no number is both", c.MinWorkers, c.MaxWorkers)
	case len(c.Join) == 0 && c.MinWorkers > c.Workers && isLoopback(c.Bind):
		return fmt.Errorf("launch: at least %d workers are asked for, %d start here and nobody else can join at %s; give --bind an address of this host", c.MinWorkers, c.Workers, c.Bind)
	case !c.Witness && c.Command == nil, c.Output == nil, c.Log == nil:
		return errors.New("launch: a command, an output and a log are needed; start from DefaultConfig")
	}
	return nil
}

// Result says how a launcher's part of the job ended.
type Result struct {
	Done        bool     // the run is finished
	Interrupted bool     // it was asked to stop before
	Data        []byte   // what the worker that finished first here reported; nil on hosts whose workers did not
	All         [][]byte // what every worker here that finished reported
	Restarts    int
	Step        int // the newest that a worker here completed
}

// ErrKilled reports that Config.Stop ended the launcher.
var ErrKilled = errors.New("launch: stopped at once; workers were killed")

// ErrSettings reports that a worker ended with exit status 2 before it was ready: starting it again would not help.
var ErrSettings = errors.New("launch: a worker cannot use its settings")

// Run takes part in a job until it is done, ctx ends, or nothing is left to run. It leaves no process and no socket
// behind. When ctx ends, workers finish their step and leave, then the host leaves.
func Run(ctx context.Context, cfg Config) (Result, error) {
	if err := cfg.Validate(); err != nil {
		return Result{}, err
	}
	l, err := newLauncher(cfg)
	if err != nil {
		return Result{}, err
	}
	err = l.run(ctx)
	return l.result, errors.Join(err, l.close())
}

// newID returns a name for this start of this launcher: the host's own name and 32 random bits.
func newID() string {
	name, err := os.Hostname()
	if err != nil || name == "" {
		name = "host"
	}
	name, _, _ = strings.Cut(name, ".")
	name = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' {
			return r
		}
		return '-'
	}, name)
	var b [4]byte
	rand.Read(b[:]) // never fails
	return name[:min(len(name), 64)] + "-" + hex.EncodeToString(b[:])
}
