package ring

import (
	"errors"
	"sync/atomic"
	"time"
)

// cursors count the bytes that ever went into and out of a pipe, each on a cache line of its own: one side
// writes tail, the other head.
type cursors struct {
	tail atomic.Uint64
	_    [56]byte
	head atomic.Uint64
	_    [56]byte
}

// pipe is a byte queue between one producer and one consumer, in private or shared memory. The length of buf
// is a power of two. Nobody waits inside: a bell says when to look again.
type pipe struct {
	at  *cursors
	buf []byte
}

// errCorrupt is answered when cursors in shared memory make no sense.
var errCorrupt = errors.New("shared memory holds impossible positions")

// space returns where the producer may write now: contiguous, empty when full.
func (p *pipe) space() ([]byte, error) {
	head, tail := p.at.head.Load(), p.at.tail.Load()
	used := tail - head
	if used > uint64(len(p.buf)) {
		return nil, errCorrupt
	}
	i := int(tail) & (len(p.buf) - 1)
	return p.buf[i:min(i+len(p.buf)-int(used), len(p.buf))], nil
}

// commit hands n written bytes to the consumer.
func (p *pipe) commit(n int) { p.at.tail.Add(uint64(n)) }

// data returns what the consumer may read now: contiguous, empty when there is nothing.
func (p *pipe) data() ([]byte, error) {
	tail, head := p.at.tail.Load(), p.at.head.Load()
	used := tail - head
	if used > uint64(len(p.buf)) {
		return nil, errCorrupt
	}
	i := int(head) & (len(p.buf) - 1)
	return p.buf[i:min(i+int(used), len(p.buf))], nil
}

// consume gives n read bytes back to the producer.
func (p *pipe) consume(n int) { p.at.head.Add(uint64(n)) }

// place copies b to so many bytes behind what was committed; the caller knows that there is space.
func (p *pipe) place(behind int, b []byte) {
	i := (int(p.at.tail.Load()) + behind) & (len(p.buf) - 1)
	n := copy(p.buf[i:], b)
	copy(p.buf, b[n:])
}

// write copies what fits.
func (p *pipe) write(b []byte) (n int, err error) {
	for len(b) > 0 {
		to, err := p.space()
		if err != nil || len(to) == 0 {
			return n, err
		}
		k := copy(to, b)
		p.commit(k)
		n, b = n+k, b[k:]
	}
	return n, nil
}

// read copies what is there.
func (p *pipe) read(b []byte) (n int, err error) {
	for len(b) > 0 {
		from, err := p.data()
		if err != nil || len(from) == 0 {
			return n, err
		}
		k := copy(b, from)
		p.consume(k)
		n, b = n+k, b[k:]
	}
	return n, nil
}

// bell wakes the one goroutine that works on a ring. To lose no wake-up it takes a token, looks at everything
// it waits for, and then waits for the bell to ring after that token.
type bell interface {
	token() uint32
	ring()
	wait(token uint32, d time.Duration)
}

// chanBell is a bell within one process.
type chanBell struct {
	count atomic.Uint32
	c     chan struct{}
	timer *time.Timer
}

func newChanBell() *chanBell {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return &chanBell{c: make(chan struct{}, 1), timer: t}
}

func (b *chanBell) token() uint32 { return b.count.Load() }

func (b *chanBell) ring() {
	b.count.Add(1)
	select {
	case b.c <- struct{}{}:
	default:
	}
}

func (b *chanBell) wait(token uint32, d time.Duration) {
	b.timer.Reset(d)
	defer b.timer.Stop()
	for b.count.Load() == token {
		select {
		case <-b.c:
		case <-b.timer.C:
			return
		}
	}
}
