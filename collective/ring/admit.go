package ring

import (
	"fmt"
	"time"
)

// find returns the ring that a hello is for. A view that this process was not handed yet is waited for, as views
// reach members one after the other.
func (l *Listener) find(h *hello) (*Ring, error) {
	end := time.NewTimer(l.opt.Handshake)
	defer end.Stop()
	for {
		l.mu.Lock()
		r, newest, changed, closed := l.rings[h.epoch], l.newest, l.changed, l.closed
		l.mu.Unlock()
		switch {
		case closed:
			return nil, ErrClosed
		case r != nil:
			return r, nil
		case h.epoch <= newest:
			return nil, fmt.Errorf("epoch %d is over, this process is in epoch %d", h.epoch, newest)
		}
		select {
		case <-changed:
		case <-end.C:
			return nil, fmt.Errorf("epoch %d is not known here, this process is in epoch %d", h.epoch, newest)
		}
	}
}

// admit checks a hello against the view.
func (r *Ring) admit(h *hello, secure bool) error {
	from, to := int(h.from), int(h.to)
	switch {
	case h.job != r.opt.Job:
		return fmt.Errorf("job %q, expected %q", h.job, r.opt.Job)
	case to != r.self || from <= r.self || from >= r.Size() || r.opt.Members[from].ID != h.id:
		return fmt.Errorf("%q as rank %d calls rank %d, which is not so in epoch %d here", h.id, from, to, h.epoch)
	case h.digest != r.opt.digest():
		return fmt.Errorf("member %q has other members or options for epoch %d", h.id, h.epoch)
	case !secure && !r.opt.sameHost(from, to):
		return fmt.Errorf("member %q of another host came without TLS", h.id)
	}
	return nil
}
