package ring

import (
	"time"
	"unsafe"

	"ringo/runtime/tensor"
)

// exchange is the direct schedule. With n members and segment bounds seg, every member
//
//	RS: sends its contributions to segment p to member p, for all p, and sums what comes for its own;
//	AG: sends its finished segment to all members, and takes theirs.
//
// RS and AG of all pairs run at once, pipelined: a finished part of a segment leaves while later parts still come in.
// Contributions are added in the order of ranks: a stream's bytes are taken only as far as the stream before it
// has come, so the order of additions never depends on timing. A tree plan adds in the order of a tree instead.
//
// No deadlock: RS bytes depend on nothing, and come before AG bytes on every stream.
//
// The struct is reused by every call of a ring, so that calls allocate nothing once buffers have grown.
type exchange struct {
	r     *Ring
	group []int // ranks that take part, this one included
	me    int   // this rank's index in group
	op    uint8
	stage uint8 // of a composed operation
	dt    tensor.DType
	code  codec
	size  int      // bytes of an element
	seg   []int    // len(group)+1 bounds in elements
	in    [][]byte // this rank's contributions, full vectors
	count []int    // contributions of each member
	out   []byte   // full vector
	rs,
	ag bool
	root  int       // member that gets no AG, −1 for none
	plan  *treePlan // nil adds in the order of ranks
	extra uint64    // this rank's number in the header

	places []byte // where this rank's vectors lie, if the call could be done in place; else empty
	hold   bool   // only headers and places are exchanged yet

	chunk int // elements
	flows []flow
	first,
	last int // members that add to my segment first and last; −1 for none
	ready  int // elements of my segment that are final
	coded  int // of these, encoded into wire
	wire   []byte
	done   int // chunks through the plan
	on     interests
	pieces int // contributions over all members
}

// flow is the exchange with one member.
type flow struct {
	rank int
	link link
	head [headerSize]byte // what is still to send of it: headOut
	headOut,
	piece []byte // what is being sent
	sendStep, recvStep step
	sendPos, recvPos   int // elements of the current step
	sendPart, recvPart int // of a chunk under a plan
	enc                []byte
	theirs             [headerSize]byte
	places             []byte   // where the member's vectors lie, as it says
	vectors            [][]byte // these
	got                int      // bytes: of the header, or of the unit being received
	stage              []byte
	prev               int // flow whose additions come before mine, −1 for none
	summed             int // elements added to my segment; under a plan, chunks staged
	extra              uint64
}

type step uint8

const (
	stepHead step = iota
	stepPlaces
	stepRS
	stepAG
	stepLast // of a call in place: one byte says that the member is through
	stepDone
)

// slots is how many chunks of a plan may wait for slower members.
const slots = 2

// prepare sets flows for a new exchange.
func (x *exchange) prepare() {
	n := len(x.group)
	if x.hold = x.offer(); !x.hold {
		x.places = x.places[:0]
	}
	for len(x.flows) < n {
		x.flows = append(x.flows, flow{})
	}
	x.ready, x.coded, x.done, x.first, x.pieces = 0, 0, 0, -1, 0
	prev := -1
	for i, rank := range x.group {
		x.pieces += x.count[i]
		if i == x.me {
			continue
		}
		f := &x.flows[i]
		f.rank, f.link = rank, x.r.peer[rank].link
		f.sendStep, f.recvStep = stepHead, stepHead
		f.sendPos, f.recvPos, f.sendPart, f.recvPart, f.got = 0, 0, 0, 0, 0
		f.prev, f.summed, f.extra, f.places = -1, 0, 0, f.places[:0]
		if x.rs && x.count[i] > 0 {
			f.prev = prev
			prev = i
			if x.first < 0 {
				x.first = i
			}
			x.last = i
		}
		x.header(f)
		f.headOut, f.piece = f.head[:], nil
	}
	x.chunk = x.unit()
}

