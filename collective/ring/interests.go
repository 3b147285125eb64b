package ring

import "time"

// interests are what an operation waits for: descriptors to poll, or, where there are none, the ring's bell.
type interests struct {
	rank int // whom it waits for, −1 for nobody
	poll pollSet
}

func (on *interests) reset() {
	on.rank = -1
	on.poll.reset()
}

// add notes that a stream to a rank cannot go on with receiving, or sending, right now.
func (on *interests) add(rank int, l link, receive, send bool) {
	if on.rank < 0 || receive && !send {
		on.rank = rank
	}
	in, out := l.fds()
	if receive && in >= 0 {
		on.poll.add(in, true)
	}
	if send && out >= 0 {
		on.poll.add(out, false)
	}
}

func (on *interests) block(b bell, token uint32, d, spin time.Duration) {
	if !on.poll.wait(d, spin) {
		b.wait(token, d)
	}
}

// spinFor is about what a sleep and a wake-up cost, in virtual machines above all; longer would take a processor from those
// who have work.
const spinFor = 30 * time.Microsecond
