package view

import (
	"fmt"
	"testing"
	"time"
)

// BenchmarkHeartbeat is the steady state of a host among eight: one known announcement comes in.
func BenchmarkHeartbeat(b *testing.B) {
	n := newNet(nil)
	for i := range 8 {
		n.add(fmt.Sprint("h", i), i == 0)
		n.workers(fmt.Sprint("h", i), fmt.Sprint(i))
	}
	n.pass(time.Second)
	m, from := n.hosts["h0"], n.hosts["h1"]
	from.announceTo(nil, true)
	data := from.wire
	now := n.now
	b.ReportAllocs()
	for b.Loop() {
		now += time.Millisecond
		m.Step(now, Message{"h1", data})
	}
}

// BenchmarkDeath is one host that loses a worker and gets it back: two views.
func BenchmarkDeath(b *testing.B) {
	m, _ := New(DefaultConfig(Host{ID: "a"}))
	all := make([]Worker, 8)
	for i := range all {
		all[i] = Worker{ID: fmt.Sprint(i)}
	}
	m.Step(0, Start{Found: true})
	now := time.Duration(0)
	b.ReportAllocs()
	for b.Loop() {
		m.Step(now, Workers{Workers: all})
		now += m.cfg.Settle
		m.Step(now, Tick{})
		m.Step(now, Workers{Workers: all[1:], Reason: "worker 0 died"})
	}
	if got := len(m.View().Workers); got != 7 {
		b.Fatal(got)
	}
}
