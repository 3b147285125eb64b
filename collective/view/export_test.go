package view

// Mutants are versions of the protocol with one rule broken, each of them plausible at first sight. The simulator must
// find all of them.
var Mutants = map[string]func(*Config){
	"an acceptor forgets its promises": func(c *Config) {
		c.rules.promise = func(b, promised ballot) bool { return true }
		c.rules.accept = func(b, promised ballot) bool { return true }
	},
	"a proposer ignores what was accepted before": func(c *Config) {
		c.rules.adopt = func(at, best ballot) bool { return false }
	},
	"either half of the hosts may decide": func(c *Config) {
		c.rules.quorum = func(m *Machine, _ View, voted func(string) bool) bool {
			return 2*count(m.view, voted) >= len(m.view.Hosts)
		}
	},
	"the hosts of the next view vote on it": func(c *Config) {
		c.rules.quorum = func(m *Machine, next View, voted func(string) bool) bool { return next.Quorum(voted) }
	},
	// The same as letting workers vote: who is dead no longer counts, though it may have accepted.
	"hosts that are taken for dead are discounted": func(c *Config) {
		c.rules.quorum = func(m *Machine, _ View, voted func(string) bool) bool {
			return 2*count(m.view, voted) > count(m.view, m.alive)
		}
	},
	"nobody waits for workers of lost hosts to pause": func(c *Config) {
		c.rules.guard = func(*Machine, View) bool { return false }
	},
}

func count(v View, has func(string) bool) (n int) {
	for _, h := range v.Hosts {
		if has(h.ID) {
			n++
		}
	}
	return n
}
