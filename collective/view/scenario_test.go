package view

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A worker's death on the only host is a new view before Step returns; no message is needed.
func TestOneHostDecidesAlone(t *testing.T) {
	t.Parallel()
	n := newNet(t)
	n.add("a", true)
	n.workers("a", "0", "1", "2")
	n.is("a", "1 a |") // arrivals wait for more arrivals
	n.pass(200 * time.Millisecond)
	n.is("a", "2 a | 0 1 2")
	n.because("a", "worker 1 died (signal: killed)", "0", "2")
	n.is("a", "3 a | 0 2")
	require.Equal(t, "worker 1 died (signal: killed)", n.hosts["a"].View().Reason)
	require.Empty(t, n.queue)
}

// Among three hosts a death is decided in the round trip that tells it: no time passes on the clock.
func TestDeathTakesNoWait(t *testing.T) {
	t.Parallel()
	n := three(t)
	n.because("a", "worker 0 died", "1")
	require.Len(t, n.queue, 4, "announcement and proposal to two hosts each")
	n.deliver()
	for _, id := range n.order {
		n.is(id, "4 a b c | 1 2 3")
	}
	n.because("c", "worker 3 died") // not by the host that proposes
	n.deliver()
	n.is("c", "5 a b c | 1 2")
	require.Equal(t, "worker 3 died", n.hosts["b"].View().Reason)
}

// The majority goes on without a cut-off host, which waits, and comes back with its workers when the cut heals.
func TestMinorityWaitsAndRejoins(t *testing.T) {
	t.Parallel()
	n := three(t)
	n.cut = func(from, to string) bool { return (from == "a") != (to == "a") }
	n.pass(5 * time.Second)
	n.is("a", "3 a b c | 0 1 2 3")
	n.is("b", "4 b c | 2 3")
	require.Equal(t, Waiting, n.hosts["a"].State())
	require.Equal(t, "host a lost with workers 0, 1", n.hosts["c"].View().Reason)
	n.cut = func(string, string) bool { return false }
	n.pass(time.Second)
	n.is("a", "5 b c a | 2 3 0 1")
	require.Equal(t, Member, n.hosts["a"].State())
}

// Five hosts cut into three and two: the three go on, the two wait and come back; at no time are there two views of one epoch.
func TestFiveHostsCutInTwo(t *testing.T) {
	t.Parallel()
	n := newNet(t)
	for i, id := range []string{"a", "b", "c", "d", "e"} {
		n.add(id, i == 0)
		n.workers(id, fmt.Sprint(i))
	}
	n.pass(time.Second)
	n.is("e", "4 a b c d e | 0 1 2 3 4")
	small := func(id string) bool { return id <= "b" }
	n.cut = func(from, to string) bool { return small(from) != small(to) }
	n.pass(4 * time.Second)
	n.is("c", "5 c d e | 2 3 4")
	n.is("a", "4 a b c d e | 0 1 2 3 4")
	require.Equal(t, Waiting, n.hosts["b"].State())
	n.cut = func(string, string) bool { return false }
	n.pass(time.Second)
	for _, id := range n.order {
		n.is(id, "6 c d e a b | 2 3 4 0 1")
		require.Equal(t, Member, n.hosts[id].State())
	}
}

// Of two hosts the first goes on alone at once; the second waits for ever rather than guess.
func TestTwoHosts(t *testing.T) {
	t.Parallel()
	for lost, left := range map[string]string{"a": "b", "b": "a"} {
		n := newNet(t)
		n.add("a", true)
		n.add("b", false)
		n.workers("a", "0")
		n.workers("b", "1")
		n.pass(time.Second)
		n.is("b", "2 a b | 0 1")
		n.hosts[lost], n.order = nil, []string{left}
		n.step(left, Lost{lost})
		n.pass(20 * time.Second)
		if left == "a" {
			n.is("a", "3 a | 0")
		} else {
			n.is("b", "2 a b | 0 1")
			require.Equal(t, Waiting, n.hosts["b"].State())
		}
	}
}

// With a witness, either of two hosts may be lost.
func TestWitness(t *testing.T) {
	t.Parallel()
	for lost, left := range map[string]string{"a": "b", "b": "a"} {
		n := newNet(t)
		n.add("a", true)
		n.add("w", false, func(c *Config) { c.Self.Witness = true })
		n.add("b", false)
		n.workers("a", "0")
		n.workers("b", "1")
		n.pass(time.Second)
		require.Equal(t, "w", n.hosts["a"].View().Hosts[2].ID, "behind the host that joined later")
		n.hosts[lost], n.order = nil, []string{left, "w"}
		n.pass(5 * time.Second)
		v := n.hosts[left].View()
		require.Equal(t, []string{left, "w"}, []string{v.Hosts[0].ID, v.Hosts[1].ID})
		require.Len(t, v.Workers, 1)
		require.Equal(t, Member, n.hosts[left].State())
	}
}

