package ring

import "unsafe"

// push sends what can be sent to one member now, at most about a chunk, so that sending and receiving alternate
// while bytes are in the cache.
func (x *exchange) push(f *flow) (moved bool, err error) {
	budget := x.r.opt.Chunk
	for budget > 0 {
		if len(f.piece) == 0 && !x.nextPiece(f) && len(f.headOut) == 0 {
			return moved, nil
		}
		want := min(len(f.piece), budget)
		send := f.link.send
		if x.code.plain { // pieces are parts of vectors, which change only after the peer has used them
			send = f.link.lend
		}
		n, err := send(f.headOut, f.piece[:want])
		if err != nil {
			return moved, err
		}
		if n == 0 {
			return moved, nil
		}
		moved = true
		budget -= n
		x.r.stats.sent.Add(uint64(n))
		full := n < len(f.headOut)+want
		k := min(n, len(f.headOut))
		f.headOut = f.headOut[k:]
		f.piece = f.piece[n-k:]
		if full {
			return moved, nil
		}
	}
	return moved, nil
}

// nextPiece finds the next bytes for a member, false when there are none yet or no more.
func (x *exchange) nextPiece(f *flow) bool {
	i := x.index(f)
	for {
		switch f.sendStep {
		case stepHead:
			f.sendStep = stepRS
			if f.piece = x.places; len(f.piece) > 0 {
				return true
			}
		case stepRS:
			if x.hold {
				return false
			}
			if x.rs && x.count[x.me] > 0 && x.contribute(f, x.seg[i], x.seg[i+1]) {
				return true
			}
			f.sendStep, f.sendPos = stepAG, 0
		case stepAG:
			lo, hi := x.seg[x.me], x.seg[x.me+1]
			if !x.ag || i == x.root || f.sendPos == hi-lo {
				f.sendStep = stepDone
				return false
			}
			upTo := x.ready
			if !x.code.plain {
				upTo = x.coded
			}
			if upTo == f.sendPos {
				return false
			}
			if x.code.plain {
				f.piece = x.out[(lo+f.sendPos)*x.size : (lo+upTo)*x.size]
			} else {
				f.piece = x.wire[x.code.bytes(f.sendPos):x.code.bytes(upTo)]
			}
			f.sendPos = upTo
			return true
		default:
			return false
		}
	}
}

// contribute sets the next piece of this rank's contributions to elements [lo,hi).
func (x *exchange) contribute(f *flow, lo, hi int) bool {
	if f.sendPos == hi-lo {
		return false
	}
	from := lo + f.sendPos
	if x.code.plain && x.plan == nil {
		f.piece = x.in[0][from*x.size : hi*x.size]
		f.sendPos = hi - lo
		return true
	}
	to := min(from+x.chunk, hi)
	if x.code.plain {
		f.piece = x.in[f.sendPart][from*x.size : to*x.size]
		if f.sendPart++; f.sendPart < len(x.in) {
			return true
		}
		f.sendPart = 0
	} else {
		f.enc = grow(f.enc, x.code.bytes(x.chunk))
		f.piece = f.enc[:x.code.bytes(to-from)]
		x.code.encode(f.piece, x.in[0], from, to, false)
	}
	f.sendPos = to - lo
	return true
}

func (x *exchange) index(f *flow) int {
	return int((uintptr(unsafe.Pointer(f)) - uintptr(unsafe.Pointer(unsafe.SliceData(x.flows)))) / unsafe.Sizeof(flow{}))
}
