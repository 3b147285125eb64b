package sim

import "time"

// event is something that happens at a virtual time; events of one time happen in the order in which they were made.
type event struct {
	at  time.Duration
	seq uint64
	run func()
}

// queue is a binary heap of events.
type queue struct {
	now  time.Duration
	made uint64
	heap []event
}

func (e event) before(o event) bool { return e.at < o.at || e.at == o.at && e.seq < o.seq }

// after plans an event.
func (q *queue) after(d time.Duration, run func()) {
	q.made++
	q.heap = append(q.heap, event{q.now + max(d, 0), q.made, run})
	for i := len(q.heap) - 1; i > 0; {
		up := (i - 1) / 2
		if !q.heap[i].before(q.heap[up]) {
			break
		}
		q.heap[i], q.heap[up] = q.heap[up], q.heap[i]
		i = up
	}
}

// next moves the time to the first event and runs it, or returns false where none is left.
func (q *queue) next() bool {
	n := len(q.heap) - 1
	if n < 0 {
		return false
	}
	e := q.heap[0]
	q.heap[0] = q.heap[n]
	q.heap[n] = event{}
	q.heap = q.heap[:n]
	for i := 0; ; {
		least := i
		for c := 2*i + 1; c <= 2*i+2 && c < n; c++ {
			if q.heap[c].before(q.heap[least]) {
				least = c
			}
		}
		if least == i {
			break
		}
		q.heap[i], q.heap[least] = q.heap[least], q.heap[i]
		i = least
	}
	q.now = e.at
	e.run()
	return true
}
