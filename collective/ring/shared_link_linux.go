package ring

import (
	"encoding/binary"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sharedLink is a link through shared memory. What is sent goes into a pipe in the other's segment, what is received is
// taken from one in this process's own.
//
// A pipe holds frames: a head of 16 bytes (length, kind, address), then, for kind 0, the bytes, padded to 16. Kind 1 is a
// loan: the bytes stay where they are, and the receiver copies them out of the sender's memory (process_vm_readv), one copy in place
// of two. The sender keeps them unchanged until the frame is consumed.
type sharedLink struct {
	peer    *peer
	in, out pipe
	theirs  futexBell
	remote  *segment
	over    atomic.Bool
	lends   bool   // the peer can read this process's memory
	owed    uint64 // out's position after the last loan

	// the frame being received
	rest, pad int
	loan      bool
	addr      uint64
	move      transfer
}

const (
	frameHead = 16
	frameLoan = 1
	// loanFrom is from how many bytes on a loan costs less than a copy through the pipe.
	loanFrom = 64 << 10
	maxFrame = 1 << 30
	// recvMost is what recv takes at once: the copy is still in the processor's second cache when it is added, next to the vector.
	recvMost = 256 << 10
)

// transfer are the arguments of a read from another process, kept here to allocate nothing.
type transfer struct {
	local  [1]unix.Iovec
	remote [1]unix.RemoteIovec
}

// readMemory copies from another process's memory.
func readMemory(pid int, dst []byte, addr uint64, t *transfer) error {
	for len(dst) > 0 {
		t.local[0].Base = unsafe.SliceData(dst)
		t.local[0].SetLen(len(dst))
		t.remote[0] = unix.RemoteIovec{Base: uintptr(addr), Len: len(dst)}
		n, err := unix.ProcessVMReadv(pid, t.local[:], t.remote[:], 0)
		t.local[0].Base = nil
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		if n == 0 {
			return errLost
		}
		dst, addr = dst[n:], addr+uint64(n)
	}
	return nil
}

// state is what an idle link answers.
func (l *sharedLink) state() error {
	if l.over.Load() || l.peer.left.Load() {
		return errLost
	}
	return nil
}

func (l *sharedLink) send(a, b []byte) (int, error) { return l.put(a, b, false) }
func (l *sharedLink) lend(a, b []byte) (int, error) {
	return l.put(a, b, l.lends && len(b) >= loanFrom)
}

func (l *sharedLink) put(a, b []byte, loan bool) (int, error) {
	n, err := l.copyIn(a)
	if err == nil && n == len(a) && len(b) > 0 {
		k := 0
		if loan {
			k, err = l.lendOut(b)
		} else {
			k, err = l.copyIn(b)
		}
		n += k
	}
	if n > 0 {
		l.theirs.ring()
	} else if err == nil {
		err = l.state()
	}
	return n, err
}

// free is the room in the outgoing pipe.
func (l *sharedLink) free() (int, error) {
	used := l.out.at.tail.Load() - l.out.at.head.Load()
	if used > uint64(len(l.out.buf)) {
		return 0, errCorrupt
	}
	return len(l.out.buf) - int(used), nil
}

// frame writes a frame; all of it is committed at once, padding included, as the peer consumes it so.
func (l *sharedLink) frame(n, kind int, addr uint64, body []byte) {
	var h [frameHead]byte
	binary.LittleEndian.PutUint32(h[:], uint32(n))
	binary.LittleEndian.PutUint32(h[4:], uint32(kind))
	binary.LittleEndian.PutUint64(h[8:], addr)
	l.out.place(0, h[:])
	l.out.place(frameHead, body)
	l.out.commit(frameHead + len(body) + padding(len(body)))
}

func padding(n int) int { return -n & (frameHead - 1) }

func (l *sharedLink) copyIn(b []byte) (int, error) {
	room, err := l.free()
	if err != nil || room < 2*frameHead || len(b) == 0 {
		return 0, err
	}
	b = b[:min(len(b), room-frameHead)]
	l.frame(len(b), 0, 0, b)
	return len(b), nil
}

func (l *sharedLink) lendOut(b []byte) (int, error) {
	room, err := l.free()
	if err != nil || room < frameHead {
		return 0, err
	}
	b = b[:min(len(b), maxFrame)]
	l.frame(len(b), frameLoan, uint64(uintptr(unsafe.Pointer(unsafe.SliceData(b)))), nil)
	l.owed = l.out.at.tail.Load()
	return len(b), nil
}

// settled reports whether all loans were fetched. A peer that is gone fetches nothing more.
func (l *sharedLink) settled() bool {
	return int64(l.owed-l.out.at.head.Load()) <= 0 || l.over.Load() || l.peer.left.Load()
}

// next opens the next frame, if there is one and the last is used up.
func (l *sharedLink) next() error {
	for l.rest == 0 {
		if l.pad > 0 {
			l.in.consume(l.pad)
			l.pad = 0
		}
		if have := l.in.at.tail.Load() - l.in.at.head.Load(); have < frameHead {
			return nil
		}
		h, err := l.in.data() // contiguous, as heads stand on multiples of their size
		if err != nil {
			return err
		}
		n, kind := int(binary.LittleEndian.Uint32(h)), binary.LittleEndian.Uint32(h[4:])
		if n < 1 || n > maxFrame || kind > frameLoan {
			return errCorrupt
		}
		l.rest, l.loan, l.addr = n, kind == frameLoan, binary.LittleEndian.Uint64(h[8:])
		if l.loan {
			l.pad = frameHead // its head stays in the pipe until all is fetched: so the sender knows
		} else {
			l.in.consume(frameHead)
			l.pad = padding(n)
		}
	}
	return nil
}

func (l *sharedLink) recv(p []byte) (int, error) {
	end := l.state() // before looking: what came before a goodbye counts
	total := 0
	p = p[:min(len(p), recvMost)]
	for len(p) > 0 {
		if err := l.next(); err != nil {
			return total, err
		}
		n := min(len(p), l.rest)
		if n == 0 {
			break
		}
		var err error
		if l.loan {
			err = l.fetch(p[:n])
		} else {
			n, err = l.in.read(p[:n])
		}
		if err != nil || n == 0 {
			if err != nil {
				return total, err
			}
			break
		}
		l.rest -= n
		total += n
		p = p[n:]
	}
	if total > 0 {
		l.finish()
		return total, nil
	}
	return 0, end
}

// fetch takes a part of a loan.
func (l *sharedLink) fetch(p []byte) error {
	if err := readMemory(l.remote.pid, p, l.addr, &l.move); err != nil {
		if gone := l.state(); gone != nil || err == unix.ESRCH {
			return errLost
		}
		return err
	}
	if l.remote.over().Load() != 0 { // the lender may have used its memory for something else meanwhile
		return errLost
	}
	l.addr += uint64(len(p))
	return nil
}

// finish tells the peer what was consumed.
func (l *sharedLink) finish() {
	if l.rest == 0 && l.pad > 0 {
		l.in.consume(l.pad)
		l.pad = 0
	}
	l.theirs.ring()
}

func (l *sharedLink) peek() ([]byte, error) {
	end := l.state()
	if err := l.next(); err != nil {
		return nil, err
	}
	if l.rest == 0 {
		return nil, end
	}
	if l.loan {
		return nil, nil // recv fetches it
	}
	data, err := l.in.data()
	return data[:min(len(data), l.rest)], err
}

func (l *sharedLink) skip(n int) {
	l.in.consume(n)
	l.rest -= n
	l.finish()
}

func (l *sharedLink) fds() (in, out int) { return -1, -1 }
func (l *sharedLink) flushed() bool      { return true } // it is in the other's memory
func (l *sharedLink) shut()              { l.over.Store(true) }
func (l *sharedLink) close()             { l.remote.close() }
