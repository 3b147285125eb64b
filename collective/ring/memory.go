package ring

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unsafe"
)

// Memory is memory that the members of a host map from each other. A call whose vectors lie in such memory on all of its ranks is
// done in place (inplace.go): nothing is copied to be sent.
//
// Its contents last until the next Join on its Listener, which gives it fresh pages of zeros: a worker that was counted out in the
// middle of a call might still write to the old ones. So nobody may use it, and no ring that used it may be open, while Join runs;
// a ring that is joined while an older one is open works without it.
type Memory struct {
	l    *Listener
	size int
	region
}

// maxMemory bounds one Memory, in bytes.
const maxMemory = 1 << 42

// NewMemory maps n bytes of zeros. The error wraps errors.ErrUnsupported where the system has no such memory.
func (l *Listener) NewMemory(n int) (*Memory, error) {
	if n < 1 || n > maxMemory {
		return nil, fmt.Errorf("ring: shared memory of %d bytes, expected 1 to %d", n, maxMemory)
	}
	m := &Memory{l: l, size: n}
	if err := m.open(n); err != nil {
		return nil, fmt.Errorf("ring: shared memory of %d bytes: %w", n, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.memory = append(l.memory, m)
	return m, nil
}

// Bytes are the memory, nil after Close.
func (m *Memory) Bytes() []byte {
	if m.mem == nil {
		return nil
	}
	return m.mem[:m.size:m.size]
}

// Close unmaps the memory here; others keep what they have mapped until they leave their rings.
func (m *Memory) Close() error {
	m.l.mu.Lock()
	defer m.l.mu.Unlock()
	for i, o := range m.l.memory {
		if o == m {
			m.l.memory = append(m.l.memory[:i], m.l.memory[i+1:]...)
			break
		}
	}
	return m.close()
}

// borrow makes a ring the one that uses the listener's memory, if no other does, on pages that nobody else has. The
// caller holds mu.
func (l *Listener) borrow(r *Ring) error {
	if l.borrower != nil || r.shm == nil {
		return nil
	}
	for _, m := range l.memory {
		if err := m.renew(); err != nil {
			return fmt.Errorf("ring: fresh pages for shared memory of %d bytes: %w", m.size, err)
		}
	}
	l.borrower = r
	return nil
}

// place says where a vector lies for the other members of the host: a slot of this process's table (shared_linux.go) and an offset.
// The top bit is set, so that no place is 0.
type place uint64

const (
	placeSlot   = 48
	placeOffset = 1<<placeSlot - 1
	placeSet    = 1 << 63
)

// locate finds a vector in the listener's memory, false where others cannot reach it.
func (r *Ring) locate(b []byte) (place, bool) {
	if r.shm == nil || len(b) == 0 {
		return 0, false
	}
	r.lst.mu.Lock()
	defer r.lst.mu.Unlock()
	if r.lst.borrower != r || r.lst.unmappable {
		return 0, false
	}
	at := uintptr(unsafe.Pointer(unsafe.SliceData(b)))
	for _, m := range r.lst.memory {
		base := uintptr(unsafe.Pointer(unsafe.SliceData(m.mem)))
		if at < base || at+uintptr(len(b)) > base+uintptr(m.size) {
			continue
		}
		slot, ok := r.shm.lend(m)
		return placeSet | place(slot)<<placeSlot | place(at-base), ok
	}
	return 0, false
}

// errPlace is what a place that no member can have means.
var errPlace = errors.New("names memory that it does not have")

// vector is what lies at a place of a peer's memory.
func (p *peer) vector(at place, bytes, align int) ([]byte, error) {
	mem, err := p.remote.region(int(at &^ placeSet >> placeSlot))
	offset := int(at & placeOffset)
	switch {
	case err != nil:
		return nil, err
	case offset%align != 0 || offset > len(mem) || bytes > len(mem)-offset:
		return nil, errPlace
	}
	return mem[offset : offset+bytes : offset+bytes], nil
}

func appendPlace(b []byte, p place) []byte { return binary.BigEndian.AppendUint64(b, uint64(p)) }
func placeAt(b []byte, i int) place        { return place(binary.BigEndian.Uint64(b[8*i:])) }