// local does what needs no bytes of others.
func (x *exchange) local() {
	mine := x.seg[x.me+1] - x.seg[x.me]
	switch {
	case mine == 0 || !x.rs:
		x.final(mine)
	case x.first < 0 && (x.plan == nil || len(x.plan.steps) == 0): // all of it is here already
		if x.count[x.me] > 0 && !same(x.in[0], x.out) {
			lo, hi := x.seg[x.me]*x.size, x.seg[x.me+1]*x.size
			copy(x.out[lo:hi], x.in[0][lo:hi])
		}
		x.final(mine)
	}
	if x.plan != nil {
		x.advance()
	}
}

// unit is the number of elements that are coded, staged and planned together.
func (x *exchange) unit() int {
	bytes := x.r.opt.Chunk
	if x.plan != nil { // keep all that is staged near the cache
		bytes = max(minChunk, min(bytes, (4<<20)/(slots*max(1, x.pieces))&^63))
	}
	return max(x.code.block, bytes/x.size/x.code.block*x.code.block)
}

func same(a, b []byte) bool { return unsafe.SliceData(a) == unsafe.SliceData(b) }

// run does the call, in place where all members can.
func (x *exchange) run() error {
	x.prepare()
	if x.hold {
		if err := x.move(); err != nil {
			return err
		}
		x.hold = false
		if x.agreed() {
			if err := x.inPlace(); err != nil {
				return err
			}
			return x.move()
		}
	}
	x.local()
	return x.move()
}

// move moves bytes until all flows are done, with hold until all headers and places are here, or the ring is over.
func (x *exchange) move() error {
	var waits patience
	for {
		token := x.r.bell.token()
		moved, open := false, false
		x.on.reset()
		for i := range x.group {
			if i == x.me {
				continue
			}
			f := &x.flows[i]
			s, err := x.push(f)
			if err == nil {
				var g bool
				g, err = x.pull(f)
				s = s || g
			}
			if err != nil {
				return x.broken(f, err)
			}
			moved = moved || s
			more := f.recvStep != stepDone || f.sendStep != stepDone
			if x.hold {
				more = f.recvStep <= stepPlaces
			}
			wantIn, wantOut := more && f.recvStep != stepDone && x.canTake(f), len(f.headOut)+len(f.piece) > 0
			if wantIn || wantOut {
				x.on.add(f.rank, f.link, wantIn, wantOut)
			}
			lent := !f.link.settled()
			if lent {
				x.on.add(f.rank, f.link, false, false)
			}
			open = open || more || wantOut || lent
		}
		if !open {
			return nil
		}
		if moved {
			continue
		}
		if err := x.r.wait(token, &waits, &x.on); err != nil {
			return err
		}
	}
}

// grace is how long the reason for a lost stream may take to arrive on the control connection: a peer that aborts
// says so before it cuts its streams, and a killed one loses both at once.
const grace = 20 * time.Millisecond

// broken turns a stream's error into the ring's: whoever failed first is to blame.
func (x *exchange) broken(f *flow, err error) error {
	if err == errLost && !x.r.peer[f.rank].left.Load() {
		select {
		case <-x.r.over:
		case <-time.After(grace):
		}
	}
	if over := x.r.failure(); over != nil {
		return over
	}
	return x.r.blame(f.rank, err)
}

// final notes that n elements of this rank's segment are final, and encodes whole chunks of them where they travel encoded.
func (x *exchange) final(n int) {
	x.ready = n
	if x.code.plain || !x.ag {
		return
	}
	lo, mine := x.seg[x.me], x.seg[x.me+1]-x.seg[x.me]
	x.wire = grow(x.wire, x.code.bytes(mine))
	for x.coded < mine && (n >= x.coded+x.chunk || n == mine) {
		to := min(x.coded+x.chunk, mine)
		x.code.encode(x.wire[x.code.bytes(x.coded):x.code.bytes(to)], x.out, lo+x.coded, lo+to, true)
		x.coded = to
	}
}

// grow returns a buffer of n bytes, b where it is large enough.
func grow(b []byte, n int) []byte {
	if cap(b) < n {
		return tensor.AlignedBytes(n)
	}
	return b[:n]
}
