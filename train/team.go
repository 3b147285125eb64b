package train

import (
	"context"
	"errors"
	"math/bits"
	"time"

	"ringo/collective/ring"
	"ringo/collective/view"
	"ringo/runtime"
	"ringo/runtime/plan"
	"ringo/runtime/tensor"
	"ringo/train/config"
)

// Group is the collective over the workers of one view. Calls come from one goroutine at a time and in the same order
// on every worker. A call that a peer's failure or Abort ends returns an error; the group is then of no more use.
type Group interface {
	Rank() int
	Size() int
	// AllReduce sums buf over all workers, in place.
	AllReduce(buf []byte, dt tensor.DType) error
	// ReduceTree sums over all lanes in the order of one binary tree; see ring.Ring.ReduceTree.
	ReduceTree(out []float32, parts [][]float32, bounds []int) error
	Broadcast(root int, buf []byte) error
	Barrier() error
	// Gather returns every worker's bytes, by rank.
	Gather(mine []byte) ([][]byte, error)
	Stats() ring.Stats
	Abort(err error)
	// Over is closed when the group failed, was aborted or closed; Err then says why.
	Over() <-chan struct{}
	Err() error
	Close() error
}

// Progress is what a worker says of itself after a step.
type Progress struct {
	Epoch          uint64
	Step           int // done
	LaneLo, LaneHi int // computed here in that step
	LanesPerSecond float64
	BytesPerSecond float64 // sent to other workers
	RecoveryMS     float64 // in the first step of a view: since the last one broke; else 0
	RingMS         float64 // in the first step of a view: since the ring stood; else 0
	AgreedMS       float64 // in the first step of a view: since all workers had one state; else 0
}

// Team is how a worker meets the others of its job.
type Team interface {
	// Self is this worker's id.
	Self() string
	// Join waits for a view newer than epoch `after` that holds this worker and connects to its members. Where a member
	// cannot be reached it reports that and waits for the next view.
	// control.ErrStopping says that none will come because this worker was asked to stop.
	Join(ctx context.Context, after uint64) (view.View, Group, error)
	// Memory maps zeroed bytes in which Groups sum without moving them, and returns what frees them; see ring.Memory: Join wipes
	// it. Any other memory serves too, only slower.
	Memory(n int) (mem []byte, free func() error, err error)
	// Gate holds the worker while its host is cut off from most others, so that nobody counts it out while it still steps.
	Gate(ctx context.Context, epoch uint64) error
	// Newest is the epoch of the newest view heard of.
	Newest() uint64
	// Broken reports that a group failed.
	Broken(epoch uint64, err error)
	// Progress reports a step.
	Progress(p Progress)
	// Stopping says that this worker was asked to finish its step and leave; all says that so was every worker of its host.
	// Who alone holds the state may be asked later, when there is somebody to hand it to.
	Stopping() (stop, all bool)
}

// errMoved ends what is under way because a newer view is there.
var errMoved = errors.New("the membership changed")

// lost marks an error of the group: what was under way is done again in the next view.
type lost struct{ err error }

func (l lost) Error() string { return l.err.Error() }
func (l lost) Unwrap() error { return l.err }

// crew is a run's part in a job: the view it is in, its lanes, and the sums over workers.
type crew struct {
	team Team
	view view.View
	Group
	bounds   []int // rank r computes lanes [bounds[r],bounds[r+1])
	subtrees [][2]int
	parts    [][]float32 // partial sums over all subtrees but the last, in host memory
	room     []parted    // memory for parts, over all views
	reducer  *reducer
	devices  *devices // sums in place of the reducer; nil where the devices cannot
	told     uint64   // the newest view that an event told of
	clean    bool     // the state is that of a whole step; false while it is being replaced
	epoch    uint64
	brokeAt  time.Time
	joined   time.Time // when the ring of this view stood
	agreed   time.Time // when all workers of this view had one state
	asked    int       // steps since this worker was asked to leave
	sent     uint64    // what Stats said after the last step
}

