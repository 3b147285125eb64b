package view

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// carry delivers the oldest message of a kind between two hosts, ahead of all others.
func (n *net) carry(from, to string, k kind) {
	n.t.Helper()
	i := slices.IndexFunc(n.queue, func(m mail) bool {
		msg, err := decode(m.data)
		return m.from == from && m.to == to && err == nil && msg.kind == k
	})
	require.GreaterOrEqual(n.t, i, 0, "no such message from %s to %s", from, to)
	m := n.queue[i]
	n.queue = slices.Delete(n.queue, i, i+1)
	n.step(to, Message{m.from, m.data})
}

// A proposer that promised a rival more before its own promises came may not vote for itself any more: the rival counts on
// nothing having been accepted here, and both would be decided. Soak's seeds 7034095 and 7148417 found it.
func TestProposerKeepsItsPromise(t *testing.T) {
	t.Parallel()
	n := three(t)
	n.step("b", Lost{"a"}) // b takes a for dead, wrongly, and proposes b c
	n.carry("b", "a", prepare)
	n.because("a", "worker 0 died", "1") // a proposes, above what it promised b
	n.carry("a", "b", prepare)
	n.carry("a", "b", promise) // a quorum of promises for b, which promised a more meanwhile
	require.Zero(t, n.hosts["b"].acceptor.at, "b has no vote to give at its own ballot")
	n.carry("b", "a", promise)
	n.deliver()
	for _, id := range n.order {
		v := n.hosts[id].View()
		require.True(t, v.Equal(n.hosts["a"].View()), "host %s: %s", id, v.Reason)
	}
}
