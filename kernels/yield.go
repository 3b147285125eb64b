package kernels

import (
	"runtime"
	"time"
)

// yields lets Go's scheduler run every few milliseconds. Calls into C do not count as running anything: after 10 ms of a loop that
// only makes such calls, Go's runtime takes each of them for stuck, gives its place away, falls asleep and must be woken by the next
// one. That cost the caller up to 35 µs from call to call, and a thread of the pool its core for 25.
type yields struct{ last time.Time }

func (y *yields) now() {
	const often = 4 * time.Millisecond
	if t := time.Now(); t.Sub(y.last) > often {
		y.last = t
		runtime.Gosched()
	}
}
