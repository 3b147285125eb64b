package ring

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mapping is a file's memory at an address that huge pages can begin at.
type mapping struct {
	mem   []byte
	base  unsafe.Pointer // of the address space that was reserved for it
	whole uintptr
}

const hugePage = 2 << 20

// reserve takes address space for n bytes.
func reserve(n int) (mapping, error) {
	whole := uintptr(n + hugePage)
	base, err := unix.MmapPtr(-1, 0, nil, whole, unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
	if err != nil {
		return mapping{}, err
	}
	skip := -uintptr(base) & (hugePage - 1)
	return mapping{mem: unsafe.Slice((*byte)(unsafe.Add(base, skip)), n), base: base, whole: whole}, nil
}

// put maps a file over whatever was mapped there.
func (m *mapping) put(fd int) error {
	_, err := unix.MmapPtr(fd, 0, unsafe.Pointer(&m.mem[0]), uintptr(len(m.mem)), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_FIXED)
	return err
}

func (m *mapping) unmap() error {
	if m.mem == nil {
		return nil
	}
	m.mem = nil
	return unix.MunmapPtr(m.base, m.whole)
}

// sealed makes a file of n bytes that cannot shrink: no peer can make a mapping of it fault.
func sealed(n int) (int, error) {
	fd, err := unix.MemfdCreate("ringo", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return -1, err
	}
	if err = unix.Ftruncate(fd, int64(n)); err == nil {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals)
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// openSealed opens such a file of another process. It fails where the two do not see each other's processes, as in different
// containers.
func openSealed(pid, fd uint32, n int64) (int, error) {
	own, err := unix.Open(fmt.Sprintf("/proc/%d/fd/%d", pid, fd), unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return -1, err
	}
	var st unix.Stat_t
	err = unix.Fstat(own, &st)
	have, sealErr := unix.FcntlInt(uintptr(own), unix.F_GET_SEALS, 0)
	if err != nil || sealErr != nil || have&seals != seals || st.Size != n {
		unix.Close(own)
		return -1, errors.New("not a member's memory")
	}
	return own, nil
}

// region is a Memory as a file: its bytes, up to a page's end, then a page that begins with a token.
type region struct {
	mapping
	fd    int
	token [16]byte
	lent  bool // others may have it mapped
}

func regionSize(n int) int { return (n+page-1)/page*page + page }

func (g *region) open(n int) (err error) {
	if g.mapping, err = reserve(regionSize(n)); err != nil {
		return err
	}
	g.fd = -1
	if err = g.fill(); err != nil {
		g.unmap()
	}
	return err
}

// fill puts a new file where the region is. Huge pages are asked for one by one: few systems give them to shared memory unasked.
func (g *region) fill() error {
	fd, err := sealed(len(g.mem))
	if err != nil {
		return err
	}
	if err := g.put(fd); err != nil {
		unix.Close(fd)
		return err
	}
	if g.fd >= 0 {
		unix.Close(g.fd)
	}
	g.fd, g.lent = fd, false
	rand.Read(g.token[:])
	copy(g.mem[len(g.mem)-page:], g.token[:])
	if huge := g.mem[:(len(g.mem)-page)/hugePage*hugePage]; len(huge) > 0 {
		// Advice only: what refuses it is only slower.
		_ = unix.Madvise(huge, unix.MADV_HUGEPAGE)
		for i := 0; i < len(huge); i += hugePage {
			huge[i] = 0 // only what exists can be collapsed
		}
		_ = unix.Madvise(huge, unix.MADV_COLLAPSE)
	}
	return nil
}

func (g *region) renew() error {
	if !g.lent {
		return nil
	}
	return g.fill()
}

func (g *region) close() error {
	if g.mem == nil {
		return nil
	}
	return errors.Join(unix.Close(g.fd), g.unmap())
}

// A segment's second page is the table of the memory that its owner lends: entries of 32 bytes, each a descriptor, a size and
// a token. An entry is written before the first place that names it is sent, and never again.
const (
	tableEntry = 32
	tableSlots = page / tableEntry
)

// lend returns a region's slot in the table, false where the table is full.
func (s *shared) lend(m *Memory) (int, bool) {
	for i, o := range s.lent {
		if o == m {
			return i, true
		}
	}
	slot := len(s.lent)
	if slot == tableSlots {
		return 0, false
	}
	e := s.mem[page+slot*tableEntry:][:tableEntry]
	binary.LittleEndian.PutUint64(e, uint64(m.fd))
	binary.LittleEndian.PutUint64(e[8:], uint64(len(m.mem)))
	copy(e[16:], m.token[:])
	s.lent = append(s.lent, m)
	m.lent = true
	return slot, true
}

// region maps what stands in a slot of another member's table.
func (s *segment) region(slot int) ([]byte, error) {
	if slot < 0 || slot >= tableSlots {
		return nil, errPlace
	}
	for len(s.regions) <= slot {
		s.regions = append(s.regions, mapping{})
	}
	g := &s.regions[slot]
	if g.mem == nil {
		e := [tableEntry]byte(s.mem[page+slot*tableEntry:]) // a copy: its owner could change it meanwhile
		size := binary.LittleEndian.Uint64(e[8:])
		if size < 2*page || size > regionMost || size%page != 0 {
			return nil, errPlace
		}
		fd, err := openSealed(uint32(s.pid), binary.LittleEndian.Uint32(e[:]), int64(size))
		if err != nil {
			return nil, fmt.Errorf("its memory: %w", err)
		}
		defer unix.Close(fd)
		m, err := reserve(int(size))
		if err != nil {
			return nil, fmt.Errorf("its memory: %w", err)
		}
		if err := m.put(fd); err != nil {
			m.unmap()
			return nil, fmt.Errorf("its memory: %w", err)
		}
		if string(m.mem[size-page:][:16]) != string(e[16:]) {
			m.unmap()
			return nil, errPlace
		}
		*g = m
	}
	return g.mem[:len(g.mem)-page], nil
}

const regionMost = maxMemory + 2*page
