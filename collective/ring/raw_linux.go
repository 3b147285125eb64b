package ring

import (
	"net"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// raw is a link on a socket of its own: system calls without Go's poller between, which would be woken by every
// packet of a socket that it watches.
type raw struct {
	fd   int
	iov  [2][]byte
	end  sync.Mutex // guards fd against shut after close
	over bool
}

// socketBuffer is asked for in each direction; the system may give less (net.core.wmem_max).
const socketBuffer = 4 << 20

// rawLink takes the socket out of a plain TCP connection, nil where that is impossible.
func rawLink(c net.Conn) link {
	if p, ok := c.(*prefixed); ok && len(p.first) == 0 {
		c = p.Conn
	}
	t, ok := c.(*net.TCPConn)
	if !ok {
		return nil
	}
	t.SetNoDelay(true)
	t.SetReadBuffer(socketBuffer)
	t.SetWriteBuffer(socketBuffer)
	fd := -1
	rc, err := t.SyscallConn()
	if err == nil {
		err = rc.Control(func(own uintptr) { fd, err = unix.FcntlInt(own, unix.F_DUPFD_CLOEXEC, 0) })
	}
	if err != nil || fd < 0 {
		return nil
	}
	if local(t) {
		// Nothing can be congested here, and a default that paces what it sends (BBR) costs timers and idle gaps. Reno, which every
		// Linux has, only counts. A hint: what refuses it is only slower.
		_ = unix.SetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION, "reno")
	}
	t.Close() // the duplicate keeps the connection, the poller forgets it
	return &raw{fd: fd}
}

func (l *raw) send(a, b []byte) (int, error) {
	for {
		var n int
		var err error
		switch {
		case len(a) == 0:
			n, err = unix.SendmsgN(l.fd, b, nil, nil, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)
		case len(b) == 0:
			n, err = unix.SendmsgN(l.fd, a, nil, nil, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)
		default:
			l.iov = [2][]byte{a, b}
			n, err = unix.SendmsgBuffers(l.fd, l.iov[:], nil, nil, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)
			l.iov = [2][]byte{}
		}
		switch err {
		case nil:
			return n, nil
		case unix.EAGAIN:
			return 0, nil
		case unix.EINTR:
		case unix.EPIPE, unix.ECONNRESET:
			return 0, errLost
		default:
			return 0, err
		}
	}
}

func (l *raw) recv(p []byte) (int, error) {
	for {
		n, err := unix.Read(l.fd, p)
		switch err {
		case nil:
			if n == 0 && len(p) > 0 {
				return 0, errLost
			}
			return n, nil
		case unix.EAGAIN:
			return 0, nil
		case unix.EINTR:
		case unix.ECONNRESET:
			return 0, errLost
		default:
			return 0, err
		}
	}
}

func (l *raw) lend(a, b []byte) (int, error) { return l.send(a, b) }
func (l *raw) settled() bool                 { return true }

func (l *raw) peek() ([]byte, error) { return nil, nil }
func (l *raw) skip(int)              { panic("ring: sockets copy") }
func (l *raw) fds() (in, out int)    { return l.fd, l.fd }
func (l *raw) flushed() bool         { return true } // the kernel sends on

func (l *raw) shut() {
	l.end.Lock()
	defer l.end.Unlock()
	if !l.over {
		unix.Shutdown(l.fd, unix.SHUT_RDWR)
	}
}

func (l *raw) close() {
	l.end.Lock()
	defer l.end.Unlock()
	if !l.over {
		l.over = true
		unix.Close(l.fd)
	}
}

// pollSet are descriptors to wait for.
type pollSet struct{ fds []unix.PollFd }

func (s *pollSet) reset() { s.fds = s.fds[:0] }

func (s *pollSet) add(fd int, read bool) {
	events := int16(unix.POLLOUT)
	if read {
		events = unix.POLLIN
	}
	for i := range s.fds {
		if s.fds[i].Fd == int32(fd) {
			s.fds[i].Events |= events
			return
		}
	}
	s.fds = append(s.fds, unix.PollFd{Fd: int32(fd), Events: events})
}

// wait blocks until a descriptor is ready or d is over; without descriptors it returns false at once. Neighbours are often a few
// microseconds away, less than going to sleep and being woken takes, so it looks for a moment first.
func (s *pollSet) wait(d time.Duration, spin time.Duration) bool {
	if len(s.fds) == 0 {
		return false
	}
	for start := time.Now(); time.Since(start) < spin; {
		if n, _ := unix.Poll(s.fds, 0); n > 0 {
			return true
		}
	}
	unix.Poll(s.fds, max(1, int(d/time.Millisecond)))
	return true
}
