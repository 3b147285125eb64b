package ring

import (
	"math/bits"

	"ringo/runtime/tensor"
)

// A treePlan is the order of one binary tree over lanes, cut to the subtrees that members contribute.
// Leaves of the tree are lanes; a node's value is left + right; a node without lanes on its right is its left child. So
// the result does not depend on who holds which lanes.
type treePlan struct {
	steps  []treeStep
	result operand
	count  []int // subtrees of each member
}

// treeStep is dst = a + b.
type treeStep struct{ dst, a, b operand }

// operand names a contribution: the part-th subtree of a member, or a sum on the way that is kept in its stead; member −1 is the
// output itself.
type operand struct {
	member, part int
	temporary    bool
}

var output = operand{member: -1}

// subtrees cuts lanes [lo,hi) into the fewest whole subtrees, left to right, as runtime.Subtrees does.
func subtrees(lo, hi int, yield func(lo, hi int)) {
	for lo < hi {
		size := 1 << bits.TrailingZeros(uint(lo|1<<30))
		for size > hi-lo {
			size >>= 1
		}
		yield(lo, lo+size)
		lo += size
	}
}

// planTree plans the sum of all lanes for member me, which owns the output. Sums of two are kept where a staged
// contribution of another member stood, so that nothing of me is overwritten before the end.
func planTree(bounds []int, me int) treePlan {
	p := treePlan{count: make([]int, len(bounds)-1)}
	leaf := map[[2]int]operand{}
	for m := range p.count {
		subtrees(bounds[m], bounds[m+1], func(lo, hi int) {
			leaf[[2]int{lo, hi}] = operand{member: m, part: p.count[m]}
			p.count[m]++
		})
	}
	lanes := bounds[len(bounds)-1]
	var sum func(lo, size int) operand
	sum = func(lo, size int) operand {
		if at, ok := leaf[[2]int{lo, lo + size}]; ok {
			return at
		}
		half := size / 2
		a := sum(lo, half)
		if lo+half >= lanes {
			return a
		}
		b := sum(lo+half, half)
		dst := output // both are mine: only along the right edge of a tree that is not full
		switch {
		case a.member >= 0 && a.member != me:
			dst = a
		case b.member >= 0 && b.member != me:
			dst = b
		}
		dst.temporary = dst != output
		p.steps = append(p.steps, treeStep{dst, a, b})
		return dst
	}
	p.result = sum(0, 1<<bits.Len(uint(lanes-1)))
	if k := len(p.steps); k > 0 { // the last sum goes where it belongs
		p.steps[k-1].dst = output
		p.result = output
	}
	return p
}

// pairwise reports whether the tree is one sum of two, or one value, from different members: then the order of
// arrival needs no plan, as a + b = b + a to the bit.
func (p *treePlan) pairwise() bool {
	total := 0
	for _, c := range p.count {
		if c > 1 {
			return false
		}
		total += c
	}
	return total <= 2
}

// advance adds all chunks for which every contribution is here.
func (x *exchange) advance() {
	mine := x.seg[x.me+1] - x.seg[x.me]
	for x.done*x.chunk < mine {
		for i := range x.group {
			if i != x.me && x.count[i] > 0 && x.flows[i].summed <= x.done {
				return
			}
		}
		c := x.done
		for _, s := range x.plan.steps {
			add(tensor.F32, x.at(s.dst, c, mine), x.at(s.a, c, mine), x.at(s.b, c, mine))
		}
		if x.plan.result != output {
			copy(x.at(output, c, mine), x.at(x.plan.result, c, mine))
		}
		x.done++
		x.final(min(x.done*x.chunk, mine))
	}
}

// at is chunk c of an operand.
func (x *exchange) at(o operand, c, mine int) []byte {
	if o.member >= 0 && o.member != x.me {
		return x.staged(&x.flows[o.member], o.member, o.part, c, mine)
	}
	from := x.seg[x.me] + c*x.chunk
	to := min(from+x.chunk, x.seg[x.me+1])
	if o.member < 0 {
		return x.out[from*x.size : to*x.size]
	}
	return x.in[o.part][from*x.size : to*x.size]
}
