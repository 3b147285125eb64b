package ring

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"runtime"
	"syscall"
	"time"

	"ringo/collective/secure"
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
	r.levels = planLevels(&o)
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

// dialAll opens the control connection to a lower rank, then the data connections, if they do not share memory.
func (r *Ring) dialAll(ctx context.Context, secret []byte, rank int) error {
	conn, remote, err := r.dial(ctx, secret, rank, kindControl, 0)
	if err != nil {
		return err
	}
	if err := r.arrive(rank, kindControl, 0, conn, remote); err != nil {
		conn.Close()
		remote.close()
		return err
	}
	for stream := 0; remote == nil && stream < r.opt.conns(r.self, rank); stream++ {
		conn, _, err := r.dial(ctx, secret, rank, kindData, stream)
		if err != nil {
			return err
		}
		if err := r.arrive(rank, kindData, stream, conn, nil); err != nil {
			conn.Close()
			return err
		}
	}
	return nil
}

// dial does the dialing side of a handshake (see frame.go).
func (r *Ring) dial(ctx context.Context, secret []byte, rank int, kind uint8, stream int) (net.Conn, *segment, error) {
	raw, err := r.reach(ctx, r.opt.Members[rank].Addr)
	if err != nil {
		return nil, nil, err
	}
	release := context.AfterFunc(ctx, func() { raw.SetDeadline(time.Unix(1, 0)) })
	defer release()
	conn := raw
	if r.opt.TLS != nil && !r.opt.sameHost(r.self, rank) {
		t := tls.Client(raw, r.opt.TLS)
		if err := t.HandshakeContext(ctx); err != nil {
			raw.Close()
			return nil, nil, fmt.Errorf("TLS: %w", secure.Explain(err))
		}
		conn = t
	}
	remote, err := r.introduce(conn, secret, rank, kind, stream)
	if err != nil {
		conn.Close()
		return nil, nil, err
	}
	if !release() { // cut off by ctx
		conn.Close()
		remote.close()
		return nil, nil, context.Cause(ctx)
	}
	return conn, remote, nil
}

// reach connects, with a little patience for an address that refuses.
func (r *Ring) reach(ctx context.Context, addr string) (net.Conn, error) {
	var d net.Dialer
	end := time.Now().Add(refusedFor)
	for {
		c, err := d.DialContext(ctx, "tcp", addr)
		if err == nil || !errors.Is(err, syscall.ECONNREFUSED) || time.Now().After(end) {
			return c, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (r *Ring) introduce(conn net.Conn, secret []byte, rank int, kind uint8, stream int) (*segment, error) {
	h := &hello{kind: kind, stream: uint8(stream), epoch: r.opt.Epoch, from: uint32(r.self), to: uint32(rank),
		digest: r.opt.digest(), job: r.opt.Job, id: r.opt.Members[r.self].ID}
	rand.Read(h.nonce[:])
	share := kind == kindControl && r.shm != nil && r.opt.sameHost(r.self, rank)
	if share {
		h.shm = r.shm.offer()
	}
	body := h.encode()
	if err := writeFrame(conn, body); err != nil {
		return nil, err
	}
	answer, err := readFrame(conn)
	if err != nil {
		return nil, fmt.Errorf("handshake: %w", secure.Explain(lost(err)))
	}
	if len(answer) < 32 {
		return nil, errors.New("handshake: reply of wrong length")
	}
	answer, theirs := answer[:len(answer)-32], answer[len(answer)-32:]
	if !hmac.Equal(theirs, proof(secret, "accept", body, answer)) {
		return nil, errors.New("handshake: it does not have this job's key; give all processes the same key")
	}
	ans, err := decodeReply(answer)
	if err != nil {
		return nil, fmt.Errorf("handshake: %w", err)
	}
	if ans.status != statusOK {
		return nil, fmt.Errorf("refused: %s", ans.text)
	}
	var remote *segment
	if share {
		remote, _ = r.shm.attach(ans.shm) // without it TCP serves
	}
	mine := append(proof(secret, "dial", body, answer), 0)
	if remote != nil {
		mine[32] = 1
	}
	if err := writeFrame(conn, mine); err != nil {
		remote.close()
		return nil, err
	}
	done, err := readFrame(conn)
	if err != nil || len(done) != 1 {
		remote.close()
		return nil, fmt.Errorf("handshake: refused after the proof: %w", lost(err))
	}
	if done[0] != 1 {
		remote.close()
		remote = nil
	}
	return remote, nil
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
