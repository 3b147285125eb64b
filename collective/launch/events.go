package launch

import (
	"encoding/json"
	"sync"
)

// header is what the launcher reads of a metrics event.
type header struct {
	Event string `json:"event"`
	Step  int    `json:"step"`
	Epoch int    `json:"epoch"`
	Steps int    `json:"steps"`

	GPU *float64 `json:"gpu_busy"` // of the worker's own device, part of the time
}

// events puts the metrics events of all local workers in one line-up: the first of each kind and step counts. All
// workers may report every step, so that none is missing when the one that reported so far dies.
type events struct {
	mu     sync.Mutex
	newest map[string]int // by kind: the newest step, or epoch
	out    chan []byte
	done   chan struct{}
	closed bool
}

// eventsWaiting is how many events wait for slow sinks before workers do.
const eventsWaiting = 4096

func newEvents(sink func(line []byte)) *events {
	e := &events{newest: map[string]int{}, out: make(chan []byte, eventsWaiting), done: make(chan struct{})}
	go func() {
		defer close(e.done)
		for line := range e.out {
			sink(line)
		}
	}()
	return e
}

// put takes an event of a worker and returns what it says, false where it was said before or is no event.
func (e *events) put(line []byte) (header, bool) {
	var h header
	if json.Unmarshal(line, &h) != nil || h.Event == "" || len(h.Event) > 32 {
		return h, false
	}
	at := h.Step
	if h.Event == "view" {
		at = h.Epoch
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	once := h.Event == "start" || h.Event == "done"
	if last, said := e.newest[h.Event]; said && (once || at <= last) || len(e.newest) > 64 || e.closed {
		return h, false
	}
	e.newest[h.Event] = at
	e.out <- line // waits where sinks are slow
	return h, true
}

// close waits until the sink has heard everything.
func (e *events) close() {
	e.mu.Lock()
	if !e.closed {
		e.closed = true
		close(e.out)
	}
	e.mu.Unlock()
	<-e.done
}
