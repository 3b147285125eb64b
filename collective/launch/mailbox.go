package launch

import "sync"

// maxWaiting bounds what waits for the loop; beyond it, what others sent is dropped (messages between hosts may be
// lost anyway).
const maxWaiting = 1 << 14

// mailbox carries work to the loop. post never waits, from any goroutine.
type mailbox struct {
	mu    sync.Mutex
	queue []func()
	ready chan struct{} // has room for one
}

func newMailbox() *mailbox { return &mailbox{ready: make(chan struct{}, 1)} }

func (m *mailbox) post(f func()) {
	m.mu.Lock()
	m.queue = append(m.queue, f)
	m.mu.Unlock()
	select {
	case m.ready <- struct{}{}:
	default:
	}
}

// offer posts what may be lost.
func (m *mailbox) offer(f func()) {
	m.mu.Lock()
	full := len(m.queue) >= maxWaiting
	m.mu.Unlock()
	if !full {
		m.post(f)
	}
}

func (m *mailbox) take() []func() {
	m.mu.Lock()
	defer m.mu.Unlock()
	q := m.queue
	m.queue = nil
	return q
}
