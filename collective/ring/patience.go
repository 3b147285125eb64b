package ring

import (
	"fmt"
	"time"
)

// minProgress is how many bytes an operation must move in every timeout that it waits, to count as going on: less, as from a member
// that sends a byte now and then, would keep all others for hours.
const minProgress = 64 << 10

// patience is how long an operation has waited while it moved next to nothing. Only time in waits counts, and of each only so much, so that a
// process that was itself frozen blames nobody when it wakes up.
type patience struct {
	waited time.Duration
	moved  uint64 // the ring's counters when waited began
}

// wait blocks until something may have changed, or the ring is over.
func (r *Ring) wait(token uint32, p *patience, on *interests) error {
	if err := r.failure(); err != nil {
		return err
	}
	r.waiting.Store(int32(on.rank))
	start := time.Now()
	on.block(r.bell, token, r.opt.Timeout/8, r.spin)
	spent := time.Since(start)
	r.stats.waited.Add(int64(spent))
	if err := r.failure(); err != nil {
		return err
	}
	if moved := r.stats.sent.Load() + r.stats.received.Load(); p.waited == 0 || moved-p.moved >= minProgress {
		*p = patience{moved: moved}
	}
	if p.waited += min(spent, r.opt.Timeout/4); p.waited > r.opt.Timeout {
		return r.stuck(on.rank, p.waited)
	}
	return nil
}

// stuck decides about a peer that moved next to nothing for a timeout though its keepalives come (those that stop are noticed in
// tend). It follows who waits for whom. Where that leads to one that is busy outside of this call, all wait for it. A peer
// that is in the call and waits for nobody else is to blame after a timeout in that state. Should all wait in a circle, or whom they wait for
// change all the time, four timeouts in the call end it, six where others stand between: those know better.
func (r *Ring) stuck(rank int, waited time.Duration) error {
	limit, most := r.opt.Timeout, 4*r.opt.Timeout
	at, still, inside := rank, waited, waited
	for range r.Size() {
		p := r.peer[at]
		if !p.busy.Load() || p.seq.Load() < r.seq.Load() {
			return nil
		}
		now := time.Since(start)
		still = min(still, now-time.Duration(p.changed.Load()))
		inside = min(inside, now-time.Duration(p.entered.Load()))
		third := int(p.waiting.Load())
		if third < 0 || third >= r.Size() || third == r.self {
			break
		}
		at, limit, most = third, 4*r.opt.Timeout, 6*r.opt.Timeout
	}
	switch {
	case still >= limit:
	case inside >= most:
		rank = at
	default:
		return nil
	}
	return r.blame(rank, fmt.Errorf("moved less than %d bytes in %v though both are in call %d", minProgress, waited.Round(time.Millisecond), r.seq.Load()))
}
