package ring

import (
	"fmt"

	"ringo/runtime/tensor"
)

// Where every vector of a call lies in Memory that all of its ranks map, nothing needs to be sent. With n ranks, each
//
//  1. tells the others where its vectors lie, after the header, and learns where theirs do;
//  2. sums its own segment, reading all n vectors, and writes the sum into all n;
//  3. says that it is through, and waits until all others are.
//
// Segments do not overlap, so nobody reads what another one writes. A rank reads n/n·N bytes and writes as many; a line of memory goes from
// the core that computed it to the core that sums it and, when it is used, back: no schedule moves fewer.
//
// Sums are added in the same order as when they are sent, so they have the same bits.

// inPlacePiece is how many bytes are summed at once: those of two ranks and their sums fit the first cache.
const inPlacePiece = 16 << 10

// inPlaceCheck is how often, in bytes, a rank looks whether the ring is over.
const inPlaceCheck = 1 << 20

// offer reports whether this rank could do the call in place, and notes where its vectors lie: out, then its contributions.
func (x *exchange) offer() bool {
	x.places = x.places[:0]
	if !x.code.plain {
		return false
	}
	for _, rank := range x.group {
		if p := x.r.peer[rank]; p != nil && !p.shared {
			return false
		}
	}
	at, ok := x.r.locate(x.out)
	if x.places = appendPlace(x.places, at); !ok {
		return false
	}
	for _, v := range x.in {
		if at, ok = x.r.locate(v); !ok {
			return false
		}
		x.places = appendPlace(x.places, at)
	}
	return true
}

// agreed reports whether all members offered what this rank did.
func (x *exchange) agreed() bool {
	for i := range x.group {
		if i != x.me && len(x.flows[i].places) == 0 {
			return false
		}
	}
	return true
}

// meetPeers finds the others' vectors.
func (x *exchange) meetPeers() error {
	bytes := x.seg[len(x.group)] * x.size
	for i, rank := range x.group {
		if i == x.me {
			continue
		}
		f, p := &x.flows[i], x.r.peer[rank]
		f.vectors = f.vectors[:0]
		for k := range len(f.places) / 8 {
			v, err := p.vector(placeAt(f.places, k), bytes, x.size)
			if err != nil {
				x.r.lst.stopMapping()
				return x.r.blame(rank, fmt.Errorf("vector %d of call %d: %w", k, x.r.seq.Load(), err))
			}
			f.vectors = append(f.vectors, v)
		}
	}
	return nil
}

// inPlace sums this rank's segment, writes it to all, and prepares flows to say so.
func (x *exchange) inPlace() error {
	if err := x.meetPeers(); err != nil {
		return err
	}
	lo, hi := x.seg[x.me]*x.size, x.seg[x.me+1]*x.size
	for at := lo; at < hi; at += inPlacePiece {
		to := min(at+inPlacePiece, hi)
		if x.plan != nil {
			x.planPiece(at, to)
		} else if x.rs {
			x.sumPiece(at, to)
		}
		if x.ag {
			x.spread(at, to)
		}
		if (at-lo)%inPlaceCheck == 0 {
			if err := x.r.failure(); err != nil {
				return err
			}
		}
	}
	x.through(uint64(hi - lo))
	return nil
}

// through makes every flow say, and wait for, a last word.
func (x *exchange) through(mine uint64) {
	x.r.stats.inPlace.Add(1)
	for i := range x.group {
		if i == x.me {
			continue
		}
		f := &x.flows[i]
		f.headOut, f.sendStep = f.head[:1], stepDone
		f.got, f.recvStep = 0, stepLast
		x.r.stats.sent.Add(mine)
		x.r.stats.received.Add(mine)
	}
}

// sumPiece adds bytes [at,to) of all contributions, this rank's first, then by rank.
func (x *exchange) sumPiece(at, to int) {
	dst := x.out[at:to]
	var sum []byte // so far; dst after the first addition
	if x.count[x.me] > 0 {
		sum = x.in[0][at:to]
	}
	for i := range x.group {
		if i == x.me || x.count[i] == 0 {
			continue
		}
		v := x.flows[i].vectors[1][at:to]
		if sum == nil {
			sum = v
			continue
		}
		add(x.dt, dst, sum, v)
		sum = dst
	}
	if !same(dst, sum) {
		copy(dst, sum)
	}
}

// planPiece adds bytes [at,to) in the order of the plan. Sums on the way are kept apart from others' contributions.
func (x *exchange) planPiece(at, to int) {
	for _, s := range x.plan.steps {
		add(tensor.F32, x.inPlaceOperand(s.dst, at, to), x.inPlaceOperand(s.a, at, to), x.inPlaceOperand(s.b, at, to))
	}
	if x.plan.result != output {
		copy(x.out[at:to], x.inPlaceOperand(x.plan.result, at, to))
	}
}

func (x *exchange) inPlaceOperand(o operand, at, to int) []byte {
	switch {
	case o.member < 0:
		return x.out[at:to]
	case o.member == x.me:
		return x.in[o.part][at:to]
	}
	f := &x.flows[o.member]
	if !o.temporary {
		return f.vectors[1+o.part][at:to]
	}
	f.stage = grow(f.stage, x.count[o.member]*inPlacePiece)
	return f.stage[o.part*inPlacePiece:][:to-at]
}

// spread copies bytes [at,to) of this rank's segment to all who want it.
func (x *exchange) spread(at, to int) {
	for i := range x.group {
		if i != x.me && i != x.root {
			copy(x.flows[i].vectors[0][at:to], x.out[at:to])
		}
	}
}

// stopMapping makes this process's later rings do without Memory.
func (l *Listener) stopMapping() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.unmappable = true
}
