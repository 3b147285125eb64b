package ring

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"log/slog"
	"time"
)

// Limits that keep what a peer can make this process hold small.
const (
	maxWorld  = 4096     // members of a view
	maxName   = 255      // bytes of a job name or member ID
	maxGather = 1 << 20  // bytes per rank in Gather
	maxConns  = 16       // data connections per peer
	minChunk  = 4 << 10  // bytes
	maxChunk  = 16 << 20 // bytes
)

// Wire is how f32 vectors of AllReduce travel. Other types, and ReduceTree, always travel as they are.
type Wire uint8

const (
	// WireExact sends elements as they are.
	WireExact Wire = iota
	// WireBF16 rounds each contribution, and the sum, to bf16: half the bytes.
	WireBF16
	// WireInt8 sends blocks of 256 elements as int8 with one f32 scale; what rounding took away is kept and added to the
	// next call's vector (error feedback): about a quarter of the bytes.
	WireInt8
)

// ParseWire reads "exact", "bf16" or "int8".
func ParseWire(name string) (Wire, error) {
	for w, s := range wireNames {
		if s == name {
			return Wire(w), nil
		}
	}
	return 0, fmt.Errorf("wire %q: unknown, expected exact, bf16 or int8", name)
}

var wireNames = [...]string{"exact", "bf16", "int8"}

func (w Wire) String() string { return wireNames[w] }

// SharedMemory says when members on one host talk through shared memory.
type SharedMemory uint8

const (
	// SharedAuto uses shared memory between members with equal Host, where the system offers it.
	SharedAuto SharedMemory = iota
	// SharedOff uses TCP between all members.
	SharedOff
)

// Schedule is the order in which AllReduce moves a vector. It decides speed, and the order of additions.
type Schedule uint8

const (
	// ScheduleAuto sums within hosts first where several members share hosts, goes around the ring where it is long, and is
	// direct else.
	ScheduleAuto Schedule = iota
	// ScheduleDirect sends every part straight to the rank that sums it.
	ScheduleDirect
	// ScheduleAround goes around the ring, both ways.
	ScheduleAround
	// ScheduleLevels sums within hosts, then between them.
	ScheduleLevels
)

// Member is one process of a view.
type Member struct {
	ID   string // unique in the view
	Addr string // what its Listener listens on, host:port
	Host string // equal strings mean the same machine; empty means unknown
}

// Options describe one view to Join. All ranks must give the same Job, Epoch, Members, Wire, Conns, Chunk,
// SharedMemory and Schedule; the handshake checks it.
type Options struct {
	Job     string
	Epoch   uint64
	Self    int // this process's index in Members, its rank
	Members []Member
	// Timeout is how long a peer may be silent before it counts as lost, and how long Join waits for a member;
	// 0 means 10 s.
	Timeout time.Duration
	Wire    Wire
	// TLS secures connections between hosts, and serves both roles (see package secure); nil takes the Listener's. Connections
	// between members with equal Host never use it, as they do not leave the machine; they prove the job's
	// secret instead.
	TLS *tls.Config `json:"-"`
	// Conns is the number of data connections per pair of members; 0 means 1 on one host and 4 between hosts.
	Conns int
	// Chunk is the unit of pipelining in bytes; 0 means 512 KiB.
	Chunk        int
	SharedMemory SharedMemory
	Schedule     Schedule
}

func (o *Options) fill() error {
	if o.Timeout == 0 {
		o.Timeout = 10 * time.Second
	}
	if o.Chunk == 0 {
		o.Chunk = 512 << 10
	}
	n := len(o.Members)
	switch {
	case n < 1 || n > maxWorld:
		return fmt.Errorf("ring: %d members, expected 1 to %d", n, maxWorld)
	case o.Self < 0 || o.Self >= n:
		return fmt.Errorf("ring: self is %d, expected a rank below %d", o.Self, n)
	case len(o.Job) > maxName:
		return fmt.Errorf("ring: job name of %d bytes, expected at most %d", len(o.Job), maxName)
	case o.Timeout < 0:
		return fmt.Errorf("ring: timeout %v, expected more than 0", o.Timeout)
	case o.Conns < 0 || o.Conns > maxConns:
		return fmt.Errorf("ring: %d connections per peer, expected 1 to %d, or 0 to choose", o.Conns, maxConns)
	case o.Chunk < minChunk || o.Chunk > maxChunk || o.Chunk%64 != 0:
		return fmt.Errorf("ring: chunk of %d bytes, expected a multiple of 64 from %d to %d", o.Chunk, minChunk, maxChunk)
	case o.Schedule > ScheduleLevels:
		return fmt.Errorf("ring: schedule %d unknown", o.Schedule)
	case int(o.Wire) >= len(wireNames):
		return fmt.Errorf("ring: wire %d unknown", o.Wire)
	}
	seen := map[string]bool{}
	for i, m := range o.Members {
		if m.ID == "" || len(m.ID) > maxName || seen[m.ID] {
			return fmt.Errorf("ring: member %d has ID %q, expected a unique one of 1 to %d bytes", i, m.ID, maxName)
		}
		seen[m.ID] = true
	}
	return nil
}

// sameHost reports whether two ranks are known to share a machine.
func (o *Options) sameHost(a, b int) bool {
	return o.Members[a].Host != "" && o.Members[a].Host == o.Members[b].Host
}

// conns is the number of data connections between two ranks.
func (o *Options) conns(a, b int) int {
	switch {
	case o.Conns > 0:
		return o.Conns
	case o.sameHost(a, b):
		return 1
	}
	return 4
}

// digest is a hash of everything that all ranks must agree on.
func (o *Options) digest() [16]byte {
	h := sha256.New()
	word := func(v uint64) {
		var b [8]byte
		binary.BigEndian.PutUint64(b[:], v)
		h.Write(b[:])
	}
	text := func(s string) { word(uint64(len(s))); h.Write([]byte(s)) }
	text(o.Job)
	for _, v := range []uint64{o.Epoch, uint64(o.Wire), uint64(o.Conns), uint64(o.Chunk), uint64(o.SharedMemory), uint64(o.Schedule), uint64(len(o.Members))} {
		word(v)
	}
	for _, m := range o.Members {
		text(m.ID)
		text(m.Host)
	}
	return [16]byte(h.Sum(nil))
}

// ListenOptions configure a Listener. The zero value accepts any job, without TLS.
type ListenOptions struct {
	// TLS is required of connections that come from other machines, where it is set.
	TLS *tls.Config
	// Secret is proved by both sides of every connection, by HMAC over fresh nonces; it is never sent. See secure.Key.
	Secret []byte
	// Handshake bounds how long an unknown connection may take to say who it is; 0 means 5 s.
	Handshake time.Duration
	// Pending bounds how many unknown connections may wait at once, the oldest goes first; 0 means 1024.
	Pending int
	// Log gets one line for each kind of refusal from each address; nil means slog.Default.
	Log *slog.Logger
}
