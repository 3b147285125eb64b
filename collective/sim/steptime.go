package sim

import (
	"fmt"
	"time"
)

// Link is a connection in the α-β model (Hockney 1994; used for collectives by Thakur, Rabenseifner, Gropp,
// "Optimization of Collective Communication Operations in MPICH", 2005): n bytes take Latency + n/Bandwidth. A link sends
// and receives at full rate at once.
type Link struct {
	Latency   time.Duration
	Bandwidth float64 // bytes per second each way
}

// Cluster is what a job runs on. All nodes are alike; the workers of a node share its one network link.
type Cluster struct {
	Nodes          int
	WorkersPerNode int
	Network        Link // of a node to the switch; used where there is more than one node
	Local          Link // between two workers of a node; used where a node has more than one worker
}

// Method is how gradients are summed.
type Method int

// The methods. n is the number of workers, M the bytes of the gradient on the wire.
const (
	// Ring: reduce-scatter and all-gather around all workers, those of a node together (Patarasuk, Yuan, "Bandwidth
	// Optimal All-reduce Algorithms for Clusters of Workstations", 2009): 2(n−1) rounds of M/n bytes.
	Ring Method = iota
	// Hierarchical: reduce-scatter in each node, a ring over nodes for each shard, all-gather in each node.
	Hierarchical
	// Reproducible: each worker sends its partial sums of every chunk straight to the chunk's owner, which adds them in the
	// order of one tree over all lanes; then an all-gather around the ring.
	Reproducible
)

// Wire is the number format on the wire.
type Wire int

// The formats: 4, 2, and 1 + 4/256 bytes per value (one 4-byte scale for 256 values).
const (
	F32 Wire = iota
	BF16
	INT8
)

// bytes of one value.
func (w Wire) bytes() float64 { return [...]float64{4, 2, 1 + 4.0/256}[w] }

// Step is one training step of a worker.
type Step struct {
	Parameters int           // values in the gradient
	Compute    time.Duration // forward, backward and update of its lanes, without communication
	Backward   float64       // share of Compute that is backward, at whose end all gradients are there; 0 means 2/3
	Overlap    bool          // reduce buckets while backward goes on
	Buckets    int           // equal parts of the gradient, each reduced on its own; 0 means 1
	Lanes      int           // Reproducible: lanes of the global batch; 0 means one per worker
	Method     Method
	Wire       Wire
}

// Estimate is how long a step takes and where the time goes.
type Estimate struct {
	Step         time.Duration // Compute and what of Reduce it does not hide
	Reduce       time.Duration // all buckets, if they ran one after the other
	Exposed      time.Duration // Step − Compute
	NetworkBytes float64       // that a node sends per step
	Efficiency   float64       // Compute / Step
}

// StepTime estimates a step. It leaves out what the model leaves out: contention in switches, slow workers, protocol
// headers (1460 of 1538 bytes on Ethernet carry data: give Network 0.949 of the line rate).
func StepTime(c Cluster, s Step) (Estimate, error) {
	if s.Backward == 0 {
		s.Backward = 2.0 / 3
	}
	s.Buckets = max(s.Buckets, 1)
	if s.Lanes == 0 {
		s.Lanes = c.Nodes * c.WorkersPerNode
	}
	if err := validate(c, s); err != nil {
		return Estimate{}, err
	}
	bucket, sent := reduce(c, s, float64(s.Parameters)*s.Wire.bytes()/float64(s.Buckets))
	// Bucket i of K is ready when i/K of the backward pass is done, and reduced after it is ready and bucket i−1 is done.
	//   done(i) = max(ready(i), done(i−1)) + T(M/K)
	compute, done := s.Compute.Seconds(), 0.0
	for i := range s.Buckets {
		ready := compute
		if s.Overlap {
			ready = compute * (1 - s.Backward + s.Backward*float64(i+1)/float64(s.Buckets))
		}
		done = max(ready, done) + bucket
	}
	step := max(done, compute)
	return Estimate{
		Step: seconds(step), Reduce: seconds(bucket * float64(s.Buckets)), Exposed: seconds(step - compute),
		NetworkBytes: sent * float64(s.Buckets), Efficiency: compute / step,
	}, nil
}

