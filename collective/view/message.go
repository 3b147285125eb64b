package view

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// version is the first byte of every message; a host refuses others than its own.
const version = 1

type kind uint8

const (
	announce kind = iota + 1 // I am here, know this epoch, have these workers; heartbeat and request at once
	prepare                  // phase 1a: promise not to take part in lower ballots
	promise                  // phase 1b: promised; the value accepted at the highest ballot, if any
	accept                   // phase 2a: accept this value
	accepted                 // phase 2b: accepted
	reject                   // 1b or 2b: a higher ballot was promised
	decided                  // this view is decided
	kinds
)

// ballot orders the proposals of one instance: round<<ballotBits | place of the proposer in the voting view. 0 is none.
type ballot uint64

const (
	ballotBits = 10 // MaxHosts places
	maxRound   = 1 << 32
)

func newBallot(round uint64, place int) ballot { return ballot(round<<ballotBits | uint64(place)) }
func (b ballot) round() uint64                 { return uint64(b >> ballotBits) }
func (b ballot) place() int                    { return int(b & (MaxHosts - 1)) }

// announcement is what a host says about itself. Seq rises with every change, so that a late one is known as such.
type announcement struct {
	Seq     uint64
	Leaving bool
	Note    string // why its list of workers last changed
	Broken  broken
	Workers []Worker // Host is the sender
}

// broken is a complaint about an epoch; the zero value is none.
type broken struct {
	Epoch        uint64
	Worker, Peer string
	Reason       string
}

// message is one message of the protocol, decoded. Epoch is the newest known one in announce and decided, and the one
// to be decided in all others.
type message struct {
	kind    kind
	founder string
	from    Host
	epoch   uint64
	quorate bool   // announce: the sender hears a quorum
	ballot  ballot // all but announce and decided
	at      ballot // promise: where value was accepted; reject: what was promised
	value   View   // promise (if at > 0), accept, decided
	news    announcement
}

// Layout: version, kind, founder, sender (ID, address, witness), epoch, then by kind. Integers are unsigned varints,
// strings have their length before them.
func (msg *message) encode() []byte {
	b := make([]byte, 0, 96+64*(len(msg.news.Workers)+len(msg.value.Workers)+len(msg.value.Hosts)))
	b = append(b, version, byte(msg.kind))
	b = putString(b, msg.founder)
	b = putHost(b, msg.from)
	b = binary.AppendUvarint(b, msg.epoch)
	switch msg.kind {
	case announce:
		b = putBool(b, msg.quorate)
		b = putAnnouncement(b, msg.news)
	case decided:
		b = putView(b, msg.value)
	default:
		b = binary.AppendUvarint(b, uint64(msg.ballot))
		if msg.kind == promise || msg.kind == reject {
			b = binary.AppendUvarint(b, uint64(msg.at))
		}
		if msg.kind == accept || msg.kind == promise && msg.at > 0 {
			b = putView(b, msg.value)
		}
	}
	return b
}

func putString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func putBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}

func putHost(b []byte, h Host) []byte {
	return putBool(putString(putString(b, h.ID), h.Addr), h.Witness)
}

func putWorker(b []byte, w Worker) []byte {
	b = putString(putString(putString(b, w.ID), w.Addr), w.Device)
	return binary.LittleEndian.AppendUint64(b, math.Float64bits(w.Speed))
}

func putAnnouncement(b []byte, a announcement) []byte {
	b = binary.AppendUvarint(b, a.Seq)
	b = putBool(b, a.Leaving)
	b = putString(b, a.Note)
	b = binary.AppendUvarint(b, a.Broken.Epoch)
	b = putString(putString(putString(b, a.Broken.Worker), a.Broken.Peer), a.Broken.Reason)
	b = binary.AppendUvarint(b, uint64(len(a.Workers)))
	for _, w := range a.Workers {
		b = putWorker(b, w)
	}
	return b
}

func putView(b []byte, v View) []byte {
	b = binary.AppendUvarint(b, v.Epoch)
	b = putBool(putString(putString(b, v.Founder), v.Reason), v.Guard)
	b = binary.AppendUvarint(b, uint64(len(v.Hosts)))
	for _, h := range v.Hosts {
		b = putHost(b, h)
	}
	b = binary.AppendUvarint(b, uint64(len(v.Workers)))
	for _, w := range v.Workers {
		b = putString(putWorker(b, w), w.Host)
	}
	return b
}

