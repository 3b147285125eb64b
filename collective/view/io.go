package view

import (
	"fmt"
	"math"
	"time"
)

// Input is one thing that happened, handed to Machine.Step: Start, Message, Tick, Workers, Broken, Seen, Lost or Leave.
type Input interface{ input() }

type (
	// Start is the first input. With Found the host begins a new job as its only member (decided at once, epoch 1).
	// Without, it asks hosts that it knows (Seen) to take it into their next view, until one does.
	Start struct{ Found bool }

	// Message is what another host's Send carried. From is the sender's Host.ID as the transport knows it; a message
	// that names another sender is refused. Messages may be lost, delayed, repeated and reordered.
	Message struct {
		From string
		Data []byte // not kept
	}

	// Tick tells the time, due at the newest Wake. Any input does the same.
	Tick struct{}

	// Workers is the full list of this host's workers that are alive and listening, in ring order; Reason says what
	// changed ("worker 2 died (signal: killed)"). Host is filled in. A worker missing from the list has ended: it
	// never acts again. Speeds may be updated at any time.
	Workers struct {
		Workers []Worker
		Reason  string
	}

	// Broken reports that a local worker gave up the collective of an epoch because of a peer (either may be empty).
	// Unless a death explains it within Config.BrokenWait, the same members get a new epoch to retry in. A peer that
	// is named first in Config.Strikes epochs in a row is left out for Config.Penalty.
	Broken struct {
		Epoch        uint64
		Worker, Peer string // Worker.ID
		Reason       string
	}

	// Seen says that gossip knows a host. A host outside the view asks all hosts it has seen to let it in.
	Seen struct{ Host Host }

	// Lost says that gossip, or a broken connection, declared a host dead; it counts until a message from it arrives.
	Lost struct{ ID string }

	// Leave asks to be left out of the next view, with all workers. Left follows once that is agreed and known to
	// others, or after Config.LeaveWait; then the process may end.
	Leave struct{}
)

func (Start) input()   {}
func (Message) input() {}
func (Tick) input()    {}
func (Workers) input() {}
func (Broken) input()  {}
func (Seen) input()    {}
func (Lost) input()    {}
func (Leave) input()   {}

// Output is one thing to do, in order: Send, Decided, Standing, Left, Refused or Wake.
type Output interface{ output() }

type (
	// Send is a message to a host, best effort. Data is shared between Sends and must not be changed.
	Send struct {
		To    Host
		Data  []byte
		Lossy bool // repeated anyway (a heartbeat): a datagram will do
	}

	// Decided is a newer view: act on it. Epochs rise, with gaps where this host missed some. A worker acts in the
	// newest view handed to it and in no other; a view that lacks it means: stop, keep the state, wait.
	Decided struct{ View View }

	// Standing tells how this host stands to the job; sent when State changes.
	Standing struct {
		State  State
		Reason string // a sentence: "2 of 5 hosts answer, 3 must"
	}

	// Left means that this host is out and may end. Nothing follows.
	Left struct{ Reason string }

	// Refused is a message that was dropped, for the log.
	Refused struct {
		From string
		Err  error
	}

	// Wake is the last output of every Step: call Step(…, Tick{}) at this time if nothing happens before.
	Wake struct{ At time.Duration }
)

func (Send) output()     {}
func (Decided) output()  {}
func (Standing) output() {}
func (Left) output()     {}
func (Refused) output()  {}
func (Wake) output()     {}

// State is how a host stands to its job.
type State int

// The states of a host. Workers may step only while their host is a Member.
const (
	Joining State = iota // in no view yet, or no longer: asks to be let in
	Member               // in the newest view it knows, and hears a quorum of it
	Waiting              // in the newest view it knows, but hears too few hosts, or View.Guard holds: its workers pause
	Leaving              // asked to leave
	Gone                 // left
)

