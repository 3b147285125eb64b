package ring

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"ringo/collective/secure"
)

// Listener accepts the data connections of one process, over all its views. Its methods may be called from anywhere.
type Listener struct {
	opt ListenOptions
	tcp net.Listener

	mu         sync.Mutex
	rings      map[uint64]*Ring // joined or joining, by epoch
	newest     uint64           // highest epoch that was ever joined
	changed    chan struct{}    // closed and replaced whenever rings changes
	memory     []*Memory
	borrower   *Ring           // the open ring that uses memory; nil where none does
	unmappable bool            // another member's memory could not be mapped: rings send instead
	unknown    []net.Conn      // not yet introduced, oldest first
	logged     map[string]bool // refusals that were logged, by address and reason
	closed     bool
	wg         sync.WaitGroup
}

// Listen starts to listen on addr (host:port; port 0 chooses one).
func Listen(addr string, o ListenOptions) (*Listener, error) {
	if o.Handshake == 0 {
		o.Handshake = 5 * time.Second
	}
	if o.Pending == 0 {
		o.Pending = 1024
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	tcp, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("ring: listen on %s: %w", addr, err)
	}
	l := &Listener{opt: o, tcp: tcp, rings: map[uint64]*Ring{}, changed: make(chan struct{}), logged: map[string]bool{}}
	l.wg.Add(1)
	go l.accept()
	return l, nil
}

// Addr is where it listens, host:port.
func (l *Listener) Addr() string { return l.tcp.Addr().String() }

// Close stops listening and drops connections that wait. Rings that were joined go on.
func (l *Listener) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.closed = true
	err := l.tcp.Close()
	for _, c := range l.unknown {
		c.Close()
	}
	close(l.changed)
	l.changed = make(chan struct{})
	l.mu.Unlock()
	l.wg.Wait()
	return err
}

func (l *Listener) accept() {
	defer l.wg.Done()
	for {
		c, err := l.tcp.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // out of descriptors, a connection reset while it waited: later ones may do
			l.refuse(l.tcp.Addr(), err)
			time.Sleep(10 * time.Millisecond)
			continue
		}
		l.mu.Lock()
		if l.closed {
			l.mu.Unlock()
			c.Close()
			return
		}
		if len(l.unknown) >= l.opt.Pending {
			l.unknown[0].Close()
			l.unknown = l.unknown[1:]
		}
		l.unknown = append(l.unknown, c)
		l.wg.Add(1)
		l.mu.Unlock()
		go func() {
			defer l.wg.Done()
			if err := l.introduce(c); err != nil {
				c.Close()
				if !errors.Is(err, net.ErrClosed) {
					l.refuse(c.RemoteAddr(), err)
				}
			}
		}()
	}
}

// known takes a connection off the list of those that may be dropped.
func (l *Listener) known(c net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, u := range l.unknown {
		if u == c {
			l.unknown = append(l.unknown[:i], l.unknown[i+1:]...)
			return
		}
	}
}

// maxLogged bounds the memory of what was logged.
const maxLogged = 256

// refuse logs a refusal once per address and reason.
func (l *Listener) refuse(from net.Addr, err error) {
	host, _, _ := net.SplitHostPort(from.String())
	key := host + " " + err.Error()
	l.mu.Lock()
	again := l.logged[key] || len(l.logged) >= maxLogged
	if !again {
		l.logged[key] = true
	}
	l.mu.Unlock()
	if !again {
		l.opt.Log.Warn("refused a data connection", "from", host, "why", err)
	}
}

