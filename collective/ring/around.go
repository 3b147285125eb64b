package ring

import (
	"ringo/runtime/tensor"
)

// around is the ring schedule. The vector is cut into n segments; in step t of 2(n−1) a rank sends segment i−t to the
// next rank and receives segment i−t−1 from the one before, adding in the first n−1 steps and replacing after.
// What is received in one step is what is sent in the next, so a rank may send as far as it has received one step before: all steps
// overlap, with no unit but the byte.
//
// One half of the vector goes around one way and the other half the other way at once, as every connection carries both ways.
// The order of additions depends on the segment: the same bits on all ranks and every time, but not at another world size.
type around struct {
	way [2]direction
	on  interests
}

// direction is one way around.
type direction struct {
	d        int // +1 or −1
	buf      []byte
	seg      []int // bounds in elements
	to, from flow
	send,
	recv cursor
	stage []byte
}

// cursor is a place in the sequence of steps: bytes into the segment of step t.
type cursor struct{ t, at int }

// room is how many bytes of its step a sender may send, when what it sends was received, up to o, one step before.
func (c cursor) room(o cursor, segment int) int {
	switch {
	case o.t >= c.t:
		return segment - c.at
	case o.t == c.t-1:
		return o.at - c.at
	}
	return 0
}

// bytes returns the segment of step t, seen from a rank.
func (w *direction) bytes(rank, n, size, t int) []byte {
	i := ((rank-w.d*t)%n + n) % n
	return w.buf[w.seg[i]*size : w.seg[i+1]*size]
}

// aroundRing is AllReduce by the ring schedule, for at least three ranks.
func (r *Ring) aroundRing(buf []byte, dt tensor.DType, elems int) error {
	x := r.set(opAllReduce, dt, dt.Size())
	x.stage = 4
	x.seg = split(x.seg, elems, r.Size())
	n, size := r.Size(), dt.Size()
	half := elems / 2 / align * align
	for k := range r.around.way {
		w := &r.around.way[k]
		w.d, w.buf = 1-2*k, buf[:half*size]
		if k == 1 {
			w.buf = buf[half*size:]
		}
		w.seg = split(w.seg, len(w.buf)/size, n)
		w.send, w.recv = cursor{}, cursor{}
		next, prev := (r.self+w.d+n)%n, (r.self-w.d+n)%n
		w.to.rank, w.to.link, w.from.rank, w.from.link = next, r.peer[next].link, prev, r.peer[prev].link
		x.header(&w.to)
		w.to.headOut = w.to.head[:]
		w.from.head, w.from.got, w.from.recvStep = w.to.head, 0, stepHead
		w.stage = grow(w.stage, r.opt.Chunk)
	}
	return r.turn(x, dt, size)
}

// turn moves both directions until they are through.
func (r *Ring) turn(x *exchange, dt tensor.DType, size int) error {
	var patient patience
	on := &r.around.on
	steps := 2 * (r.Size() - 1)
	for {
		token := r.bell.token()
		moved, open := false, false
		on.reset()
		for k := range r.around.way {
			w := &r.around.way[k]
			a, err := w.push(r, size, steps)
			if err != nil {
				return x.broken(&w.to, err)
			}
			b, err := w.pull(x, dt, size, steps)
			if err != nil {
				return x.broken(&w.from, err)
			}
			moved = moved || a || b
			more := w.send.t < steps && (len(w.to.headOut) > 0 || w.room(r, size) > 0)
			if more {
				on.add(w.to.rank, w.to.link, false, true)
			}
			if w.recv.t < steps {
				on.add(w.from.rank, w.from.link, true, false)
			}
			open = open || w.send.t < steps || w.recv.t < steps
		}
		if !open {
			return nil
		}
		if moved {
			continue
		}
		if err := r.wait(token, &patient, on); err != nil {
			return err
		}
	}
}

// room is how many bytes of the current step may be sent now.
func (w *direction) room(r *Ring, size int) int {
	segment := len(w.bytes(r.self, r.Size(), size, w.send.t))
	if w.send.t == 0 {
		return segment - w.send.at
	}
	return w.send.room(w.recv, segment)
}

func (w *direction) push(r *Ring, size, steps int) (moved bool, err error) {
	for budget := r.opt.Chunk; budget > 0 && w.send.t < steps; {
		seg := w.bytes(r.self, r.Size(), size, w.send.t)
		if w.send.at == len(seg) && len(w.to.headOut) == 0 {
			w.send = cursor{t: w.send.t + 1}
			moved = true
			continue
		}
		k := min(w.room(r, size), budget)
		if k <= 0 && len(w.to.headOut) == 0 {
			return moved, nil
		}
		n, err := w.to.link.send(w.to.headOut, seg[w.send.at:w.send.at+max(k, 0)])
		if n == 0 || err != nil {
			return moved, err
		}
		moved = true
		budget -= n
		r.stats.sent.Add(uint64(n))
		h := min(n, len(w.to.headOut))
		w.to.headOut = w.to.headOut[h:]
		w.send.at += n - h
	}
	return moved, nil
}

func (w *direction) pull(x *exchange, dt tensor.DType, size, steps int) (moved bool, err error) {
	f := &w.from
	for budget := x.r.opt.Chunk; budget > 0 && w.recv.t < steps; {
		n := 0
		if f.recvStep == stepHead {
			if n, err = f.link.recv(f.theirs[f.got:]); n == 0 || err != nil {
				return moved, err
			}
			if f.got += n; f.got == headerSize {
				f.recvStep, f.got = stepRS, 0
				if err := x.checkHeader(f); err != nil {
					return moved, err
				}
			}
			moved = true
			continue
		}
		seg := w.bytes(x.r.self, x.r.Size(), size, w.recv.t+1)
		if w.recv.at == len(seg) {
			w.recv = cursor{t: w.recv.t + 1}
			moved = true
			continue
		}
		if w.recv.t >= steps/2 {
			n, err = f.link.recv(seg[w.recv.at:])
			w.recv.at += n
		} else {
			n, err = w.add(seg[w.recv.at:], dt, size)
		}
		if n == 0 || err != nil {
			return moved, err
		}
		x.r.stats.received.Add(uint64(n))
		moved = true
		budget -= n
	}
	return moved, nil
}

// add adds what has come to the start of dst.
func (w *direction) add(dst []byte, dt tensor.DType, size int) (int, error) {
	f := &w.from
	n, err := f.link.recv(w.stage[f.got:min(len(w.stage), len(dst))])
	f.got += n
	k := f.got / size * size
	add(dt, dst[:k], dst[:k], w.stage[:k])
	f.got = copy(w.stage, w.stage[k:f.got])
	w.recv.at += k
	return n, err
}
