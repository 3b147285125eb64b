package ring

import (
	"io"
	"net"
	"sync"
)

// link is an ordered, reliable byte stream both ways to one peer. Nothing in it waits: send and recv do what
// can be done now. Only the goroutine inside a call on the ring uses it; shut may be called from anywhere.
type link interface {
	// send takes as much of a, then b, as fits and returns how much.
	send(a, b []byte) (int, error)
	// lend is send for a b that stays as it is until settled: the link may leave it where it is for the peer to fetch.
	lend(a, b []byte) (int, error)
	settled() bool
	// recv fills p with what has arrived and returns how much.
	recv(p []byte) (int, error)
	// peek returns bytes that have arrived, in place, or nil where the link can only copy; skip takes them off.
	peek() ([]byte, error)
	skip(n int)
	// fds returns the descriptors that become ready when recv and send can go on, or −1 where the ring's bell rings.
	fds() (in, out int)
	// flushed reports whether everything sent has left this process.
	flushed() bool
	// shut makes both sides' send and recv fail, close frees what the link holds.
	shut()
	close()
}

// stripe is how many bytes go to one connection before the next one's turn.
const stripe = 256 << 10

// striped spreads one stream over several links in turn, stripe bytes each: some networks limit what one
// connection may carry.
type striped struct {
	links      []link
	sent, read uint64
}

// at returns the link for stream position pos and how many bytes it takes before the next one's turn.
func (s *striped) at(pos uint64) (link, int) {
	return s.links[pos/stripe%uint64(len(s.links))], stripe - int(pos%stripe)
}

func (s *striped) send(a, b []byte) (int, error) {
	total := 0
	for len(a)+len(b) > 0 {
		l, room := s.at(s.sent)
		na := min(len(a), room)
		nb := min(len(b), room-na)
		n, err := l.send(a[:na], b[:nb])
		s.sent += uint64(n)
		total += n
		if err != nil || n < na+nb {
			return total, err
		}
		a, b = a[na:], b[nb:]
	}
	return total, nil
}

func (s *striped) recv(p []byte) (int, error) {
	total := 0
	for len(p) > 0 {
		l, room := s.at(s.read)
		want := min(len(p), room)
		n, err := l.recv(p[:want])
		s.read += uint64(n)
		total += n
		if err != nil || n < want {
			return total, err
		}
		p = p[n:]
	}
	return total, nil
}

func (s *striped) lend(a, b []byte) (int, error) { return s.send(a, b) }
func (s *striped) settled() bool                 { return true }

func (s *striped) peek() ([]byte, error) { return nil, nil }
func (s *striped) skip(int)              { panic("ring: striped links copy") }

func (s *striped) fds() (in, out int) {
	l, _ := s.at(s.read)
	in, _ = l.fds()
	l, _ = s.at(s.sent)
	_, out = l.fds()
	return in, out
}

func (s *striped) flushed() bool {
	for _, l := range s.links {
		if !l.flushed() {
			return false
		}
	}
	return true
}

func (s *striped) shut() {
	for _, l := range s.links {
		l.shut()
	}
}

func (s *striped) close() {
	for _, l := range s.links {
		l.close()
	}
}

// streamBuffer is the size of a stream link's queues, per direction.
const streamBuffer = 1 << 20

// stream is a link over any net.Conn, TLS among them: one goroutine reads ahead, one writes behind.
type stream struct {
	conn    net.Conn
	bell    bell // the ring's
	in, out pipe
	read    chan struct{} // there is room in `in`
	write   chan struct{} // there is something in `out`
	done    chan struct{}
	end     sync.Once
	wg      sync.WaitGroup
	mu      sync.Mutex
	err     error // why the connection is over
	werr    error
}

func newStream(c net.Conn, b bell) *stream {
	s := &stream{conn: c, bell: b, read: make(chan struct{}, 1), write: make(chan struct{}, 1), done: make(chan struct{})}
	s.in = pipe{new(cursors), make([]byte, streamBuffer)}
	s.out = pipe{new(cursors), make([]byte, streamBuffer)}
	s.wg.Add(2)
	go s.reader()
	go s.writer()
	return s
}

func nudge(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (s *stream) reader() {
	defer s.wg.Done()
	for {
		to, _ := s.in.space()
		if len(to) == 0 {
			select {
			case <-s.read:
			case <-s.done:
				return
			}
			continue
		}
		n, err := s.conn.Read(to[:min(len(to), streamBuffer/4)])
		s.in.commit(n)
		if err != nil {
			s.mu.Lock()
			s.err = lost(err)
			s.mu.Unlock()
		}
		s.bell.ring()
		if err != nil {
			return
		}
	}
}

func (s *stream) writer() {
	defer s.wg.Done()
	for {
		from, _ := s.out.data()
		if len(from) == 0 {
			select {
			case <-s.write:
			case <-s.done:
				return
			}
			continue
		}
		n, err := s.conn.Write(from[:min(len(from), streamBuffer/4)])
		s.out.consume(n)
		if err != nil {
			s.mu.Lock()
			s.werr = lost(err)
			s.mu.Unlock()
		}
		s.bell.ring()
		if err != nil {
			return
		}
	}
}

// lost names the end of a stream.
func lost(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return errLost
	}
	return err
}

func (s *stream) send(a, b []byte) (int, error) {
	n, err := s.out.write(a)
	if err == nil && n == len(a) {
		var k int
		k, err = s.out.write(b)
		n += k
	}
	if n > 0 {
		nudge(s.write)
		return n, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return 0, s.werr
}

func (s *stream) recv(p []byte) (int, error) {
	s.mu.Lock()
	end := s.err // before looking, so that the last bytes are not lost
	s.mu.Unlock()
	n, err := s.in.read(p)
	if n > 0 {
		nudge(s.read)
		return n, err
	}
	return 0, end
}

func (s *stream) lend(a, b []byte) (int, error) { return s.send(a, b) }
func (s *stream) settled() bool                 { return true }

func (s *stream) peek() ([]byte, error) { return nil, nil }
func (s *stream) skip(int)              { panic("ring: streams copy") }
func (s *stream) fds() (in, out int)    { return -1, -1 }
func (s *stream) flushed() bool         { return s.out.at.head.Load() == s.out.at.tail.Load() }

// shut ends the connection; the goroutines follow.
func (s *stream) shut() {
	s.end.Do(func() {
		close(s.done)
		s.conn.Close()
	})
}

func (s *stream) close() {
	s.shut()
	s.wg.Wait()
}
