package plan

import (
	"slices"
	"sort"
)

// liveness finds the first and last instruction of every Work buffer. Outputs live to the end.
func (l *lowering) liveness() {
	p := l.p
	for i := range p.Buffers {
		p.Buffers[i].First, p.Buffers[i].Last = len(p.Instrs), -1
	}
	for i, in := range p.Instrs {
		for _, r := range slices.Concat(in.In, in.Out) {
			b := &p.Buffers[r.Buf]
			b.First, b.Last = min(b.First, i), max(b.Last, i)
		}
	}
	for _, r := range p.Outputs {
		p.Buffers[r.Buf].Last = len(p.Instrs)
	}
	for _, b := range p.Blocks { // from step to step
		kept := &p.Buffers[p.Instrs[b.Instr].Out[0].Buf]
		kept.First, kept.Last = 0, len(p.Instrs)
	}
	if !l.s.off("in-place") {
		l.inPlace()
	}
}

// inPlace gives an output the memory of an input that dies at the same instruction, where the op allows it; an output of the Grad
// region gives the input its own.
func (l *lowering) inPlace() {
	p := l.p
	merged := map[int]int{}
	find := func(b int) int {
		for {
			m, ok := merged[b]
			if !ok {
				return b
			}
			b = m
		}
	}
	for i, in := range p.Instrs {
		taken := map[int]bool{}
		for _, pair := range in.Op.Overwrites(in.Attrs) {
			if pair[0] >= len(in.Out) || pair[1] >= len(in.In) {
				continue
			}
			if !l.whole(in.Out[pair[0]]) || !l.whole(in.In[pair[1]]) {
				continue
			}
			out, src := find(in.Out[pair[0]].Buf), find(in.In[pair[1]].Buf)
			o, s := &p.Buffers[out], &p.Buffers[src]
			fresh := (o.Region == Work || o.Region == Grad) && o.First == i && s.Region == Work && s.Last == i
			if !fresh || out == src || taken[src] || taken[out] || o.Bytes != s.Bytes || readTwice(in, src, find) {
				continue
			}
			if o.Region == Grad {
				out, o, src, s = src, s, out, o
				s.First = o.First
			} else {
				s.Last = o.Last
			}
			merged[out] = src
			o.First, o.Last = len(p.Instrs), -1
			taken[src], taken[out] = true, true
		}
	}
	for i := range p.Instrs {
		for _, refs := range [][]Ref{p.Instrs[i].In, p.Instrs[i].Out} {
			for k := range refs {
				refs[k].Buf = find(refs[k].Buf)
			}
		}
	}
	for name, r := range p.Outputs {
		r.Buf = find(r.Buf)
		p.Outputs[name] = r
	}
}

// whole reports whether r is all of its buffer.
func (l *lowering) whole(r Ref) bool { return r.Offset == 0 && r.end() == l.p.Buffers[r.Buf].Bytes }

// readTwice reports whether an instruction reads buffer b as more than one input: then overwriting one
// would change the other.
func readTwice(in Instr, b int, find func(int) int) bool {
	n := 0
	for _, r := range in.In {
		if find(r.Buf) == b {
			n++
		}
	}
	return n > 1
}

// place assigns Work offsets: largest buffers first, each at the lowest offset where it overlaps no buffer
// that lives at the same time (Pisarchyk and Lee, "Efficient memory management for deep neural net
// inference", 2020, greedy by size).
func (l *lowering) place() {
	p := l.p
	var order []int
	for i, b := range p.Buffers {
		if b.Region == Work && b.Last >= 0 {
			order = append(order, i)
		}
	}
	sort.SliceStable(order, func(i, j int) bool { return p.Buffers[order[i]].Bytes > p.Buffers[order[j]].Bytes })
	reuse := !l.s.off("reuse-memory")
	var done []int // placed buffers, by offset
	for _, i := range order {
		b := &p.Buffers[i]
		var at int64
		for _, j := range done {
			o := &p.Buffers[j]
			if reuse && (o.Last < b.First || b.Last < o.First) {
				continue
			}
			if at+align(b.Bytes) <= o.Offset {
				break
			}
			at = max(at, o.Offset+align(o.Bytes))
		}
		b.Offset = at
		p.Sizes[Work] = max(p.Sizes[Work], at+align(b.Bytes))
		k := sort.Search(len(done), func(k int) bool { return p.Buffers[done[k]].Offset > at })
		done = slices.Insert(done, k, i)
	}
}

// bucketBytes is the size of a gradient bucket; the last one, which is ready last and hides behind nothing,
// is kept small. The numbers are PyTorch DDP's defaults.
const bucketBytes, firstBucketBytes = 25 << 20, 1 << 20

// bucket cuts the flat gradient into stretches that may be reduced while the rest is still computed, in the
// order in which backward completes them.
func (l *lowering) bucket() {
	p := l.p
	var tail []Buffer
	for _, b := range p.Buffers {
		if b.Region == Grad && b.Last >= 0 && b.First < p.Split {
			tail = append(tail, b)
		}
	}
	sort.Slice(tail, func(i, j int) bool { return tail[i].Offset > tail[j].Offset })
	end := p.Sizes[Grad]
	ready := -1
	for i, b := range tail {
		ready = max(ready, lastTouch(p, b.Offset))
		limit := int64(bucketBytes)
		if len(p.Buckets) == 0 {
			limit = firstBucketBytes
		}
		if end-b.Offset >= limit || i == len(tail)-1 {
			p.Buckets = append(p.Buckets, Bucket{Offset: b.Offset, Bytes: end - b.Offset, Ready: ready})
			end, ready = b.Offset, -1
		}
	}
	if len(p.Buckets) > 0 {
		lastB := &p.Buckets[len(p.Buckets)-1]
		lastB.Bytes += lastB.Offset
		lastB.Offset = 0
	}
}

// lastTouch returns the last lane-phase instruction that writes or reads the Grad buffer at an offset: a bucket that
// is given away is overwritten with the sum over workers.
func lastTouch(p *Program, offset int64) int {
	last := -1
	for i, in := range p.Instrs[:p.Split] {
		for _, r := range slices.Concat(in.In, in.Out) {
			if b := p.Buffers[r.Buf]; b.Region == Grad && b.Offset == offset {
				last = i
			}
		}
	}
	return last
}
