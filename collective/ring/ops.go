package ring

import (
	"fmt"
	"slices"
	"unsafe"

	"ringo/runtime/tensor"
)

// set prepares the exchange for all ranks: no contributions, no wire coding, no plan.
func (r *Ring) set(op uint8, dt tensor.DType, size int) *exchange {
	x := &r.ex
	x.r, x.op, x.stage, x.dt, x.size, x.root, x.extra, x.plan = r, op, 0, dt, size, -1, 0, nil
	x.code = plainCodec(size)
	x.places, x.hold = x.places[:0], false
	x.rs, x.ag, x.out = true, true, nil
	x.me = r.self
	for len(x.group) < r.Size() {
		x.group = append(x.group, len(x.group))
	}
	x.group = x.group[:r.Size()]
	for i := range x.group {
		x.group[i] = i
	}
	x.count = ones(x.count, len(x.group))
	x.in = x.in[:0]
	return x
}

func ones(s []int, n int) []int {
	s = s[:0]
	for range n {
		s = append(s, 1)
	}
	return s
}

// align is the number of elements to which segment bounds are rounded: cache lines at least, whole int8 blocks.
const align = quantBlock

// split writes the bounds of n segments over elems elements: equal but for the last ones, on multiples of align.
func split(seg []int, elems, n int) []int {
	per := (elems + n - 1) / n
	per = (per + align - 1) / align * align
	seg = seg[:0]
	for i := range n + 1 {
		seg = append(seg, min(i*per, elems))
	}
	return seg
}

// Segment returns the bounds, in elements, of the part of a vector of elems elements that belongs to a rank in
// ReduceScatter and AllGather.
func (r *Ring) Segment(rank, elems int) (lo, hi int) {
	per := (elems + r.Size() - 1) / r.Size()
	per = (per + align - 1) / align * align
	return min(rank*per, elems), min((rank+1)*per, elems)
}

func elements(buf []byte, dt tensor.DType) (int, error) {
	switch dt {
	case tensor.F32, tensor.F64, tensor.F16, tensor.BF16, tensor.I32:
	default:
		return 0, fmt.Errorf("ring: cannot sum elements of type %s, expected f32, f64, f16, bf16 or i32", dt)
	}
	size := dt.Size()
	if len(buf)%size != 0 || len(buf) > 0 && uintptr(unsafe.Pointer(unsafe.SliceData(buf)))%uintptr(size) != 0 {
		return 0, fmt.Errorf("ring: vector of %d bytes at %p is no aligned array of %s", len(buf), unsafe.SliceData(buf), dt)
	}
	return len(buf) / size, nil
}

// AllReduce replaces buf, a vector of dt (f32, f64, f16, bf16, i32), by the sum over all ranks. All ranks end with the same
// bits, and the same bits every time at one world size and schedule. Sums of f16 and bf16 are rounded after every addition.
// f32 vectors travel as Options.Wire says; with WireInt8 a vector should be passed in the same memory every time.
func (r *Ring) AllReduce(buf []byte, dt tensor.DType) error {
	return r.operateOn(buf, dt, func(elems int) error { return r.allReduce(buf, dt, elems) })
}

// operate does one operation; alone there is nothing to do.
func (r *Ring) operate(run func() error) error {
	if err := r.begin(); err != nil {
		return err
	}
	if r.Size() == 1 {
		return r.end(nil)
	}
	return r.end(run())
}

// operateOn does an operation on a vector that was checked.
func (r *Ring) operateOn(buf []byte, dt tensor.DType, run func(elems int) error) error {
	elems, err := elements(buf, dt)
	if err != nil {
		return err
	}
	return r.operate(func() error { return run(elems) })
}

func (r *Ring) allReduce(buf []byte, dt tensor.DType, elems int) error {
	switch r.schedule(dt, len(buf)) {
	case ScheduleLevels:
		return r.overLevels(r.levels, buf, dt, elems)
	case ScheduleAround:
		return r.aroundRing(buf, dt, elems)
	}
	x := r.set(opAllReduce, dt, dt.Size())
	x.code = r.wireCode(dt, buf)
	x.seg = split(x.seg, elems, r.Size())
	x.in, x.out = append(x.in, buf), buf
	return x.run()
}

// schedule chooses how to sum a vector; all ranks choose the same.
func (r *Ring) schedule(dt tensor.DType, bytes int) Schedule {
	coded := dt == tensor.F32 && r.opt.Wire != WireExact
	ringable := r.Size() > 2 && !coded
	switch s := r.opt.Schedule; {
	case (s == ScheduleAuto || s == ScheduleLevels) && r.levels != nil:
		return ScheduleLevels
	case s == ScheduleAround && ringable:
		return ScheduleAround
	case s == ScheduleAuto && ringable && r.Size() >= aroundFrom && bytes >= r.Size()*aroundBytes && !r.oneHost:
		return ScheduleAround
	}
	return ScheduleDirect
}

