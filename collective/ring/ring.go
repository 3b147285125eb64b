package ring

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Ring is one process's place in one view. Join makes it; Close ends it.
type Ring struct {
	opt  Options
	self int
	lst  *Listener // nil in a ring of one
	peer []*peer   // by rank; nil at self
	bell bell
	spin time.Duration // how long to look before sleeping
	shm  *shared       // nil without shared memory

	call    sync.Mutex    // held by the operation in progress
	seq     atomic.Uint64 // operations begun
	busy    atomic.Bool   // inside an operation
	waiting atomic.Int32  // the rank that the operation waits for, −1 for none

	mu      sync.Mutex
	err     error         // why the ring is over
	culprit int           // with it
	over    chan struct{} // closed with it
	closed  bool

	joined  chan struct{} // a connection was added; capacity 1
	workers sync.WaitGroup
	ex      exchange
	tree    treePlan
	lanes   []int // bounds of the tree plan
	feed    feedback
	around  around
	oneHost bool    // all members may share memory: everybody is a neighbour
	levels  *levels // hosts and members, nil where stages do not help
	stats   counters
}

// peer is what a ring knows of another member.
type peer struct {
	rank   int
	member Member

	wmu     sync.Mutex // one writer at a time on control
	control net.Conn
	data    []net.Conn // until links are made
	link    link
	shared  bool // data goes through shared memory
	remote  *segment

	heard   atomic.Int64  // when control last said something, ns since start
	seq     atomic.Uint64 // its operations begun, as it said
	busy    atomic.Bool   // it was inside one
	waiting atomic.Int32  // whom it waited for
	changed atomic.Int64  // when one of the three last changed
	entered atomic.Int64  // when one of the first two did
	left    atomic.Bool   // it said goodbye
}

// Stats count what a ring moved.
type Stats struct {
	Ops      uint64 // operations completed
	InPlace  uint64 // of these, in memory that all ranks map, or stages of them
	Sent     uint64 // bytes handed to peers
	Received uint64 // bytes taken from peers
	Waited   time.Duration
	Shared   int // peers reached through shared memory
	Secure   int // peers reached through TLS
}

type counters struct {
	ops, inPlace, sent, received atomic.Uint64
	waited                       atomic.Int64
	shared, secure               int
}

// Rank is this process's index in the view.
func (r *Ring) Rank() int { return r.self }

// Size is the number of members.
func (r *Ring) Size() int { return len(r.opt.Members) }

// Epoch is the number of the view.
func (r *Ring) Epoch() uint64 { return r.opt.Epoch }

// Stats returns what was moved so far; it may be called at any time.
func (r *Ring) Stats() Stats {
	return Stats{Ops: r.stats.ops.Load(), InPlace: r.stats.inPlace.Load(), Sent: r.stats.sent.Load(), Received: r.stats.received.Load(),
		Waited: time.Duration(r.stats.waited.Load()), Shared: r.stats.shared, Secure: r.stats.secure}
}

// Abort ends the ring from any goroutine: the call in progress and all later ones return err here, and an error
// that wraps ErrAborted on the other ranks. Only the first end of a ring counts.
func (r *Ring) Abort(err error) {
	if err == nil {
		err = ErrAborted
	}
	r.fail(err, nobody, true)
}

// Close says goodbye and frees everything, and returns when no goroutine or socket of the ring is left. A call in progress
// ends with ErrClosed. Peers that still need this rank get a PeerError. Calling it again does nothing.
func (r *Ring) Close() error {
	r.mu.Lock()
	again := r.closed
	r.closed = true
	alive := r.err == nil
	r.mu.Unlock()
	if again {
		return nil
	}
	if alive && r.call.TryLock() {
		r.drain()
		for _, p := range r.peer {
			if p != nil {
				p.say(message{kind: msgBye})
			}
		}
		r.call.Unlock()
	}
	r.fail(ErrClosed, nobody, r.busy.Load())
	r.call.Lock()
	defer r.call.Unlock()
	if !alive { // a peer that has not heard yet must not take this goodbye for a loss
		r.tell()
	}
	if r.lst != nil {
		r.lst.forget(r)
	}
	for _, p := range r.peer {
		if p != nil {
			p.free()
		}
	}
	r.workers.Wait()
	if r.shm != nil {
		r.shm.close()
	}
	return nil
}

// drain gives what links still hold a moment to leave.
func (r *Ring) drain() {
	end := time.Now().Add(time.Second)
	for _, p := range r.peer {
		if p == nil || p.link == nil {
			continue
		}
		for !p.link.flushed() && time.Now().Before(end) {
			time.Sleep(100 * time.Microsecond)
		}
	}
}

func (p *peer) free() {
	if p.control != nil {
		p.control.Close()
	}
	for _, c := range p.data {
		if c != nil { // it did not come before the ring ended
			c.Close()
		}
	}
	if p.link != nil {
		p.link.close()
	}
}

// nobody is the culprit of an end that was wanted.
const nobody = -1

// tell passes on why the ring is over.
func (r *Ring) tell() {
	r.mu.Lock()
	m := message{kind: msgAbort, rank: int32(r.culprit), text: r.err.Error()}
	r.mu.Unlock()
	for _, p := range r.peer {
		if p != nil && p.rank != int(m.rank) && !p.left.Load() {
			p.say(m)
		}
	}
}

// fail ends the ring once. culprit is the rank to blame, or nobody; tell passes it on to the others.
func (r *Ring) fail(err error, culprit int, tell bool) {
	r.mu.Lock()
	if r.err != nil {
		r.mu.Unlock()
		return
	}
	r.err, r.culprit = err, culprit
	close(r.over)
	r.shm.leave()
	r.mu.Unlock()
	if tell {
		r.tell()
	}
	for _, p := range r.peer {
		if p != nil && p.link != nil {
			p.link.shut()
		}
	}
	r.bell.ring()
}

// blame ends the ring because of a peer, tells everybody, and returns the ring's error.
func (r *Ring) blame(rank int, err error) error {
	r.fail(&PeerError{Peer: r.opt.Members[rank].ID, Rank: rank, Err: err}, rank, true)
	return r.failure()
}

// failure returns why the ring is over, nil while it is not.
func (r *Ring) failure() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// begin starts an operation.
func (r *Ring) begin() error {
	if !r.call.TryLock() {
		return errors.New("ring: another call is in progress; calls on a ring come from one goroutine at a time")
	}
	if err := r.failure(); err != nil {
		r.call.Unlock()
		return err
	}
	r.seq.Add(1)
	r.waiting.Store(-1)
	r.busy.Store(true)
	return nil
}

// end finishes an operation. An error of one rank is the ring's end: the others cannot go on without it.
func (r *Ring) end(err error) error {
	r.busy.Store(false)
	if err == nil {
		r.stats.ops.Add(1)
	} else if r.failure() == nil {
		r.fail(err, nobody, true)
	}
	r.call.Unlock()
	return err
}