// introduce does the accepting side of a handshake (see frame.go) and hands the connection to its ring.
func (l *Listener) introduce(raw net.Conn) error {
	defer l.known(raw)
	raw.SetDeadline(time.Now().Add(l.opt.Handshake))
	conn, encrypted, err := l.secure(raw)
	if err != nil {
		return err
	}
	body, err := readFrame(conn)
	if err != nil {
		return fmt.Errorf("handshake: %w", secure.Explain(lost(err)))
	}
	h, err := decodeHello(body)
	if err != nil {
		return fmt.Errorf("handshake: %w", err)
	}
	ans := &reply{}
	rand.Read(ans.nonce[:])
	r, err := l.find(h)
	if err == nil {
		err = r.admit(h, encrypted || l.opt.TLS == nil)
	}
	if err == nil && h.kind == kindControl && r.shm != nil && r.opt.sameHost(r.self, int(h.from)) {
		ans.shm = r.shm.offer()
	}
	if err != nil {
		ans.status, ans.text = statusRefused, err.Error()
	}
	raw.SetDeadline(time.Now().Add(l.opt.Handshake))
	answer := ans.encode()
	if werr := writeFrame(conn, append(answer, proof(l.opt.Secret, "accept", body, answer)...)); werr != nil || err != nil {
		return errors.Join(err, werr)
	}
	theirs, err := readFrame(conn)
	if err != nil {
		return fmt.Errorf("handshake: member %q went away: %w", h.id, lost(err))
	}
	if len(theirs) != 33 || !hmac.Equal(theirs[:32], proof(l.opt.Secret, "dial", body, answer)) {
		return fmt.Errorf("member %q does not have this job's key", h.id)
	}
	var remote *segment
	if h.kind == kindControl && theirs[32] == 1 && r.shm != nil {
		remote, _ = r.shm.attach(h.shm) // without it TCP serves
	}
	done := []byte{0}
	if remote != nil {
		done[0] = 1
	}
	if err := writeFrame(conn, done); err != nil {
		remote.close()
		return err
	}
	raw.SetDeadline(time.Time{})
	if err := r.arrive(int(h.from), h.kind, int(h.stream), conn, remote); err != nil {
		remote.close()
		return err
	}
	return nil
}

// secure returns the connection to speak over. TLS opens with byte 22. Plain connections are taken from this machine
// only, where TLS is configured: who can forge those is root here already; and they must prove the job's secret.
func (l *Listener) secure(raw net.Conn) (net.Conn, bool, error) {
	if l.opt.TLS == nil {
		return raw, false, nil
	}
	var first [1]byte
	if _, err := io.ReadFull(raw, first[:]); err != nil {
		return nil, false, fmt.Errorf("handshake: %w", secure.Explain(lost(err)))
	}
	conn := &prefixed{Conn: raw, first: first[:]}
	if first[0] != 22 {
		if !local(raw) {
			return nil, false, errors.New("not TLS, which this job requires between machines")
		}
		return conn, false, nil
	}
	t := tls.Server(conn, l.opt.TLS)
	if err := t.Handshake(); err != nil {
		return nil, false, fmt.Errorf("TLS: %w", secure.Explain(err))
	}
	return t, true, nil
}

// local reports whether a connection comes from this machine: both ends have the same address.
func local(c net.Conn) bool {
	a, ok1 := c.LocalAddr().(*net.TCPAddr)
	b, ok2 := c.RemoteAddr().(*net.TCPAddr)
	return ok1 && ok2 && (a.IP.Equal(b.IP) || a.IP.IsLoopback() && b.IP.IsLoopback())
}

// prefixed is a connection of which some bytes were read already.
type prefixed struct {
	net.Conn
	first []byte
}

func (p *prefixed) Read(b []byte) (int, error) {
	if len(p.first) > 0 {
		n := copy(b, p.first)
		p.first = p.first[n:]
		return n, nil
	}
	return p.Conn.Read(b)
}

// register makes a ring known to connections that arrive.
func (l *Listener) register(r *Ring) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
		return ErrClosed
	case r.opt.Epoch <= l.newest && l.newest > 0:
		return fmt.Errorf("ring: epoch %d was joined before or is over, this process is in epoch %d", r.opt.Epoch, l.newest)
	}
	if err := l.borrow(r); err != nil {
		return err
	}
	l.rings[r.opt.Epoch] = r
	l.newest = r.opt.Epoch
	close(l.changed)
	l.changed = make(chan struct{})
	return nil
}

func (l *Listener) forget(r *Ring) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.rings[r.opt.Epoch] == r {
		delete(l.rings, r.opt.Epoch)
	}
	if l.borrower == r {
		l.borrower = nil
	}
}
