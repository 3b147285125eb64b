package data

// merger applies byte-pair merges: while any two neighbours form a known pair, the pair of the lowest rank,
// the leftmost among equals, becomes one token (Sennrich, Haddow and Birch, ACL 2016, algorithm 1).
type merger struct {
	pairs map[uint64]mergeRule // key: left id in the upper half, right id in the lower
}

type mergeRule struct {
	rank int32
	id   int32 // of the merged token
}

func pairKey(left, right int32) uint64 { return uint64(uint32(left))<<32 | uint64(uint32(right)) }

// mergeScratch is reused between words.
type mergeScratch struct {
	ids        []int32 // token at each position; −1 where a merge swallowed it
	prev, next []int32
	heap       []candidate
}

// candidate is a pair that could be merged; it is stale once either token has changed.
type candidate struct {
	rank        int32
	at          int32 // position of the left token
	left, right int32
	id          int32
}

func (a candidate) before(b candidate) bool {
	return a.rank < b.rank || a.rank == b.rank && a.at < b.at
}

// apply merges the ids in s.ids and appends what remains to dst. A priority queue over a linked list keeps
// a word of n tokens at O(n log n), however long.
func (m *merger) apply(dst []int32, s *mergeScratch) []int32 {
	n := int32(len(s.ids))
	s.prev, s.next, s.heap = s.prev[:0], s.next[:0], s.heap[:0]
	for i := range n {
		s.prev = append(s.prev, i-1)
		s.next = append(s.next, i+1)
	}
	offer := func(at int32) {
		if at < 0 || at >= n || s.next[at] >= n {
			return
		}
		left, right := s.ids[at], s.ids[s.next[at]]
		if rule, ok := m.pairs[pairKey(left, right)]; ok {
			s.push(candidate{rule.rank, at, left, right, rule.id})
		}
	}
	for i := range n - 1 {
		offer(i)
	}
	for len(s.heap) > 0 {
		c := s.pop()
		right := s.next[c.at]
		if s.ids[c.at] != c.left || right >= n || s.ids[right] != c.right {
			continue
		}
		s.ids[c.at], s.ids[right] = c.id, -1
		s.next[c.at] = s.next[right]
		if s.next[c.at] < n {
			s.prev[s.next[c.at]] = c.at
		}
		offer(s.prev[c.at])
		offer(c.at)
	}
	for i := int32(0); i < n; i = s.next[i] {
		dst = append(dst, s.ids[i])
	}
	return dst
}

func (s *mergeScratch) push(c candidate) {
	h := append(s.heap, c)
	for i := len(h) - 1; i > 0; {
		parent := (i - 1) / 2
		if !h[i].before(h[parent]) {
			break
		}
		h[i], h[parent] = h[parent], h[i]
		i = parent
	}
	s.heap = h
}

func (s *mergeScratch) pop() candidate {
	h := s.heap
	top, last := h[0], len(h)-1
	h[0] = h[last]
	h = h[:last]
	for i := 0; ; {
		child := 2*i + 1
		if child >= last {
			break
		}
		if child+1 < last && h[child+1].before(h[child]) {
			child++
		}
		if !h[child].before(h[i]) {
			break
		}
		h[i], h[child] = h[child], h[i]
		i = child
	}
	s.heap = h
	return top
}
