package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"

	"ringo/collective/view"
)

// Link is the launcher's end of the link to one worker. SetView and Stop never wait, however slow the worker
// is; Receive belongs to one goroutine.
type Link struct {
	conn net.Conn
	in   reader
	said bool // the worker's hello was heard

	mu     sync.Mutex
	view   *view.View // newest that was not sent yet
	stop   *Stop
	pause  *bool
	wake   chan struct{} // has room for one
	closed chan struct{}
	once   sync.Once
}

// NewLink returns the launcher's end of a new link and the file that the worker inherits: as
// exec.Cmd.ExtraFiles[0] it is file 3, which EnvFD must name. Close theirs once the worker runs, so that the
// worker's death is seen here.
func NewLink(w Welcome) (l *Link, theirs *os.File, err error) {
	text, err := json.Marshal(w)
	if err != nil {
		return nil, nil, err
	}
	first, err := appendFrame(nil, kindHello, hello())
	if err == nil {
		first, err = appendFrame(first, kindWelcome, text)
	}
	if err != nil {
		return nil, nil, err
	}
	conn, theirs, err := pair()
	if err != nil {
		return nil, nil, fmt.Errorf("control: %w", err)
	}
	l = &Link{conn: conn, in: reader{r: conn}, wake: make(chan struct{}, 1), closed: make(chan struct{})}
	go l.write(first)
	return l, theirs, nil
}

// SetView hands the worker a view. Where several wait to be sent, only the newest is.
func (l *Link) SetView(v view.View) {
	l.mu.Lock()
	l.view = &v
	l.mu.Unlock()
	l.poke()
}

// Stop asks the worker to finish its step and leave.
func (l *Link) Stop(s Stop) {
	l.mu.Lock()
	l.stop = &s
	l.mu.Unlock()
	l.poke()
}

// Pause holds the worker at its next step (Client.Gate), or lets it go on.
func (l *Link) Pause(on bool) {
	l.mu.Lock()
	l.pause = &on
	l.mu.Unlock()
	l.poke()
}

func (l *Link) poke() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// write sends what is pending. A worker that does not read blocks only this goroutine, until Close.
func (l *Link) write(buf []byte) {
	for {
		if len(buf) > 0 {
			if _, err := l.conn.Write(buf); err != nil {
				return // Receive sees the end too
			}
		}
		select {
		case <-l.wake:
		case <-l.closed:
			return
		}
		buf = l.pending(buf[:0])
	}
}

func (l *Link) pending(buf []byte) []byte {
	l.mu.Lock()
	v, s, p := l.view, l.stop, l.pause
	l.view, l.stop, l.pause = nil, nil, nil
	l.mu.Unlock()
	add := func(k kind, x any) {
		text, err := json.Marshal(x)
		if err == nil {
			buf, err = appendFrame(buf, k, text)
		}
		if err != nil {
			l.Close() // a view that cannot be sent: the worker is of no use
		}
	}
	if s != nil {
		add(kindStop, s)
	}
	if p != nil {
		on := byte(0)
		if *p {
			on = 1
		}
		buf, _ = appendFrame(buf, kindPause, []byte{on}) // one byte always fits
	}
	if v != nil {
		add(kindView, v)
	}
	return buf
}

// Receive waits for the worker's next report. An error is final: the worker is gone, or talks nonsense.
func (l *Link) Receive() (Report, error) {
	if !l.said {
		k, b, err := l.in.next()
		if err == nil {
			err = checkHello(k, b)
		}
		if err != nil {
			return nil, err
		}
		l.said = true
	}
	k, b, err := l.in.next()
	if err != nil {
		return nil, err
	}
	return decode(k, b)
}

// decode reads a worker's frame. What it returns does not refer to b.
func decode(k kind, b []byte) (Report, error) {
	var r Report
	var err error
	switch k {
	case kindReady:
		m := new(Ready)
		r, err = m, json.Unmarshal(b, m)
		if err == nil && (m.Addr == "" || len(m.Addr) > maxReason || len(m.Device) > maxReason) {
			err = errors.New("an address must be given, and be short")
		}
	case kindBroken:
		m := new(Broken)
		r, err = m, json.Unmarshal(b, m)
		m.Err = shorten(m.Err)
	case kindProgress:
		m := new(Progress)
		r, err = m, m.decode(b)
	case kindEvent:
		r = &Event{append([]byte(nil), b...)}
	case kindLeave:
		m := new(Leave)
		r, err = m, json.Unmarshal(b, m)
		m.Reason = shorten(m.Reason)
	case kindDone:
		r = &Done{append([]byte(nil), b...)}
	default:
		return nil, fmt.Errorf("control: a worker does not send %v frames", k)
	}
	if err != nil {
		return nil, fmt.Errorf("control: a %v report that cannot be read: %w", k, err)
	}
	return r, nil
}

// Close ends the link; Receive returns an error from then on.
func (l *Link) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.conn.Close()
}
