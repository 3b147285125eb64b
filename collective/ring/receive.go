package ring

import (
	"encoding/binary"
	"fmt"
	"unsafe"
)

// pull takes what has come from one member, at most about a chunk, and stops where sums are finished: the peer waits
// for them, so they leave before its own are taken.
func (x *exchange) pull(f *flow) (moved bool, err error) {
	budget, ready := x.r.opt.Chunk, x.ready
	for budget > 0 && x.ready == ready {
		n, err := x.pullSome(f)
		if err != nil || n == 0 {
			return moved, err
		}
		if n > 0 {
			x.r.stats.received.Add(uint64(n))
			budget -= n
		}
		moved = true
	}
	return moved, nil
}

// nothing taken, but a step was finished.
const stepped = -1

// pullSome receives once. It returns the bytes taken, stepped, or 0 when nothing can be taken now.
func (x *exchange) pullSome(f *flow) (int, error) {
	i := x.index(f)
	mine := x.seg[x.me+1] - x.seg[x.me]
	switch f.recvStep {
	case stepHead:
		n, err := f.link.recv(f.theirs[f.got:])
		if f.got += n; f.got == headerSize {
			f.recvStep, f.got = stepPlaces, 0
			if err = x.checkHeader(f); err == nil {
				err = x.expectPlaces(f, i)
			}
		}
		return n, err
	case stepPlaces:
		if f.got == len(f.places) {
			f.recvStep, f.got = stepRS, 0
			return stepped, nil
		}
		n, err := f.link.recv(f.places[f.got:])
		f.got += n
		return n, err
	case stepLast:
		n, err := f.link.recv(f.theirs[:1])
		if n > 0 {
			f.recvStep = stepDone
		}
		return n, err
	case stepRS:
		switch {
		case x.hold:
			return 0, nil
		case !x.rs || x.count[i] == 0 || x.plan == nil && f.summed == mine || x.plan != nil && f.summed*x.chunk >= mine:
			f.recvStep, f.got = stepAG, 0
			return stepped, nil
		case x.plan != nil:
			return x.pullPart(f, i, mine)
		}
		return x.pullSum(f, i, mine)
	case stepAG:
		if lo, hi := x.seg[i], x.seg[i+1]; x.ag && x.me != x.root && f.recvPos < hi-lo {
			return x.pullFinal(f, lo, hi)
		}
		f.recvStep = stepDone
		return stepped, nil
	}
	return 0, nil
}

// canTake reports whether bytes of a member could be used now, if they were here.
func (x *exchange) canTake(f *flow) bool {
	if f.recvStep != stepRS {
		return true
	}
	if x.hold {
		return false
	}
	if x.plan != nil {
		return f.summed < x.done+slots
	}
	return f.prev < 0 || x.flows[f.prev].summed > f.summed
}

// pullSum adds what comes to this rank's segment, as far as the member before has come.
func (x *exchange) pullSum(f *flow, i, mine int) (int, error) {
	limit := mine
	if f.prev >= 0 {
		limit = x.flows[f.prev].summed
	}
	if limit == f.summed {
		return 0, nil
	}
	at := x.seg[x.me] + f.summed
	if !x.code.plain {
		return x.pullCoded(f, i, at, limit, mine)
	}
	dst := x.out[at*x.size : (x.seg[x.me]+limit)*x.size]
	if i == x.first && x.count[x.me] == 0 { // nothing to add to
		n, err := f.link.recv(dst[f.got:])
		f.got += n
		x.added(f, i, f.got/x.size)
		f.got %= x.size
		return n, err
	}
	base := dst
	if i == x.first {
		base = x.in[0][at*x.size : (x.seg[x.me]+limit)*x.size]
	}
	if f.got == 0 {
		data, err := f.link.peek()
		if err != nil {
			return 0, err
		}
		if k := min(len(data), len(dst)) / x.size; k > 0 && uintptr(unsafe.Pointer(&data[0]))%uintptr(x.size) == 0 {
			add(x.dt, dst[:k*x.size], base[:k*x.size], data[:k*x.size])
			f.link.skip(k * x.size)
			x.added(f, i, k)
			return k * x.size, nil
		}
	}
	f.stage = grow(f.stage, x.chunk*x.size)
	n, err := f.link.recv(f.stage[f.got:min(len(f.stage), len(dst))])
	if n == 0 || err != nil {
		return n, err
	}
	f.got += n
	k := f.got / x.size
	add(x.dt, dst[:k*x.size], base[:k*x.size], f.stage[:k*x.size])
	f.got = copy(f.stage, f.stage[k*x.size:f.got])
	x.added(f, i, k)
	return n, nil
}

// added notes k more elements in a member's sum; the last member's are final.
func (x *exchange) added(f *flow, i, k int) {
	f.summed += k
	if i == x.last && k > 0 {
		x.final(f.summed)
	}
}