// String returns the state's name in lower case.
func (s State) String() string {
	if s < Joining || s > Gone {
		return fmt.Sprintf("State(%d)", int(s))
	}
	return [...]string{"joining", "member", "waiting", "leaving", "gone"}[s]
}

// Config is what a Machine needs to know. DefaultConfig gives every duration a value.
type Config struct {
	Self       Host
	MinWorkers int // a view has at least so many workers, or none; 0 means 1
	MaxWorkers int // and at most so many, the senior ones; 0 means MaxWorkers of this package

	Heartbeat  time.Duration // between announcements to all hosts; longer where there are many (see Interval)
	LostAfter  time.Duration // a host not heard for so long is left out of the next view
	Settle     time.Duration // how long joins wait for more joins; deaths never wait
	BrokenWait time.Duration // how long a broken epoch waits for the death that explains it
	Retry      time.Duration // until an unanswered proposal is sent again, and the unit of back-off
	LeaveWait  time.Duration // the longest a leaving host stays
	Strikes    int           // epochs in a row in which a worker is named first until it is left out
	Penalty    time.Duration // for how long
	Seed       uint64        // of the back-off's random numbers

	rules rules // where safety is decided; replaced only by this package's tests
}

// DefaultConfig returns the settings used on real networks.
func DefaultConfig(self Host) Config {
	return Config{
		Self: self, MinWorkers: 1, MaxWorkers: MaxWorkers,
		Heartbeat: 250 * time.Millisecond, LostAfter: 2 * time.Second, Settle: 100 * time.Millisecond,
		BrokenWait: 300 * time.Millisecond, Retry: 200 * time.Millisecond, LeaveWait: 5 * time.Second,
		Strikes: 3, Penalty: 30 * time.Second,
	}
}

// Validate returns an error that names the first setting that makes no sense.
func (c Config) Validate() error {
	if err := c.Self.validate(); err != nil {
		return fmt.Errorf("view: %w", err)
	}
	if c.MinWorkers < 0 || c.MaxWorkers < 0 || c.MaxWorkers > MaxWorkers || c.MaxWorkers > 0 && c.MinWorkers > c.MaxWorkers {
		return fmt.Errorf("view: %d to %d workers, expected 0 ≤ least ≤ most ≤ %d", c.MinWorkers, c.MaxWorkers, MaxWorkers)
	}
	for _, d := range []struct {
		name  string
		value time.Duration
	}{{"heartbeat", c.Heartbeat}, {"lost after", c.LostAfter}, {"retry", c.Retry}, {"leave wait", c.LeaveWait}} {
		if d.value <= 0 {
			return fmt.Errorf("view: %s is %v, expected more than 0", d.name, d.value)
		}
	}
	// A fenced host must have paused before others may count its workers out (docs/views.md, "Fences").
	if c.LostAfter < 4*c.Heartbeat {
		return fmt.Errorf("view: hosts are lost after %v, expected at least four heartbeats of %v", c.LostAfter, c.Heartbeat)
	}
	if c.Settle < 0 || c.BrokenWait < 0 || c.Penalty < 0 || c.Strikes < 0 {
		return fmt.Errorf("view: settle %v, broken wait %v, penalty %v, strikes %d: none may be negative", c.Settle, c.BrokenWait, c.Penalty, c.Strikes)
	}
	return nil
}

// hostsPerHeartbeat is the number of hosts above which heartbeats slow down: every host writes to every other one, so
// with n hosts each sends n/Interval messages a second, at most hostsPerHeartbeat/Heartbeat.
const hostsPerHeartbeat = 16

// Interval returns the time between heartbeats and the time after which a host is lost, in a view of n hosts.
func (c Config) Interval(n int) (heartbeat, lostAfter time.Duration) {
	scale := math.Max(1, float64(n)/hostsPerHeartbeat)
	return time.Duration(float64(c.Heartbeat) * scale), time.Duration(float64(c.LostAfter) * scale)
}
