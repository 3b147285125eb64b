package ring

import (
	"crypto/rand"
	"errors"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Every process has one memory segment, in which the other members on its host leave bytes for it:
//
//	page 0           token (16 bytes); at 64 the bell's count, at 128 whether the owner sleeps, at 192 whether its ring is over
//	page 1           table of the memory that the owner lends (memory_linux.go)
//	page 2+i         cursors of the pipe from local member i; at 256 whether it can read the owner's memory
//	then             the pipes' buffers, sharedPipe bytes each
//
// It is an anonymous file (memfd) that others open through /proc/PID/fd: nothing stays behind however a process dies. It is sealed
// against shrinking, so that no peer can make a mapping fault.
const (
	page       = 4096
	sharedPipe = 1 << 20
	pipePages  = 2 // pages before those of pipes
	seals      = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_SEAL
)

// segment is one mapped segment.
type segment struct {
	mem     []byte
	pid     int       // the owner's, where it is another member's
	regions []mapping // what it lends, by slot; empty where not mapped yet
}

func segmentSize(locals int) int { return pipePages*page + locals*(page+sharedPipe) }

func (s *segment) bell() (count, asleep *atomic.Uint32) {
	return (*atomic.Uint32)(unsafe.Pointer(&s.mem[64])), (*atomic.Uint32)(unsafe.Pointer(&s.mem[128]))
}

// pipe is the one from local member i, of so many.
func (s *segment) pipe(i, locals int) pipe {
	at := (pipePages+locals)*page + i*sharedPipe
	return pipe{(*cursors)(unsafe.Pointer(&s.mem[(pipePages+i)*page])), s.mem[at : at+sharedPipe : at+sharedPipe]}
}

// reads holds 1 when local member i found that it can read the owner's memory.
func (s *segment) reads(i int) *atomic.Uint32 {
	return (*atomic.Uint32)(unsafe.Pointer(&s.mem[(pipePages+i)*page+256]))
}

// over holds 1 once the owner's ring is over: what was read from its memory before that was found 0 is what it lent.
func (s *segment) over() *atomic.Uint32 { return (*atomic.Uint32)(unsafe.Pointer(&s.mem[192])) }

func (s *segment) close() {
	if s == nil || s.mem == nil {
		return
	}
	unix.Munmap(s.mem)
	s.mem = nil
	for i := range s.regions {
		s.regions[i].unmap()
	}
}

// shared is this process's segment.
type shared struct {
	segment
	fd    int
	token [16]byte
	local []int // rank → index among members on this host, −1 elsewhere
	n     int   // members on this host
	own   *futexBell
	self  int
	lent  []*Memory // by slot of the table
}

// openShared makes the segment, nil where there is nobody to share with or the system has no such memory.
func openShared(o *Options) *shared {
	s := &shared{self: o.Self}
	for i := range o.Members {
		s.local = append(s.local, -1)
		if i == o.Self || o.sameHost(i, o.Self) {
			s.local[i] = s.n
			s.n++
		}
	}
	if o.SharedMemory == SharedOff || s.n < 2 {
		return nil
	}
	size := segmentSize(s.n)
	fd, err := sealed(size)
	if err != nil {
		return nil
	}
	if s.mem, err = unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != nil {
		unix.Close(fd)
		return nil
	}
	s.fd = fd
	rand.Read(s.token[:])
	copy(s.mem, s.token[:])
	s.own = &futexBell{spin: s.n <= runtime.NumCPU()}
	s.own.count, s.own.asleep = s.bell()
	return s
}

// offer tells others where the segment is.
func (s *shared) offer() shmOffer {
	return shmOffer{pid: uint32(os.Getpid()), fd: uint32(s.fd), addr: uint64(uintptr(unsafe.Pointer(&s.mem[0]))), token: s.token}
}

// attach maps another member's segment.
func (s *shared) attach(o shmOffer) (*segment, error) {
	size := segmentSize(s.n)
	fd, err := openSealed(o.pid, o.fd, int64(size))
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	mem, err := unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, err
	}
	seg := &segment{mem: mem, pid: int(o.pid)}
	if [16]byte(mem[:16]) != o.token || o.token == [16]byte{} {
		seg.close()
		return nil, errors.New("not this member's memory")
	}
	var seen [16]byte
	if readMemory(seg.pid, seen[:], o.addr, new(transfer)) == nil && seen == o.token {
		seg.reads(s.local[s.self]).Store(1)
	}
	return seg, nil
}

// leave tells the others that this process's memory is its own again.
func (s *shared) leave() {
	if s != nil {
		s.over().Store(1)
	}
}

func (s *shared) close() {
	if s == nil {
		return
	}
	s.own.close()
	s.segment.close()
	unix.Close(s.fd)
}

func (s *shared) link(p *peer) link {
	l := &sharedLink{peer: p, in: s.pipe(s.local[p.rank], s.n), out: p.remote.pipe(s.local[s.self], s.n), remote: p.remote}
	l.theirs.count, l.theirs.asleep = p.remote.bell()
	l.lends = s.reads(s.local[p.rank]).Load() == 1
	return l
}

// chooseBell returns the bell of a ring: in the segment, where others can reach it, if there is one.
func (r *Ring) chooseBell() bell {
	if r.shm != nil {
		return r.shm.own
	}
	return newChanBell()
}

// futexBell is a bell in memory that processes share: a count, and whether its owner sleeps, so that ringing costs a system
// call only then.
type futexBell struct {
	count, asleep *atomic.Uint32
	spin          bool
	mu            sync.RWMutex
	closed        bool
}

func (b *futexBell) token() uint32 { return b.count.Load() }

func (b *futexBell) ring() {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if b.closed {
		return
	}
	b.count.Add(1)
	if b.asleep.Load() != 0 {
		syscall.RawSyscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(b.count)), futexWake, 1, 0, 0, 0)
	}
}

func (b *futexBell) close() {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
}

// Operations of futex(2) on memory that processes share.
const (
	futexWait = 0
	futexWake = 1
)

func (b *futexBell) wait(token uint32, d time.Duration) {
	if b.spin {
		for start := time.Now(); time.Since(start) < spinFor; {
			for range 50 {
				if b.count.Load() != token {
					return
				}
			}
		}
	}
	b.asleep.Store(1)
	if b.count.Load() == token {
		ts := unix.NsecToTimespec(int64(d))
		unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(b.count)), futexWait, uintptr(token), uintptr(unsafe.Pointer(&ts)), 0, 0)
	}
	b.asleep.Store(0)
}
