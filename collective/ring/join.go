package ring

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"runtime"
	"time"
)

// refusedFor is how long a member's address may refuse connections: it listens before it is in a view, so
// refusals mean that its process is gone.
const refusedFor = 300 * time.Millisecond

// Join connects to all members of a view and returns when every connection stands, or fails with a PeerError that
// names who is missing. Of a pair the higher rank dials. Epochs must grow from Join to Join.
func (l *Listener) Join(ctx context.Context, o Options) (*Ring, error) {
	if err := o.fill(); err != nil {
		return nil, err
	}
	if o.TLS == nil {
		o.TLS = l.opt.TLS
	}
	r := &Ring{opt: o, self: o.Self, over: make(chan struct{}), joined: make(chan struct{}, 1)}
	r.waiting.Store(-1)
	r.peer = make([]*peer, len(o.Members))
	for i, m := range o.Members {
		if i != o.Self {
			r.peer[i] = &peer{rank: i, member: m}
		}
	}
	if len(o.Members) == 1 {
		r.bell = newChanBell()
		return r, nil
	}
	r.levels, r.oneHost = planLevels(&o), o.SharedMemory != SharedOff && len(r.neighbours()) == len(o.Members)
	r.shm = openShared(&o)
	r.bell = r.chooseBell()
	r.lst = l
	if err := l.register(r); err != nil {
		r.shm.close()
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	stop := context.AfterFunc(r.context(ctx), cancel) // a member that fails ends all dialing
	defer stop()
	for rank := range o.Self {
		r.workers.Add(1)
		go func() {
			defer r.workers.Done()
			if err := r.dialAll(ctx, l.opt.Secret, rank); err != nil {
				r.fail(&PeerError{Peer: o.Members[rank].ID, Rank: rank, Err: err}, rank, true)
			}
		}()
	}
	if err := r.gather(ctx); err != nil {
		r.Close()
		return nil, err
	}
	r.connect()
	if err := r.failure(); err != nil {
		r.Close()
		return nil, err
	}
	r.workers.Add(1)
	go r.tend()
	return r, nil
}

// context returns one that ends with ctx or when the ring is over.
func (r *Ring) context(ctx context.Context) context.Context {
	c, cancel := context.WithCancel(ctx)
	r.workers.Add(1)
	go func() {
		defer r.workers.Done()
		defer cancel()
		select {
		case <-r.over:
		case <-ctx.Done():
		}
	}()
	return c
}

// gather waits until all connections of all pairs stand.
func (r *Ring) gather(ctx context.Context) error {
	for {
		missing := r.missing()
		if missing < 0 {
			return r.failure()
		}
		select {
		case <-r.joined:
		case <-r.over:
			return r.failure()
		case <-ctx.Done():
			if err := r.failure(); err != nil {
				return err
			}
			if errors.Is(ctx.Err(), context.Canceled) {
				r.fail(ctx.Err(), nobody, true)
				return ctx.Err()
			}
			return r.blame(missing, fmt.Errorf("did not connect within %v", r.opt.Timeout))
		}
	}
}

// missing returns a rank with connections still to come, −1 when there is none.
func (r *Ring) missing() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, p := range r.peer {
		if p != nil && !p.complete(r.opt.conns(r.self, i)) {
			return i
		}
	}
	return -1
}

func (p *peer) complete(conns int) bool {
	if p.control == nil {
		return false
	}
	if p.shared {
		return true
	}
	have := 0
	for _, c := range p.data {
		if c != nil {
			have++
		}
	}
	return have == conns
}

// arrive adds a connection that finished its handshake. From the control connection on, the peer's end is noticed.
func (r *Ring) arrive(rank int, kind uint8, stream int, c net.Conn, remote *segment) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil || r.closed {
		return net.ErrClosed
	}
	p := r.peer[rank]
	if t, ok := c.(*net.TCPConn); ok {
		t.SetNoDelay(true)
	}
	switch {
	case kind == kindControl && p.control == nil:
		p.control, p.remote, p.shared = c, remote, remote != nil
		p.heard.Store(int64(time.Since(start)))
		p.waiting.Store(-1)
		r.workers.Add(1)
		go r.listen(p)
	case kind == kindData && !p.shared && stream < r.opt.conns(r.self, rank):
		if p.data == nil {
			p.data = make([]net.Conn, r.opt.conns(r.self, rank))
		}
		if p.data[stream] != nil {
			return fmt.Errorf("member %q opened data connection %d twice", p.member.ID, stream)
		}
		p.data[stream] = c
	default:
		return fmt.Errorf("member %q opened a connection it has already, or none of its business", p.member.ID)
	}
	select {
	case r.joined <- struct{}{}:
	default:
	}
	return nil
}

// connect turns connections into links. Links on raw descriptors are fastest, and are used where all are such:
// then one poll waits for all of them. Otherwise every link rings the ring's bell.
func (r *Ring) connect() {
	plain := true
	for _, p := range r.peer {
		if p == nil {
			continue
		}
		if p.shared {
			r.stats.shared++
			plain = false
		}
		if _, secure := p.control.(*tls.Conn); secure {
			r.stats.secure++
			plain = false
		}
	}
	if n := len(r.neighbours()); n > 1 && n <= runtime.NumCPU() {
		r.spin = spinFor
	}
	for _, p := range r.peer {
		if p == nil {
			continue
		}
		var links []link
		for _, c := range p.data {
			links = append(links, r.makeLink(c, plain))
		}
		p.data = nil
		var all link
		switch {
		case p.shared:
			all = r.shm.link(p)
		case len(links) == 1:
			all = links[0]
		default:
			all = &striped{links: links}
		}
		r.mu.Lock()
		over := r.err != nil // then nobody would shut a link that comes later
		if !over {
			p.link = all
		}
		r.mu.Unlock()
		if over {
			all.close()
		}
	}
}

// neighbours are the members known to be on this host.
func (r *Ring) neighbours() []int {
	var on []int
	for i := range r.opt.Members {
		if r.opt.sameHost(i, r.self) {
			on = append(on, i)
		}
	}
	return on
}

func (r *Ring) makeLink(c net.Conn, plain bool) link {
	if plain {
		if l := rawLink(c); l != nil {
			return l
		}
	}
	return newStream(c, r.bell)
}
