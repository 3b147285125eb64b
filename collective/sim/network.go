package sim

import (
	"math/rand/v2"
	"time"
)

// network decides what becomes of a message between two hosts.
type network struct {
	rng   *rand.Rand
	side  map[string]int     // side of a partition; 0 where there is none
	cut   map[[2]string]bool // single links that are down, both ways
	loss  float64            // of control messages
	twice float64            // probability that one arrives twice
	slow  float64            // factor on delays
}

func newNetwork(rng *rand.Rand) *network {
	n := &network{rng: rng}
	n.heal()
	return n
}

// heal makes the network a good one again.
func (n *network) heal() {
	n.side, n.cut = map[string]int{}, map[[2]string]bool{}
	n.loss, n.twice, n.slow = 0, 0.01, 1
}

func link(a, b string) [2]string {
	if a > b {
		a, b = b, a
	}
	return [2]string{a, b}
}

// connected reports whether messages pass between two hosts.
func (n *network) connected(a, b string) bool {
	return a == b || n.side[a] == n.side[b] && !n.cut[link(a, b)]
}

// delay is 0.2 to 2 ms, for one message in twenty up to 40 ms, times slow: messages overtake each other often.
func (n *network) delay() time.Duration {
	d := 200*time.Microsecond + time.Duration(n.rng.Int64N(int64(1800*time.Microsecond)))
	if n.rng.IntN(20) == 0 {
		d += time.Duration(n.rng.Int64N(int64(40 * time.Millisecond)))
	}
	return time.Duration(float64(d) * n.slow)
}

// copies is how often a control message arrives: 0, 1 or 2 times.
func (n *network) copies() int {
	switch x := n.rng.Float64(); {
	case x < n.loss:
		return 0
	case x < n.loss+n.twice:
		return 2
	}
	return 1
}
