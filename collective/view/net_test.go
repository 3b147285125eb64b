package view

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// net is a handful of machines and the messages between them, delivered by hand.
type net struct {
	t     *testing.T
	now   time.Duration
	hosts map[string]*Machine
	order []string
	queue []mail
	cut   func(from, to string) bool
	last  map[string][]Output // of every host's latest inputs
	sent  int
}

type mail struct {
	from, to string
	data     []byte
}

func newNet(t *testing.T) *net {
	return &net{t: t, hosts: map[string]*Machine{}, cut: func(string, string) bool { return false }, last: map[string][]Output{}}
}

func (n *net) add(id string, found bool, change ...func(*Config)) {
	cfg := DefaultConfig(Host{ID: id, Addr: id + ":1"})
	for _, fn := range change {
		fn(&cfg)
	}
	m, err := New(cfg)
	if err != nil {
		panic(err)
	}
	n.hosts[id], n.order = m, append(n.order, id)
	n.step(id, Start{Found: found})
	for _, other := range n.order {
		if other != id {
			n.step(id, Seen{n.hosts[other].cfg.Self})
			n.step(other, Seen{cfg.Self})
		}
	}
}

func (n *net) step(id string, in Input) {
	for _, out := range n.hosts[id].Step(n.now, in) {
		if s, ok := out.(Send); ok {
			n.queue = append(n.queue, mail{id, s.To.ID, s.Data})
			continue
		}
		n.last[id] = append(n.last[id], out)
	}
}

// deliver carries messages until none is left: one round trip after the other, in no time.
func (n *net) deliver() {
	for len(n.queue) > 0 {
		m := n.queue[0]
		n.queue = n.queue[1:]
		n.sent++
		if n.hosts[m.to] != nil && !n.cut(m.from, m.to) {
			n.step(m.to, Message{m.from, m.data})
		}
	}
}

// pass lets time go by.
func (n *net) pass(d time.Duration) {
	for end := n.now + d; n.now < end; {
		n.deliver()
		n.now += 10 * time.Millisecond
		for _, id := range n.order {
			if n.hosts[id] != nil {
				n.step(id, Tick{})
			}
		}
	}
	n.deliver()
}

func (n *net) workers(host string, ids ...string) {
	n.because(host, "", ids...)
}

func (n *net) because(host, reason string, ids ...string) {
	var ws []Worker
	for _, id := range ids {
		ws = append(ws, Worker{ID: id, Addr: id + ":1", Device: "cpu"})
	}
	n.step(host, Workers{ws, reason})
}

// is checks what a host knows: "epoch hosts | workers".
func (n *net) is(host, want string) {
	n.t.Helper()
	v := n.hosts[host].View()
	got := fmt.Sprint(v.Epoch)
	for _, h := range v.Hosts {
		got += " " + h.ID
	}
	got += " |"
	for _, w := range v.Workers {
		got += " " + w.ID
	}
	require.Equal(n.t, want, got, "host %s: %s", host, v.Reason)
}

func three(t *testing.T) *net {
	n := newNet(t)
	n.add("a", true)
	n.add("b", false)
	n.add("c", false)
	n.workers("a", "0", "1")
	n.workers("b", "2")
	n.workers("c", "3")
	n.pass(time.Second)
	n.is("a", "3 a b c | 0 1 2 3") // a alone, then one more host than there were, then the rest
	return n
}
