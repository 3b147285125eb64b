package ring

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"
)

// Messages on a control connection: kind (1), text length (2), rank (4), seq (8), flags (1), text.
const (
	msgAlive = iota + 1 // a keepalive: seq, whether inside a call, whom it waits for
	msgAbort            // the ring is over because of rank, or was ended on purpose where rank is −1
	msgBye              // the sender is done with this ring
)

const (
	messageHead = 16
	messageText = 400 // at most
)

type message struct {
	kind uint8
	rank int32
	seq  uint64
	busy bool
	text string
}

func (m *message) encode() []byte {
	text := m.text[:min(len(m.text), messageText)]
	b := make([]byte, messageHead, messageHead+len(text))
	b[0] = m.kind
	binary.BigEndian.PutUint16(b[1:], uint16(len(text)))
	binary.BigEndian.PutUint32(b[3:], uint32(m.rank))
	binary.BigEndian.PutUint64(b[7:], m.seq)
	if m.busy {
		b[15] = 1
	}
	return append(b, text...)
}

// readMessage reads one message of at most messageHead+messageText bytes. scratch holds that many.
func readMessage(r io.Reader, scratch []byte) (message, error) {
	head := scratch[:messageHead]
	if _, err := io.ReadFull(r, head); err != nil {
		return message{}, lost(err)
	}
	m := message{kind: head[0], rank: int32(binary.BigEndian.Uint32(head[3:])), seq: binary.BigEndian.Uint64(head[7:]), busy: head[15] == 1}
	n := int(binary.BigEndian.Uint16(head[1:]))
	if m.kind < msgAlive || m.kind > msgBye || n > messageText || head[15] > 1 {
		return message{}, fmt.Errorf("control message of kind %d with %d bytes of text, which no member sends", m.kind, n)
	}
	if n > 0 {
		if _, err := io.ReadFull(r, scratch[:n]); err != nil {
			return message{}, lost(err)
		}
		m.text = string(scratch[:n])
	}
	return m, nil
}

// say sends a message, waiting at most a moment: control connections carry little, and one that is full belongs to a
// peer that does not read.
func (p *peer) say(m message) error {
	if p.control == nil {
		return nil
	}
	p.wmu.Lock()
	defer p.wmu.Unlock()
	p.control.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
	_, err := p.control.Write(m.encode())
	return err
}

// listen reads a peer's control connection until it ends. Its end without a goodbye is the fast signal that
// the peer's process is gone.
func (r *Ring) listen(p *peer) {
	defer r.workers.Done()
	scratch := make([]byte, messageHead+messageText)
	for {
		m, err := readMessage(p.control, scratch)
		if err != nil {
			if !p.left.Load() && r.failure() == nil {
				r.blame(p.rank, err)
			}
			p.left.Store(true)
			r.bell.ring()
			return
		}
		p.heard.Store(int64(time.Since(start)))
		switch m.kind {
		case msgAlive:
			if p.seq.Load() != m.seq || p.busy.Load() != m.busy || p.waiting.Load() != m.rank {
				p.changed.Store(p.heard.Load()) // first: who sees the new state must see its time
			}
			if p.seq.Load() != m.seq || p.busy.Load() != m.busy {
				p.entered.Store(p.heard.Load())
			}
			p.seq.Store(m.seq)
			p.busy.Store(m.busy)
			p.waiting.Store(m.rank)
		case msgBye:
			p.left.Store(true)
			r.bell.ring()
		case msgAbort:
			r.told(p, m)
		}
	}
}

// told ends the ring because a peer ended it.
func (r *Ring) told(p *peer, m message) {
	culprit := int(m.rank)
	switch {
	case culprit == p.rank || culprit < 0 || culprit >= r.Size():
		r.fail(fmt.Errorf("%w by %q: %s", ErrAborted, p.member.ID, m.text), nobody, false)
	case culprit == r.self:
		r.fail(fmt.Errorf("%w by %q, which gave up on this process: %s", ErrAborted, p.member.ID, m.text), nobody, false)
	default:
		r.fail(&PeerError{Peer: r.opt.Members[culprit].ID, Rank: culprit, Via: p.member.ID, Err: errors.New(m.text)}, culprit, false)
	}
}

// start anchors monotonic times that fit an atomic.
var start = time.Now()

// tend sends keepalives and notices peers that sent none for a whole timeout: half-open connections, frozen
// processes, cut cables.
func (r *Ring) tend() {
	defer r.workers.Done()
	tick := time.NewTicker(r.opt.Timeout / 5)
	defer tick.Stop()
	for {
		select {
		case <-r.over:
			return
		case <-tick.C:
		}
		alive := message{kind: msgAlive, rank: r.waiting.Load(), seq: r.seq.Load(), busy: r.busy.Load()}
		for _, p := range r.peer {
			if p == nil || p.left.Load() {
				continue
			}
			p.say(alive)
			if quiet := time.Since(start) - time.Duration(p.heard.Load()); quiet > r.opt.Timeout {
				r.blame(p.rank, fmt.Errorf("silent for %v, expected a keepalive every %v", quiet.Round(time.Millisecond), r.opt.Timeout/5))
				return
			}
		}
	}
}