// flagStop is what a worker adds to the flag of a step when it wants to leave after it.
const flagStop = 1

// meet fits the crew to a view: who computes which lanes, and the memory for their sums.
func (c *crew) meet(v view.View, g Group, p *plan.Program, t config.Train) {
	c.view, c.Group, c.epoch, c.sent = v, g, v.Epoch, 0
	c.bounds = shares(v.Workers, p.Lanes, t.Balance)
	lo, hi := c.lanes()
	c.subtrees = runtime.Subtrees(lo, hi)
	c.parts = c.parts[:0]
	if t.Reduce == reproducible {
		for i := range max(0, len(c.subtrees)-1) {
			c.parts = append(c.parts, c.part(i, int(p.Sizes[plan.Grad])))
		}
	}
	c.reducer = startReducer(c, p, t.Reduce == reproducible, t.Wire != "exact")
}

// parted is memory for one partial sum.
type parted struct {
	sum  []float32
	free func() error
}

// part returns memory for the i-th partial sum: shared where that is possible.
func (c *crew) part(i, bytes int) []float32 {
	if i == len(c.room) {
		mem, free, err := c.team.Memory(bytes)
		if err != nil { // private memory serves too: sums are sent then
			mem, free = tensor.AlignedBytes(bytes), func() error { return nil }
		}
		c.room = append(c.room, parted{tensor.View[float32](mem), free})
	}
	return c.room[i].sum
}

// close frees what the crew keeps over all views.
func (c *crew) close() (err error) {
	c.leave()
	for _, p := range c.room {
		err = errors.Join(err, p.free())
	}
	c.parts, c.room = nil, nil
	return err
}

// lanes is the block of lanes of this worker; both ends are equal where it has none.
func (c *crew) lanes() (lo, hi int) { r := c.Rank(); return c.bounds[r], c.bounds[r+1] }

// shares cuts lanes into one contiguous block per worker: equal to within one lane, or in proportion to the workers'
// measured speeds. Every worker computes the same cut from the same view. Of the cuts that are equally even, boundaries at
// multiples of high powers of two are taken, which make fewer partial sums.
func shares(workers []view.Worker, lanes int, balance string) []int {
	n := len(workers)
	if balance == "speed" {
		if b := byspeed(workers, lanes); b != nil {
			return b
		}
	}
	most := (lanes + n - 1) / n
	least := lanes / n
	bounds := make([]int, n+1)
	for r := 1; r <= n; r++ {
		rest := n - r
		lo := max(bounds[r-1]+least, lanes-rest*most)
		hi := min(bounds[r-1]+most, lanes-rest*least)
		best := lo
		for b := lo + 1; b <= hi; b++ {
			if bits.TrailingZeros(uint(b)) > bits.TrailingZeros(uint(best)) || best == 0 {
				best = b
			}
		}
		bounds[r] = best
	}
	return bounds
}

// byspeed gives worker r its part of the lanes by the largest-remainder method, at least one lane each where there
// are enough; nil where a speed is not known yet.
func byspeed(workers []view.Worker, lanes int) []int {
	var sum float64
	for _, w := range workers {
		if w.Speed <= 0 {
			return nil
		}
		sum += w.Speed
	}
	n := len(workers)
	if lanes < n {
		return nil
	}
	size, rest := make([]int, n), make([]float64, n)
	left := lanes - n
	for i, w := range workers {
		want := max(0, w.Speed/sum*float64(lanes)-1)
		size[i] = min(int(want), left)
		rest[i] = want - float64(size[i])
	}
	for _, s := range size {
		left -= s
	}
	for ; left > 0; left-- {
		best := 0
		for i := range rest {
			if rest[i] > rest[best] {
				best = i
			}
		}
		size[best]++
		rest[best]--
	}
	bounds := make([]int, n+1)
	for i, s := range size {
		bounds[i+1] = bounds[i] + s + 1
	}
	return bounds
}
