// Package gossip owns who might be there: one memberlist member per host (a launcher or a witness), encrypted with the
// job's key. Hosts of another job, another protocol version or another key are refused. It carries short messages
// between hosts and keeps trying to reach hosts that it lost, so that a partition heals.
//
// It is the slow signal: it notices a dead host within seconds. It must not know what messages mean or who is in.
package gossip

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"
)

// Version is the version of what ringo says through gossip; hosts of another one are refused.
const Version = 1

// KeySize is the length of a job's key in bytes.
const KeySize = 32

// MaxMessage bounds a message in bytes.
const MaxMessage = 4 << 20

// DefaultPort is the port of a seed that names none.
const DefaultPort = 7946

const maxName = 128 // bytes of a job's name or a host's ID

// Host is what hosts tell each other of themselves.
type Host struct {
	ID      string        `json:"id"` // new at every start
	Addr    string        `json:"-"`  // where it takes gossip, host:port; as the network shows it
	Workers int           `json:"n,omitempty"`
	Witness bool          `json:"w,omitempty"`
	Status  bool          `json:"s,omitempty"` // serves a status page, wants to hear how workers fare
	Inside  bool          `json:"i,omitempty"` // has been in a view of the job
	RTT     time.Duration `json:"-"`           // of the newest probe; 0 unknown
}

// Handler hears what happens. Calls come from memberlist's goroutines, one or more at a time; they must return at once
// and not call the Node.
type Handler struct {
	Seen    func(Host)                                // a host came, came back, or changed
	Lost    func(id string, left bool)                // a host is dead, or left on purpose
	Message func(from string, kind byte, data []byte) // data belongs to the callee
}

// Config is what a Node needs. DefaultConfig fills in times.
type Config struct {
	Job       string
	Key       []byte // the job's key, KeySize bytes
	Self      Host   // Addr is ignored
	Bind      string // host:port; port 0 takes a free one
	Advertise string // host[:port] that others reach this host at; "" lets the system choose
	Handler   Handler
	Log       *slog.Logger

	Probe     time.Duration // between probes of a random host
	Reconnect time.Duration // between attempts to reach a lost host
	Timeout   time.Duration // of streams
}

// DefaultConfig returns settings for a local network: a dead host is noticed in about three seconds.
func DefaultConfig() Config {
	return Config{Probe: 500 * time.Millisecond, Reconnect: time.Second, Timeout: 2 * time.Second,
		Bind: ":" + strconv.Itoa(DefaultPort), Log: slog.New(slog.DiscardHandler)}
}

// Validate returns an error that names the first setting that makes no sense.
func (c Config) Validate() error {
	switch {
	case !plain(c.Job):
		return fmt.Errorf("gossip: the job's name is %.200q, expected 1 to %d letters, digits and any of ._-", c.Job, maxName)
	case !plain(c.Self.ID):
		return fmt.Errorf("gossip: the host's ID is %.200q, expected 1 to %d letters, digits and any of ._-", c.Self.ID, maxName)
	case len(c.Key) != KeySize:
		return fmt.Errorf("gossip: the job's key has %d bytes, expected %d", len(c.Key), KeySize)
	case c.Probe <= 0 || c.Reconnect <= 0 || c.Timeout <= 0 || c.Log == nil:
		return fmt.Errorf("gossip: probe %v, reconnect %v, timeout %v and a log are needed; start from DefaultConfig", c.Probe, c.Reconnect, c.Timeout)
	}
	return nil
}

// plain reports whether a name can stand in metadata and logs as it is.
func plain(name string) bool {
	return name != "" && len(name) <= maxName && !strings.ContainsFunc(name, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-", r))
	})
}

// Node is this host's place in the gossip of its job. Its methods may be called from any goroutine.
type Node struct {
	cfg    Config
	list   *memberlist.Memberlist
	notes  *notes
	addr   string
	cancel context.CancelFunc
	ctx    context.Context
	wg     sync.WaitGroup

	pending atomic.Int64 // messages that were not delivered yet

	mu    sync.Mutex
	self  Host            // what NodeMeta says
	live  map[string]Host // by ID
	lost  map[string]Host // not left on purpose: to be reached again
	gone  map[string]bool // said that they leave
	seeds []string
	out   map[string]*outbox
}

