package ring

import (
	"math"
	"unsafe"

	"ringo/runtime/tensor"
)

// quantBlock is the number of elements that share one scale in WireInt8.
const quantBlock = 256

// codec is how elements travel. A plain one moves them as they are.
type codec struct {
	wire  Wire
	plain bool
	block int       // elements that must travel together
	size  int       // bytes of an element, for plain
	rest  []float32 // what rounding took away so far, for WireInt8: one number per element
}

func plainCodec(size int) codec { return codec{plain: true, block: 1, size: size} }

// bytes is the size on the wire of n elements that start at a multiple of block.
func (c *codec) bytes(n int) int {
	switch {
	case c.plain:
		return n * c.size
	case c.wire == WireBF16:
		return 2 * n
	}
	return n + 4*((n+quantBlock-1)/quantBlock)
}

// encode writes elements [lo,hi) of an f32 vector for the wire. With settle the vector takes the values that
// others will decode, so that all ranks end with the same bits.
//
// WireInt8, per block, with error feedback (Seide et al., "1-bit stochastic gradient descent", 2014):
//
//	y = x + rest;  scale = max|y| / 127;  q = round(y/scale);  rest = y − q·scale
func (c *codec) encode(dst, vec []byte, lo, hi int, settle bool) {
	v := tensor.View[float32](vec)[lo:hi]
	if c.wire == WireBF16 {
		toBF16(dst, v)
		if settle {
			fromBF16(v, dst)
		}
		return
	}
	for i := 0; i < len(v); i += quantBlock {
		b := v[i:min(i+quantBlock, len(v))]
		rest := c.rest[lo+i:][:len(b)]
		quantize(dst[:4+len(b)], b, rest, settle)
		dst = dst[4+len(b):]
	}
}

// quantize encodes one block: a little-endian f32 scale, then int8 values.
func quantize(dst []byte, v, rest []float32, settle bool) {
	var top float32
	for i := range v {
		y := v[i] + rest[i]
		if y < 0 {
			y = -y
		}
		if !(y <= top) { // a NaN gets through
			top = y
		}
	}
	scale := top / 127
	putF32(dst, scale)
	inv := 1 / scale
	if scale == 0 || math.IsInf(float64(inv), 0) {
		inv = 0
	}
	if f := float64(scale); math.IsNaN(f) || math.IsInf(f, 0) { // overflowed gradients must be seen, not kept
		for i := range v {
			dst[4+i] = 1
			rest[i] = 0
			if settle {
				v[i] = scale
			}
		}
		return
	}
	for i := range v {
		y := v[i] + rest[i]
		q := int8(math.RoundToEven(float64(y * inv)))
		dst[4+i] = byte(q)
		back := float32(q) * scale
		rest[i] = y - back
		if settle {
			v[i] = back
		}
	}
}

// decode writes elements [lo,hi) of an f32 vector from the wire.
func (c *codec) decode(vec, src []byte, lo, hi int) {
	v := tensor.View[float32](vec)[lo:hi]
	if c.wire == WireBF16 {
		fromBF16(v, src)
		return
	}
	for i := 0; i < len(v); i += quantBlock {
		b := v[i:min(i+quantBlock, len(v))]
		scale := getF32(src)
		for j, q := range src[4 : 4+len(b)] {
			b[j] = float32(int8(q)) * scale
		}
		src = src[4+len(b):]
	}
}

// add adds what is on the wire to elements [lo,hi) of an f32 vector.
func (c *codec) add(vec, src []byte, lo, hi int) {
	v := tensor.View[float32](vec)[lo:hi]
	if c.wire == WireBF16 {
		addBF16(v, src)
		return
	}
	for i := 0; i < len(v); i += quantBlock {
		b := v[i:min(i+quantBlock, len(v))]
		scale := getF32(src)
		for j, q := range src[4 : 4+len(b)] {
			b[j] += float32(int8(q)) * scale
		}
		src = src[4+len(b):]
	}
}

func putF32(b []byte, f float32) {
	u := math.Float32bits(f)
	b[0], b[1], b[2], b[3] = byte(u), byte(u>>8), byte(u>>16), byte(u>>24)
}

func getF32(b []byte) float32 {
	return math.Float32frombits(uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24)
}

// feedback keeps the rest of WireInt8 for every call site, which is known by the vector it passes: its address
// and length. It lasts as long as the ring, so a new view starts from zero.
type feedback struct {
	at map[site][]float32
}

type site struct {
	first *byte
	bytes int
}

// maxSites bounds how many vectors are remembered; beyond, all start anew.
const maxSites = 4096

func (f *feedback) of(vec []byte) []float32 {
	key := site{unsafe.SliceData(vec), len(vec)}
	if rest := f.at[key]; rest != nil {
		return rest
	}
	if f.at == nil || len(f.at) >= maxSites {
		f.at = map[site][]float32{}
	}
	rest := make([]float32, len(vec)/4)
	f.at[key] = rest
	return rest
}