func validate(c Cluster, s Step) error {
	switch {
	case c.Nodes < 1 || c.WorkersPerNode < 1:
		return fmt.Errorf("step time: %d nodes with %d workers each, expected at least 1 and 1", c.Nodes, c.WorkersPerNode)
	case c.Nodes > 1 && (c.Network.Bandwidth <= 0 || c.Network.Latency < 0):
		return fmt.Errorf("step time: network of %v bytes/s and latency %v, expected more than 0 and at least 0", c.Network.Bandwidth, c.Network.Latency)
	case c.WorkersPerNode > 1 && (c.Local.Bandwidth <= 0 || c.Local.Latency < 0):
		return fmt.Errorf("step time: local link of %v bytes/s and latency %v, expected more than 0 and at least 0", c.Local.Bandwidth, c.Local.Latency)
	case s.Parameters < 1 || s.Compute <= 0 || s.Backward < 0 || s.Backward > 1:
		return fmt.Errorf("step time: %d parameters, compute %v, backward share %v: expected at least 1, more than 0, 0 to 1", s.Parameters, s.Compute, s.Backward)
	case s.Method < Ring || s.Method > Reproducible || s.Wire < F32 || s.Wire > INT8:
		return fmt.Errorf("step time: method %d, wire %d: unknown", s.Method, s.Wire)
	case s.Lanes < c.Nodes*c.WorkersPerNode && s.Method == Reproducible:
		return fmt.Errorf("step time: %d lanes for %d workers, expected at least one each", s.Lanes, c.Nodes*c.WorkersPerNode)
	}
	return nil
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// reduce returns the seconds that an all-reduce of m bytes takes, and the bytes that each node sends to others.
func reduce(c Cluster, s Step, m float64) (t, sent float64) {
	nodes, local := float64(c.Nodes), float64(c.WorkersPerNode)
	n := nodes * local
	if n == 1 {
		return 0, 0
	}
	switch s.Method {
	case Hierarchical:
		// T = 2(g−1)(αl + m/(g·βl)) + 2(N−1)(α + m/(N·β)): the g rings of a node share its link
		t = 2*rounds(local-1, c.Local, m/local) + 2*rounds(nodes-1, c.Network, m/nodes)
		return t, 2 * (nodes - 1) / nodes * m
	case Reproducible:
		t, sent = exchange(c, s.Lanes, m)
		gather, bytes := around(c, n, m)
		return t + gather, sent + bytes
	}
	t, sent = around(c, n, m)
	return 2 * t, 2 * sent // T = 2(n−1)(α + m/(n·β))
}

// rounds is k times the time of one message.
func rounds(k float64, l Link, bytes float64) float64 {
	if k == 0 {
		return 0
	}
	return k * (l.Latency.Seconds() + bytes/l.Bandwidth)
}

// around is half a ring all-reduce: n−1 rounds in which everyone passes m/n bytes on. All wait for the slowest link; one
// link of a node crosses the network.
func around(c Cluster, n, m float64) (t, sent float64) {
	if c.WorkersPerNode > 1 {
		t = rounds(n-1, c.Local, m/n)
	}
	if c.Nodes > 1 {
		t, sent = max(t, rounds(n-1, c.Network, m/n)), (n-1)*m/n
	}
	return t, sent
}

// exchange is the reduce-scatter of the reproducible sum: rank r sends k(r) partial sums of m/n bytes to each other rank,
// pairwise (Thakur et al., section 4.1.2): n−1 rounds, and the time for what the busiest node sends or receives.
func exchange(c Cluster, lanes int, m float64) (t, sent float64) {
	n, g := c.Nodes*c.WorkersPerNode, c.WorkersPerNode
	total := 0
	k := make([]int, n)
	for r := range n {
		k[r] = subtrees(r*lanes/n, (r+1)*lanes/n)
		total += k[r]
	}
	chunk := m / float64(n)
	for node := range c.Nodes {
		own := 0
		for _, x := range k[node*g : (node+1)*g] {
			own += x
			if g > 1 { // to the g−1 others of its node
				t = max(t, float64(g-1)*(c.Local.Latency.Seconds()+float64(x)*chunk/c.Local.Bandwidth))
			}
		}
		if c.Nodes > 1 {
			out, in := float64(own*(n-g))*chunk, float64((total-own)*g)*chunk
			sent = max(sent, out)
			t = max(t, float64(n-1)*c.Network.Latency.Seconds()+max(out, in)/c.Network.Bandwidth)
		}
	}
	return t, sent
}

// subtrees is how many maximal aligned subtrees cover the lanes [lo, hi): 1 where a block is aligned, at most
// 2·log₂(lanes) otherwise.
func subtrees(lo, hi int) (k int) {
	for ; lo < hi; k++ {
		size := 1
		for lo%(2*size) == 0 && lo+2*size <= hi {
			size *= 2
		}
		lo += size
	}
	return k
}