// Start opens the sockets. The node knows nobody until Join.
func Start(cfg Config) (*Node, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	key, err := hkdf.Key(sha256.New, cfg.Key, nil, fmt.Sprintf("ringo gossip %d", Version), KeySize)
	if err != nil {
		return nil, err
	}
	host, port, err := split(cfg.Bind, 0)
	if err != nil {
		return nil, fmt.Errorf("gossip: cannot bind to %q: %w; expected host:port", cfg.Bind, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	n := &Node{cfg: cfg, notes: newNotes(cfg.Log), self: cfg.Self, ctx: ctx, cancel: cancel,
		live: map[string]Host{}, lost: map[string]Host{}, gone: map[string]bool{}, out: map[string]*outbox{}}
	m := memberlist.DefaultLANConfig()
	m.Name, m.SecretKey = cfg.Self.ID, key
	m.BindAddr, m.BindPort, m.AdvertisePort = host, port, port
	if m.BindAddr == "" {
		m.BindAddr = "0.0.0.0"
	}
	if cfg.Advertise != "" {
		if m.AdvertiseAddr, m.AdvertisePort, err = advertise(cfg.Advertise, port); err != nil {
			cancel()
			return nil, err
		}
	}
	d := &delegate{n}
	m.Delegate, m.Events, m.Alive, m.Merge, m.Ping = d, d, d, d, d
	m.Logger = log.New(n.notes, "", 0)
	m.TCPTimeout, m.ProbeInterval, m.ProbeTimeout = cfg.Timeout, cfg.Probe, cfg.Probe/2
	m.SuspicionMult, m.SuspicionMaxTimeoutMult = 3, 3
	m.GossipInterval, m.PushPullInterval = 100*time.Millisecond, 10*time.Second
	m.AwarenessMaxMultiplier, m.EnableCompression = 4, false
	if n.list, err = memberlist.Create(m); err != nil {
		cancel()
		return nil, fmt.Errorf("gossip: cannot listen on %s: %w", cfg.Bind, err)
	}
	n.addr = n.list.LocalNode().Address()
	n.wg.Go(n.reconnect)
	return n, nil
}

// Addr is where other hosts reach this one, host:port.
func (n *Node) Addr() string { return n.addr }

// Hosts returns the hosts that are alive as far as gossip knows, this one not among them, ordered by ID.
func (n *Node) Hosts() []Host {
	n.mu.Lock()
	defer n.mu.Unlock()
	var all []Host
	for _, h := range n.live {
		all = append(all, h)
	}
	slices.SortFunc(all, func(a, b Host) int { return strings.Compare(a.ID, b.ID) })
	return all
}

// Update changes what this host says of itself and waits, for a while, until others were told. ID and Witness stay.
func (n *Node) Update(change func(*Host)) error {
	n.mu.Lock()
	change(&n.self)
	n.mu.Unlock()
	return n.list.UpdateNode(n.cfg.Timeout)
}

// ErrNobody reports that no seed answered.
var ErrNobody = errors.New("gossip: no host answers")

// Join tries every seed once, host or host:port, and returns how many answered and took this host in. The error says
// why none did: ErrNobody when nobody listens there, else the reason for the refusal.
func (n *Node) Join(seeds []string) (int, error) {
	n.mu.Lock()
	for _, s := range seeds {
		if !slices.Contains(n.seeds, s) {
			n.seeds = append(n.seeds, s)
		}
	}
	n.mu.Unlock()
	answered, tried := 0, 0
	var why error
	for _, seed := range seeds {
		addrs, err := resolve(seed)
		if err != nil && why == nil {
			why = fmt.Errorf("%w: %v", ErrNobody, err)
		}
		for _, a := range addrs {
			if a == n.addr {
				continue
			}
			tried++
			if _, err := n.list.Join([]string{a}); err == nil {
				answered++
			} else if e := explain(a, err); why == nil || !errors.Is(e, ErrNobody) {
				why = e
			}
		}
	}
	if answered > 0 {
		return answered, nil
	}
	if tried == 0 && why == nil {
		why = fmt.Errorf("%w: the seeds name nobody but this host", ErrNobody)
	}
	return 0, why
}

// explain makes one sentence of memberlist's error.
func explain(addr string, err error) error {
	text := err.Error()
	switch {
	case strings.Contains(text, wrongKey):
		return fmt.Errorf("gossip: %s refuses this host: its job has another key; start both with the same --key-file", addr)
	case strings.Contains(text, refusedPrefix):
		return errors.New("gossip: " + text[strings.Index(text, refusedPrefix):])
	}
	var op *net.OpError
	if errors.As(err, &op) || strings.Contains(text, "dial tcp") {
		return fmt.Errorf("%w at %s", ErrNobody, addr)
	}
	return fmt.Errorf("%w at %s as a host of this job would: %s", ErrNobody, addr, strings.TrimSpace(text))
}

// Leave waits for messages that are on their way, tells the others that this host goes, and closes.
func (n *Node) Leave() error {
	for end := time.Now().Add(n.cfg.Timeout); n.pending.Load() > 0 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	var wg sync.WaitGroup
	for _, h := range n.Hosts() {
		to, err := node(h.ID, h.Addr)
		msg, err2 := encode(n.cfg.Self.ID, h.ID, kindBye, nil)
		if err == nil && err2 == nil {
			wg.Go(func() { n.list.SendReliable(to, msg) }) // who does not hear it notices later
		}
	}
	wg.Wait()
	err := n.list.Leave(time.Second)
	return errors.Join(err, n.close())
}

// Close ends without a word, as death would.
func (n *Node) Close() error { return n.close() }

func (n *Node) close() error {
	n.mu.Lock() // no Send starts a goroutine from here on
	n.cancel()
	n.mu.Unlock()
	err := n.list.Shutdown()
	n.wg.Wait()
	return err
}
