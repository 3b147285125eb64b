package ring

import (
	"fmt"
	"hash/fnv"
	"slices"
	"unsafe"

	"ringo/runtime/tensor"
)

// ReduceTree sums over lanes, reproducibly. Rank r holds lanes [bounds[r],bounds[r+1]), which may be none; bounds[0] is 0. parts[i] is this
// rank's sum over the i-th subtree of runtime.Subtrees(bounds[r], bounds[r+1]), each as long as out. out, on all
// ranks, is the sum in the order of one binary tree over all lanes: the same bits at any world size and any bounds, and
// those of a single process. out may be the last part; the other parts are left as they are.
//
// A rank with k subtrees sends k·(n−1)/n·N bytes, then (n−1)/n·N for the result. One subtree, an aligned block, costs what
// AllReduce does.
func (r *Ring) ReduceTree(out []float32, parts [][]float32, bounds []int) error {
	if err := r.checkTree(out, parts, bounds); err != nil {
		return err
	}
	if err := r.begin(); err != nil {
		return err
	}
	return r.end(r.reduceTree(out, parts, bounds))
}

func (r *Ring) checkTree(out []float32, parts [][]float32, bounds []int) error {
	n := r.Size()
	if len(bounds) != n+1 || bounds[0] != 0 || !slices.IsSorted(bounds) || bounds[n] < 1 || bounds[n] > 1<<30 {
		return fmt.Errorf("ring: lane bounds %v, expected %d that rise from 0 to at least 1", bounds, n+1)
	}
	want := 0
	subtrees(bounds[r.self], bounds[r.self+1], func(int, int) { want++ })
	if len(parts) != want {
		return fmt.Errorf("ring: %d parts for lanes [%d,%d), which are %d subtrees", len(parts), bounds[r.self], bounds[r.self+1], want)
	}
	for i, p := range parts {
		if len(p) != len(out) {
			return fmt.Errorf("ring: part %d has %d elements, out has %d", i, len(p), len(out))
		}
	}
	return nil
}

func (r *Ring) reduceTree(out []float32, parts [][]float32, bounds []int) error {
	if !slices.Equal(r.lanes, bounds) {
		r.lanes = append(r.lanes[:0], bounds...)
		r.tree = planTree(bounds, r.self)
	}
	x := r.set(opTree, tensor.F32, 4)
	h := fnv.New64a()
	for _, b := range bounds {
		h.Write([]byte{byte(b), byte(b >> 8), byte(b >> 16), byte(b >> 24)})
	}
	x.extra = h.Sum64()
	x.seg = split(x.seg, len(out), r.Size())
	x.count = append(x.count[:0], r.tree.count...)
	for _, p := range parts {
		x.in = append(x.in, bytesOf(p))
	}
	x.out = bytesOf(out)
	if !r.tree.pairwise() {
		x.plan = &r.tree
	}
	if r.Size() == 1 {
		if x.plan == nil {
			copy(x.out, x.in[0])
			return nil
		}
		x.prepare()
		x.local()
		return nil
	}
	return x.run()
}

func bytesOf(v []float32) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(v))), 4*len(v))
}
