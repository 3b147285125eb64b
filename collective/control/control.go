// Package control owns the link between a launcher and one of its workers: a socket pair that the worker
// finds through RINGO_CONTROL. The launcher hands out the job's settings, views and the order to stop; the
// worker reports that it is ready, where its ring broke, how far it is, and that it leaves or has finished.
//
// A frame is a 4-byte length, a kind and a payload of at most MaxFrame bytes. Either end's death is an end of
// file at the other: a worker ends with its launcher, and a launcher learns at once that a worker is gone.
// The package must not know how views are agreed on or what workers compute.
package control

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"time"
)

// EnvFD names the environment variable that holds the number of the worker's end of the link.
const EnvFD = "RINGO_CONTROL"

// ErrLost reports that the other end of the link is gone.
var ErrLost = errors.New("control: the link is closed")

// Secret is a key that does not print itself.
type Secret []byte

// String hides the key.
func (Secret) String() string { return "(hidden)" }

// GoString hides the key.
func (Secret) GoString() string { return "(hidden)" }

// LogValue hides the key.
func (Secret) LogValue() slog.Value { return slog.StringValue("(hidden)") }

// Job is what a worker needs to know of its job.
type Job struct {
	Name      string // data sockets of jobs with other names are refused
	Host      string // ID of the host that this worker runs on; equal for workers of one launcher
	Listen    string // address to listen at for other workers, such as "127.0.0.1:0"
	Advertise string // host name or address at which other workers reach it; "" is that of Listen
	Key       Secret // the job's key, 32 bytes
	TLS       bool   // data connections to other hosts are encrypted

	// The user's own certificates, in PEM files; "" means certificates made from the key.
	CertFile, KeyFile, CAFile string

	MinWorkers, MaxWorkers int // a view has this many; 0: no limit
}

// Welcome is the first thing that a launcher tells a worker.
type Welcome struct {
	ID      string // the worker's ID, new at every start
	Local   int    // index among the host's workers, which picks its device
	Locals  int    // number of workers that the host wants
	Restart int    // how often this place's worker was started before
	Job     Job
}

// Stop asks a worker to finish its step and leave.
type Stop struct {
	All    bool // every worker of the host is asked, not this one only
	Reason string
	By     time.Time `json:",omitzero"` // until then it may wait for somebody to hand its state to; zero: it need not
}

// Report is what a worker tells its launcher: *Ready, *Broken, *Progress, *Event, *Leave or *Done.
type Report interface{ report() }

// Ready asks for a place in the next view.
type Ready struct {
	Addr   string // where the worker listens for other workers
	Device string
}

// Broken says that the ring of a view failed.
type Broken struct {
	Epoch uint64
	Peer  string // ID of the worker that could not be reached; "" where unknown
	Err   string
}

// Progress says how far a worker is.
type Progress struct {
	Epoch          uint64
	Step           int // completed steps of the run
	LaneLo, LaneHi int // this worker's lanes
	LanesPerSecond float64
	BytesPerSecond float64 // sent to other workers
	RecoveryMS     float64 // from the break of the last ring to the next completed step; 0: none
	RingMS         float64 // in the first step of a view: since the ring stood
	AgreedMS       float64 // in the first step of a view: since all had one state
}

// Event is one metrics event, a JSON object.
type Event struct{ Line []byte }

// Leave says that a worker goes and needs no replacement.
type Leave struct{ Reason string }

// Done says that the run is finished.
type Done struct{ Result []byte }

func (*Ready) report()    {}
func (*Broken) report()   {}
func (*Progress) report() {}
func (*Event) report()    {}
func (*Leave) report()    {}
func (*Done) report()     {}

// progressSize is the length of an encoded Progress: nine numbers of 8 bytes.
const progressSize = 9 * 8

func (p *Progress) append(dst []byte) []byte {
	for _, v := range [...]uint64{p.Epoch, uint64(p.Step), uint64(p.LaneLo), uint64(p.LaneHi),
		math.Float64bits(p.LanesPerSecond), math.Float64bits(p.BytesPerSecond), math.Float64bits(p.RecoveryMS),
		math.Float64bits(p.RingMS), math.Float64bits(p.AgreedMS)} {
		dst = binary.LittleEndian.AppendUint64(dst, v)
	}
	return dst
}

func (p *Progress) decode(b []byte) error {
	if len(b) != progressSize {
		return fmt.Errorf("control: a progress report of %d bytes, expected %d", len(b), progressSize)
	}
	u := func(i int) uint64 { return binary.LittleEndian.Uint64(b[8*i:]) }
	f := func(i int) float64 { return math.Float64frombits(u(i)) }
	*p = Progress{u(0), int(u(1)), int(u(2)), int(u(3)), f(4), f(5), f(6), f(7), f(8)}
	return nil
}