// A broken ring without a death gets a new epoch with the same members; a worker that spoils epoch after epoch is put aside.
func TestBrokenEpochs(t *testing.T) {
	t.Parallel()
	n := three(t)
	for epoch := uint64(3); epoch < 5; epoch++ {
		n.step("b", Broken{epoch, "2", "3", "connection reset"})
		n.pass(100 * time.Millisecond)
		n.is("a", fmt.Sprint(epoch)+" a b c | 0 1 2 3")
		n.pass(time.Second)
		n.is("a", fmt.Sprint(epoch+1)+" a b c | 0 1 2 3")
		require.Equal(t, "worker 2 gave up on worker 3: connection reset", n.hosts["c"].View().Reason)
	}
	n.step("b", Broken{5, "2", "3", "connection reset"})
	n.pass(2 * time.Second)
	n.is("c", "6 a b c | 0 1 2")
	require.Contains(t, n.hosts["c"].View().Reason, "worker 3 left out")
	n.pass(31 * time.Second)
	n.is("c", "7 a b c | 0 1 2 3")
}

// Who leaves is in no later view, and stays until the others know.
func TestLeave(t *testing.T) {
	t.Parallel()
	n := three(t)
	n.step("a", Leave{})
	n.deliver()
	n.is("b", "4 b c | 2 3")
	require.Equal(t, Gone, n.hosts["a"].State())
	require.Equal(t, "host a left with workers 0, 1", n.hosts["b"].View().Reason)
	n.step("c", Leave{})
	n.pass(time.Second)
	n.step("b", Leave{})
	require.Equal(t, Gone, n.hosts["b"].State(), "the last one asks nobody")
}

// At the end of a run all hosts leave at once: nobody waits for an agreement that no one is left to make.
func TestAllLeaveAtOnce(t *testing.T) {
	t.Parallel()
	n := three(t)
	for _, id := range n.order {
		n.step(id, Leave{})
	}
	n.deliver()
	n.pass(n.hosts["a"].cfg.Retry)
	for _, id := range n.order {
		require.Equal(t, Gone, n.hosts[id].State(), id)
	}
}

// Fewer workers than the least number make a view without workers; more than the most wait, the senior ones stay.
func TestLeastAndMost(t *testing.T) {
	t.Parallel()
	n := newNet(t)
	n.add("a", true, func(c *Config) { c.MinWorkers, c.MaxWorkers = 2, 3 })
	n.workers("a", "0")
	n.pass(time.Second)
	n.is("a", "1 a |")
	n.workers("a", "0", "1", "2")
	n.pass(time.Second)
	n.is("a", "2 a | 0 1 2")
	n.workers("a", "3", "0", "1", "2")
	n.pass(time.Second)
	n.is("a", "2 a | 0 1 2")
	n.workers("a", "3", "2")
	n.is("a", "3 a | 3 2")
	n.because("a", "worker 2 died", "3")
	n.is("a", "4 a |")
	require.Equal(t, "worker 2 died; waiting for workers: 1 of at least 2", n.hosts["a"].View().Reason)
}

// A launcher that comes back at its address replaces its former self without any timeout.
func TestRestartAtTheSameAddress(t *testing.T) {
	t.Parallel()
	n := three(t)
	n.hosts["b"], n.order = nil, []string{"a", "c"}
	n.add("b2", false, func(c *Config) { c.Self.Addr = "b:1" })
	n.pass(250 * time.Millisecond)
	require.False(t, n.hosts["a"].isMember("b"))
	require.True(t, n.hosts["a"].isMember("b2"))
}

// Two jobs of one name do not mix: each refuses the other, with a sentence.
func TestTwoFounders(t *testing.T) {
	t.Parallel()
	n := newNet(t)
	n.add("a", true)
	n.add("b", true)
	n.step("a", Message{"b", (&message{kind: decided, founder: "b", from: Host{ID: "b"}, epoch: 1, value: n.hosts["b"].View()}).encode()})
	refused, ok := n.last["a"][len(n.last["a"])-2].(Refused)
	require.True(t, ok)
	require.ErrorContains(t, refused.Err, `another job of this name, founded by host "b"`)
	n.is("a", "1 a |")
}

// What does not decode, names another sender, or claims absurd epochs is refused, once in the log, and changes nothing.
func TestRefusals(t *testing.T) {
	t.Parallel()
	n := three(t)
	v := n.hosts["a"].View().Clone()
	v.Epoch = 1 << 30
	for _, m := range []Message{
		{"b", nil}, {"b", []byte("GET / HTTP/1.1")}, {"b", []byte{9, 1, 0}},
		{"c", (&message{kind: announce, from: Host{ID: "b"}}).encode()},
		{"b", (&message{kind: decided, founder: "a", from: Host{ID: "b"}, epoch: v.Epoch, value: v}).encode()},
		{"b", (&message{kind: accept, founder: "a", from: Host{ID: "b"}, epoch: 4, ballot: firstBallot, value: View{Epoch: 4, Founder: "a", Hosts: v.Hosts[1:]}}).encode()},
	} {
		for again := range 2 {
			n.last["a"] = nil
			n.step("a", m)
			refused := 0
			for _, out := range n.last["a"] {
				if _, ok := out.(Refused); ok {
					refused++
				}
			}
			require.Equal(t, 1-again, refused, "%q", m.Data)
		}
	}
	n.is("a", "3 a b c | 0 1 2 3")
}