// decode reads a message, or says what is wrong with it. It takes no more memory than a small multiple of len(data).
func decode(data []byte) (msg message, err error) {
	if len(data) > MaxMessage {
		return msg, fmt.Errorf("message has %d bytes, at most %d are allowed", len(data), MaxMessage)
	}
	if len(data) < 2 {
		return msg, errors.New("message is shorter than its version and kind")
	}
	if data[0] != version {
		return msg, fmt.Errorf("message of protocol version %d, this host speaks %d: run the same ringo everywhere", data[0], version)
	}
	msg.kind = kind(data[1])
	if msg.kind == 0 || msg.kind >= kinds {
		return msg, fmt.Errorf("message of unknown kind %d", data[1])
	}
	d := decoder{data: data[2:]}
	msg.founder = d.string(MaxName)
	msg.from = d.host()
	msg.epoch = d.uvarint()
	switch msg.kind {
	case announce:
		msg.quorate = d.bool()
		msg.news = d.announcement(msg.from.ID)
	case decided:
		msg.value = d.view()
		d.check(msg.value.Epoch == msg.epoch, "a view of another epoch than the message's")
	default:
		msg.ballot = ballot(d.uvarint())
		if msg.kind == promise || msg.kind == reject {
			msg.at = ballot(d.uvarint())
		}
		if msg.kind == accept || msg.kind == promise && msg.at > 0 {
			msg.value = d.view()
			d.check(msg.value.Epoch == msg.epoch, "a view of another epoch than the message's")
		}
		d.check(msg.ballot.round() > 0 && msg.ballot.round() < maxRound && msg.at.round() < maxRound, "a ballot out of range")
	}
	d.check(len(d.data) == 0, "bytes behind its end")
	if d.err == nil {
		d.err = msg.from.validate()
	}
	return msg, d.err
}

// decoder takes values off data; after the first error all values are zero.
type decoder struct {
	data []byte
	err  error
}

func (d *decoder) check(ok bool, what string) {
	if !ok && d.err == nil {
		d.err = fmt.Errorf("malformed message: %s", what)
		d.data = nil
	}
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.data)
	d.check(n > 0, "a number is cut off or too long")
	if d.err != nil {
		return 0
	}
	d.data = d.data[n:]
	return v
}

func (d *decoder) take(n int) []byte {
	d.check(n <= len(d.data), "it is cut off")
	if d.err != nil {
		return make([]byte, n)
	}
	b := d.data[:n]
	d.data = d.data[n:]
	return b
}

func (d *decoder) bool() bool {
	b := d.take(1)[0]
	d.check(b <= 1, "a flag that is neither 0 nor 1")
	return b == 1
}

func (d *decoder) string(most int) string {
	n := d.uvarint()
	d.check(n <= uint64(most), "a text longer than allowed")
	if d.err != nil {
		return ""
	}
	return string(d.take(int(n)))
}

// count reads the length of a list whose elements have at least size bytes each.
func (d *decoder) count(most, size int) int {
	n := d.uvarint()
	d.check(n <= uint64(most) && n*uint64(size) <= uint64(len(d.data)), "a list longer than allowed or than the message")
	if d.err != nil {
		return 0
	}
	return int(n)
}

func (d *decoder) host() Host {
	return Host{ID: d.string(MaxName), Addr: d.string(MaxName), Witness: d.bool()}
}

func (d *decoder) worker() Worker {
	w := Worker{ID: d.string(MaxName), Addr: d.string(MaxName), Device: d.string(MaxName)}
	w.Speed = math.Float64frombits(binary.LittleEndian.Uint64(d.take(8)))
	return w
}

func (d *decoder) announcement(host string) (a announcement) {
	a.Seq, a.Leaving, a.Note = d.uvarint(), d.bool(), d.string(MaxReason)
	a.Broken = broken{Epoch: d.uvarint(), Worker: d.string(MaxName), Peer: d.string(MaxName), Reason: d.string(MaxReason)}
	a.Workers = make([]Worker, d.count(MaxWorkers, 11))
	for i := range a.Workers {
		a.Workers[i] = d.worker()
		a.Workers[i].Host = host
		if err := a.Workers[i].validate(); err != nil && d.err == nil {
			d.err = err
		}
	}
	return a
}

func (d *decoder) view() (v View) {
	v.Epoch, v.Founder, v.Reason, v.Guard = d.uvarint(), d.string(MaxName), d.string(MaxReason), d.bool()
	v.Hosts = make([]Host, d.count(MaxHosts, 3))
	for i := range v.Hosts {
		v.Hosts[i] = d.host()
	}
	v.Workers = make([]Worker, d.count(MaxWorkers, 12))
	for i := range v.Workers {
		v.Workers[i] = d.worker()
		v.Workers[i].Host = d.string(MaxName)
	}
	if d.err == nil {
		d.err = v.Validate()
	}
	return v
}