// pullCoded adds one encoded chunk, when all of it is here and the member before has come so far.
func (x *exchange) pullCoded(f *flow, i, at, limit, mine int) (int, error) {
	k := min(x.chunk, mine-f.summed)
	f.stage = grow(f.stage, x.code.bytes(x.chunk))
	want := x.code.bytes(k)
	n := 0
	if f.got < want {
		var err error
		if n, err = f.link.recv(f.stage[f.got:want]); err != nil {
			return n, err
		}
		f.got += n
	}
	if f.got < want || limit < f.summed+k {
		return n, nil
	}
	f.got = 0
	x.code.add(x.out, f.stage[:want], at, at+k)
	x.added(f, i, k)
	if n == 0 {
		n = stepped
	}
	return n, nil
}

// pullPart stages one member's contribution to a chunk of a plan.
func (x *exchange) pullPart(f *flow, i, mine int) (int, error) {
	if f.summed >= x.done+slots {
		return 0, nil
	}
	f.stage = grow(f.stage, slots*x.count[i]*x.chunk*x.size)
	dst := x.staged(f, i, f.recvPart, f.summed, mine)
	n, err := f.link.recv(dst[f.got:])
	if f.got += n; f.got < len(dst) || err != nil {
		return n, err
	}
	f.got = 0
	if f.recvPart++; f.recvPart == x.count[i] {
		f.recvPart = 0
		f.summed++
		x.advance()
	}
	return n, nil
}

// staged is where part of chunk c from member i stands.
func (x *exchange) staged(f *flow, i, part, c, mine int) []byte {
	at := (c%slots*x.count[i] + part) * x.chunk * x.size
	return f.stage[at : at+min(x.chunk, mine-c*x.chunk)*x.size]
}

// pullFinal receives a part of a member's finished segment [lo,hi).
func (x *exchange) pullFinal(f *flow, lo, hi int) (int, error) {
	if x.code.plain {
		dst := x.out[lo*x.size : hi*x.size]
		n, err := f.link.recv(dst[f.got:])
		if f.got += n; f.got == len(dst) {
			f.recvPos = hi - lo
		}
		return n, err
	}
	k := min(x.chunk, hi-lo-f.recvPos)
	f.stage = grow(f.stage, x.code.bytes(x.chunk))
	want := x.code.bytes(k)
	n, err := f.link.recv(f.stage[f.got:want])
	if f.got += n; f.got < want || err != nil {
		return n, err
	}
	f.got = 0
	x.code.decode(x.out, f.stage[:want], lo+f.recvPos, lo+f.recvPos+k)
	f.recvPos += k
	return n, nil
}

// headerSize is the size of what precedes every exchange on every stream: magic (4), op, stage, element type,
// wire (1 each), call number (8), elements (8), extra (8), how many places follow (8): none, or one for each vector.
const headerSize = 40

const headerMagic = 0x52474f31 // "RGO1"

func (x *exchange) header(f *flow) {
	b := f.head[:]
	binary.BigEndian.PutUint32(b, headerMagic)
	b[4], b[5], b[6], b[7] = x.op, x.stage, uint8(x.dt), uint8(x.code.wire)
	binary.BigEndian.PutUint64(b[8:], x.r.seq.Load())
	binary.BigEndian.PutUint64(b[16:], uint64(x.seg[len(x.group)]))
	binary.BigEndian.PutUint64(b[24:], x.extra)
	binary.BigEndian.PutUint64(b[32:], uint64(len(x.places)/8))
}

// The operations, as headers and messages name them.
var opNames = [...]string{"none", "all-reduce", "reduce-scatter", "all-gather", "broadcast", "barrier", "gather", "tree reduction"}

const (
	opAllReduce = iota + 1
	opReduceScatter
	opAllGather
	opBroadcast
	opBarrier
	opGather
	opTree
)

// checkHeader compares a member's header with this rank's own.
func (x *exchange) checkHeader(f *flow) error {
	f.extra = binary.BigEndian.Uint64(f.theirs[24:])
	want := 24
	if x.op != opGather {
		want = 32 // the extra number must agree too
	}
	if string(f.theirs[:want]) == string(f.head[:want]) {
		return nil
	}
	if binary.BigEndian.Uint32(f.theirs[:]) != headerMagic {
		return fmt.Errorf("sent garbage where a call's header belongs")
	}
	return fmt.Errorf("is in %s, this process in %s: all ranks must make the same calls in the same order", describe(f.theirs[:]), describe(f.head[:]))
}

// expectPlaces makes room for a member's places.
func (x *exchange) expectPlaces(f *flow, i int) error {
	n := binary.BigEndian.Uint64(f.theirs[32:])
	want := uint64(1)
	if x.rs {
		want += uint64(x.count[i])
	}
	if n != 0 && n != want {
		return fmt.Errorf("says where %d vectors of a call with %d lie", n, want)
	}
	f.places = grow(f.places, int(8*n))
	return nil
}

func describe(b []byte) string {
	op := "an unknown operation"
	if int(b[4]) < len(opNames) {
		op = opNames[b[4]]
	}
	return fmt.Sprintf("call %d, %s of %d elements (type %d, wire %d, stage %d, detail %x)",
		binary.BigEndian.Uint64(b[8:]), op, binary.BigEndian.Uint64(b[16:]), b[6], b[7], b[5], binary.BigEndian.Uint64(b[24:]))
}