// From how many ranks, and bytes per rank, on the ring schedule is chosen by itself: there two neighbours serve better than a
// connection to everybody at once, and the 2(n−1) rounds no longer show.
const (
	aroundFrom  = 16
	aroundBytes = 256 << 10
)

// wireCode is how a vector of AllReduce travels.
func (r *Ring) wireCode(dt tensor.DType, buf []byte) codec {
	switch {
	case dt != tensor.F32 || r.opt.Wire == WireExact:
		return plainCodec(dt.Size())
	case r.opt.Wire == WireInt8:
		return codec{wire: WireInt8, block: quantBlock, rest: r.feed.of(buf)}
	}
	return codec{wire: r.opt.Wire, block: 1}
}

// ReduceScatter leaves in this rank's Segment of buf the sum over all ranks. What the rest of buf holds then is
// not defined.
func (r *Ring) ReduceScatter(buf []byte, dt tensor.DType) error {
	return r.operateOn(buf, dt, func(elems int) error {
		x := r.set(opReduceScatter, dt, dt.Size())
		x.seg = split(x.seg, elems, r.Size())
		x.in, x.out, x.ag = append(x.in, buf), buf, false
		return x.run()
	})
}

// AllGather fills every rank's Segment of buf from that rank.
func (r *Ring) AllGather(buf []byte, dt tensor.DType) error {
	return r.operateOn(buf, dt, func(elems int) error {
		x := r.set(opAllGather, dt, dt.Size())
		x.seg = split(x.seg, elems, r.Size())
		x.out, x.rs = buf, false
		return x.run()
	})
}

// Broadcast copies buf of rank root to all ranks: the root scatters segments, and all gather them (van de Geijn),
// so no rank sends more than about two times buf.
func (r *Ring) Broadcast(root int, buf []byte) error {
	if root < 0 || root >= r.Size() {
		return fmt.Errorf("ring: broadcast from rank %d, expected one below %d", root, r.Size())
	}
	return r.operate(func() error {
		x := r.set(opBroadcast, tensor.U8, 1)
		x.seg = split(x.seg, len(buf), r.Size())
		for i := range x.count {
			x.count[i] = 0
		}
		x.count[root], x.root, x.extra, x.out = 1, root, uint64(root), buf
		if r.self == root {
			x.in = append(x.in, buf)
		}
		return x.run()
	})
}

// Barrier returns when all ranks have called it.
func (r *Ring) Barrier() error {
	return r.operate(func() error {
		x := r.set(opBarrier, tensor.U8, 1)
		x.seg = split(x.seg, 0, r.Size())
		return x.run()
	})
}

// Gather returns every rank's bytes, by rank. They are at most 1 MiB each, and may differ in length.
func (r *Ring) Gather(mine []byte) ([][]byte, error) {
	if len(mine) > maxGather {
		return nil, fmt.Errorf("ring: gather of %d bytes, expected at most %d per rank", len(mine), maxGather)
	}
	all := [][]byte{slices.Clone(mine)}
	err := r.operate(func() (err error) {
		all, err = r.gatherAll(mine)
		return err
	})
	return all, err
}

// gatherAll tells all lengths in headers, then the bytes.
func (r *Ring) gatherAll(mine []byte) ([][]byte, error) {
	x := r.set(opGather, tensor.U8, 1)
	x.seg = split(x.seg, 0, r.Size())
	x.extra = uint64(len(mine))
	if err := x.run(); err != nil {
		return nil, err
	}
	seg := []int{0}
	for i := range r.Size() {
		n := uint64(len(mine))
		if i != r.self {
			n = x.flows[i].extra
		}
		if n > maxGather {
			return nil, r.blame(i, fmt.Errorf("claims %d bytes to gather, expected at most %d", n, maxGather))
		}
		seg = append(seg, seg[i]+int(n))
	}
	x = r.set(opGather, tensor.U8, 1)
	x.stage, x.rs, x.seg = 1, false, seg
	x.out = make([]byte, seg[r.Size()])
	copy(x.out[seg[r.self]:], mine)
	if err := x.run(); err != nil {
		return nil, err
	}
	var all [][]byte
	for i := range r.Size() {
		all = append(all, x.out[seg[i]:seg[i+1]:seg[i+1]])
	}
	return all, nil
}
