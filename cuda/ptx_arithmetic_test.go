//go:build cuda

package cuda

import (
	"fmt"
	"math"
	"math/big"
	"math/bits"
	"strings"
	"testing"
)

func u64(lo, hi uint32) uint64 { return uint64(hi)<<32 | uint64(lo) }
func words(x uint64) []uint32  { return []uint32{uint32(x), uint32(x >> 32)} }
func f32(x uint32) float32     { return math.Float32frombits(x) }
func bitsOf(x float32) uint32  { return math.Float32bits(x) }
func boolWord(b bool) uint32   { return map[bool]uint32{true: 1}[b] }
func canonical32(x float32) uint32 { // NaNs have many bits; one stands for all
	if x != x {
		return 0x7fc00000
	}
	return bitsOf(x)
}

// Instructions of 32 bits on %r1, %r2, %r3.
func TestPTXIntegers(t *testing.T) {
	s := func(f func(a, b int32) int32) func(a, b, c uint32) uint32 {
		return func(a, b, _ uint32) uint32 { return uint32(f(int32(a), int32(b))) }
	}
	u := func(f func(a, b uint32) uint32) func(a, b, c uint32) uint32 {
		return func(a, b, _ uint32) uint32 { return f(a, b) }
	}
	var all []snippet
	for _, c := range []struct {
		body string
		f    func(a, b, c uint32) uint32
	}{
		{"add.s32 %r11, %r1, %r2;", s(func(a, b int32) int32 { return a + b })},
		{"sub.s32 %r11, %r1, %r2;", s(func(a, b int32) int32 { return a - b })},
		{"mul.lo.s32 %r11, %r1, %r2;", s(func(a, b int32) int32 { return a * b })},
		{"mul.hi.s32 %r11, %r1, %r2;", s(func(a, b int32) int32 { return int32(int64(a) * int64(b) >> 32) })},
		{"mul.hi.u32 %r11, %r1, %r2;", u(func(a, b uint32) uint32 { return uint32(uint64(a) * uint64(b) >> 32) })},
		{"mad.lo.s32 %r11, %r1, %r2, %r3;", func(a, b, c uint32) uint32 { return a*b + c }},
		{"or.b32 %r20, %r2, 1;\ndiv.u32 %r11, %r1, %r20;", u(func(a, b uint32) uint32 { return a / (b | 1) })},
		{"or.b32 %r20, %r2, 1;\nrem.u32 %r11, %r1, %r20;", u(func(a, b uint32) uint32 { return a % (b | 1) })},
		{"or.b32 %r20, %r2, 1;\ndiv.s32 %r11, %r1, %r20;", s(func(a, b int32) int32 { return a / (b | 1) })},
		{"or.b32 %r20, %r2, 1;\nrem.s32 %r11, %r1, %r20;", s(func(a, b int32) int32 { return a % (b | 1) })},
		{"min.s32 %r11, %r1, %r2;", s(func(a, b int32) int32 { return min(a, b) })},
		{"max.s32 %r11, %r1, %r2;", s(func(a, b int32) int32 { return max(a, b) })},
		{"max.u32 %r11, %r1, %r2;", u(func(a, b uint32) uint32 { return max(a, b) })},
		{"neg.s32 %r11, %r1;", s(func(a, _ int32) int32 { return -a })},
		{"abs.s32 %r11, %r1;", s(func(a, _ int32) int32 { return max(a, -a) })},
		{"and.b32 %r11, %r1, %r2;", u(func(a, b uint32) uint32 { return a & b })},
		{"or.b32 %r11, %r1, -4;", u(func(a, _ uint32) uint32 { return a | 0xfffffffc })},
		{"xor.b32 %r11, %r1, %r2;", u(func(a, b uint32) uint32 { return a ^ b })},
		{"not.b32 %r11, %r1;", u(func(a, _ uint32) uint32 { return ^a })},
		{"shl.b32 %r11, %r1, %r2;", u(func(a, b uint32) uint32 { return a << b })},
		{"shr.u32 %r11, %r1, %r2;", u(func(a, b uint32) uint32 { return a >> b })},
		{"shr.s32 %r11, %r1, %r2;", s(func(a, b int32) int32 { return a >> uint32(b) })},
		{"clz.b32 %r11, %r1;", u(func(a, _ uint32) uint32 { return uint32(bits.LeadingZeros32(a)) })},
		{"popc.b32 %r11, %r1;", u(func(a, _ uint32) uint32 { return uint32(bits.OnesCount32(a)) })},
		{"bfi.b32 %r11, %r1, %r2, 3, 29;", u(func(a, b uint32) uint32 { return b&7 | a<<3 })},
		{"bfi.b32 %r11, %r1, %r2, 8, 4;", u(func(a, b uint32) uint32 { return b&^0xf00 | a&15<<8 })},
		{"prmt.b32 %r11, %r1, %r2, 30227;", u(func(a, b uint32) uint32 { return a>>24 | a&0xff00 | b&0xffff0000 })},
		{"lop3.b32 %r11, %r1, %r2, %r3, 0xe8;", func(a, b, c uint32) uint32 { return a&b | b&c | a&c }},
		{"shf.l.wrap.b32 %r11, %r1, %r2, 5;", u(func(a, b uint32) uint32 { return b<<5 | a>>27 })},
		{"shf.r.wrap.b32 %r11, %r1, %r2, 5;", u(func(a, b uint32) uint32 { return b<<27 | a>>5 })},
		{"dp4a.s32.s32 %r11, %r1, %r2, %r3;", func(a, b, c uint32) uint32 {
			for k := 0; k < 32; k += 8 {
				c += uint32(int32(int8(a>>k)) * int32(int8(b>>k)))
			}
			return c
		}},
		{"setp.lt.s32 %p1, %r1, %r2;\nsetp.ge.u32 %p2, %r1, %r2;\nand.pred %p3, %p1, %p2;\nselp.u32 %r11, 1, 0, %p3;", u(func(a, b uint32) uint32 { return boolWord(int32(a) < int32(b) && a >= b) })},
		{"setp.ne.s32 %p1, %r1, 0;\nnot.pred %p2, %p1;\nselp.b32 %r11, %r2, %r3, %p2;", func(a, b, c uint32) uint32 { return map[bool]uint32{true: b, false: c}[a == 0] }},
		{"cvt.u16.u32 %h1, %r1;\nmul.lo.s16 %h2, %h1, %h1;\ncvt.s32.s16 %r11, %h2;", u(func(a, _ uint32) uint32 { return uint32(int32(int16(a) * int16(a))) })},
		{"cvt.s32.s8 %r11, %r1;", u(func(a, _ uint32) uint32 { return uint32(int32(int8(a))) })},
		{"mov.b32 {%h1, %h2}, %r1;\nmov.b32 %r11, {%h2, %h1};", u(func(a, _ uint32) uint32 { return a>>16 | a<<16 })},
	} {
		all = append(all, snippet{c.body, c.body, nil, func(_ int, x []uint32) []uint32 { return []uint32{c.f(x[0], x[1], x[2])} }})
	}
	runSnippets(t, all)
}

// Instructions of 64 bits, and sums with carry.
func TestPTXWideIntegers(t *testing.T) {
	const take, give = "mov.b64 %l3, {%r1, %r2};\nmov.b64 %l4, {%r3, %r4};\n", "\nmov.b64 {%r11, %r12}, %l5;"
	var all []snippet
	for _, c := range []struct {
		body string
		f    func(a, b uint64) uint64
	}{
		{"add.s64 %l5, %l3, %l4;", func(a, b uint64) uint64 { return a + b }},
		{"sub.s64 %l5, %l3, %l4;", func(a, b uint64) uint64 { return a - b }},
		{"mul.lo.s64 %l5, %l3, %l4;", func(a, b uint64) uint64 { return a * b }},
		{"or.b64 %l4, %l4, 1;\ndiv.s64 %l5, %l3, %l4;", func(a, b uint64) uint64 { return uint64(int64(a) / int64(b|1)) }},
		{"or.b64 %l4, %l4, 1;\nrem.u64 %l5, %l3, %l4;", func(a, b uint64) uint64 { return a % (b | 1) }},
		{"min.s64 %l5, %l3, %l4;", func(a, b uint64) uint64 { return uint64(min(int64(a), int64(b))) }},
		{"shl.b64 %l5, %l3, %r3;", func(a, b uint64) uint64 { return a << uint32(b) }},
		{"shr.s64 %l5, %l3, %r3;", func(a, b uint64) uint64 { return uint64(int64(a) >> uint32(b)) }},
		{"shr.u64 %l5, %l3, %r3;", func(a, b uint64) uint64 { return a >> uint32(b) }},
		{"mul.wide.s32 %l5, %r1, %r3;", func(a, b uint64) uint64 { return uint64(int64(int32(a)) * int64(int32(b))) }},
		{"mul.wide.u32 %l5, %r1, %r3;", func(a, b uint64) uint64 { return uint64(uint32(a)) * uint64(uint32(b)) }},
		{"cvt.s64.s32 %l5, %r1;", func(a, _ uint64) uint64 { return uint64(int32(a)) }},
		{"cvt.u64.u32 %l5, %r1;", func(a, _ uint64) uint64 { return uint64(uint32(a)) }},
		{"clz.b64 %r20, %l3;\ncvt.u64.u32 %l5, %r20;", func(a, _ uint64) uint64 { return uint64(bits.LeadingZeros64(a)) }},
		{"setp.gt.s64 %p1, %l3, %l4;\nselp.b64 %l5, %l3, %l4, %p1;", func(a, b uint64) uint64 { return uint64(max(int64(a), int64(b))) }},
		{"add.cc.u32 %r20, %r1, %r3;\naddc.u32 %r21, %r2, %r4;\nmov.b64 %l5, {%r20, %r21};", func(a, b uint64) uint64 { return a + b }},
		{"sub.cc.u32 %r20, %r1, %r3;\nsubc.u32 %r21, %r2, %r4;\nmov.b64 %l5, {%r20, %r21};", func(a, b uint64) uint64 { return a - b }},
		{"mad.lo.cc.u32 %r20, %r1, %r3, %r2;\nmadc.hi.u32 %r21, %r1, %r3, %r4;\nmov.b64 %l5, {%r20, %r21};",
			func(a, b uint64) uint64 { return uint64(uint32(a))*uint64(uint32(b)) + a>>32 + b>>32<<32 }},
	} {
		all = append(all, snippet{c.body, take + c.body + give, nil, func(_ int, x []uint32) []uint32 { return words(c.f(u64(x[0], x[1]), u64(x[2], x[3]))) }})
	}
	runSnippets(t, all)
}

// exactly rounds a·b + c to f32 in a direction, by arithmetic without rounding.
func exactly(a, b, c float32, mode big.RoundingMode) float32 {
	for _, x := range []float32{a, b, c} {
		if math.IsNaN(float64(x)) || math.IsInf(float64(x), 0) {
			return float32(math.FMA(float64(a), float64(b), float64(c))) // special values round no way
		}
	}
	wide := func(x float32) *big.Float { return new(big.Float).SetPrec(1000).SetFloat64(float64(x)) }
	sum := wide(a)
	sum.Mul(sum, wide(b)).Add(sum, wide(c))
	if sum.Sign() == 0 {
		return float32(float64(a)*float64(b)) + c
	}
	nearest, accuracy := sum.Float32()
	switch {
	case mode == big.ToNegativeInf && accuracy == big.Above:
		return math.Nextafter32(nearest, float32(math.Inf(-1)))
	case mode == big.ToZero && (accuracy == big.Above) == (sum.Sign() > 0) && accuracy != big.Exact:
		return math.Nextafter32(nearest, 0)
	}
	return nearest
}

func TestPTXFloats(t *testing.T) {
	nearest := func(v float32) uint32 { return canonical32(v) }
	var all []snippet
	for _, c := range []struct {
		body string
		f    func(a, b, c float32) uint32
	}{
		{"add.f32 %f4, %f1, %f2;", func(a, b, _ float32) uint32 { return nearest(a + b) }},
		{"mul.rn.f32 %f4, %f1, %f2;", func(a, b, _ float32) uint32 { return nearest(a * b) }},
		{"div.rn.f32 %f4, %f1, %f2;", func(a, b, _ float32) uint32 { return nearest(a / b) }},
		{"rcp.rn.f32 %f4, %f1;", func(a, _, _ float32) uint32 { return nearest(1 / a) }},
		{"sqrt.rn.f32 %f4, %f1;", func(a, _, _ float32) uint32 { return nearest(float32(math.Sqrt(float64(a)))) }},
		{"fma.rn.f32 %f4, %f1, %f2, %f3;", func(a, b, c float32) uint32 { return nearest(exactly(a, b, c, big.ToNearestEven)) }},
		{"fma.rm.f32 %f4, %f1, %f2, %f3;\nadd.f32 %f4, %f4, 0f00000000;", func(a, b, c float32) uint32 { return nearest(exactly(a, b, c, big.ToNegativeInf) + 0) }},
		{"add.rz.f32 %f4, %f1, %f2;", func(a, b, _ float32) uint32 { return nearest(exactly(a, 1, b, big.ToZero)) }},
		{"neg.f32 %f4, %f1;\nabs.f32 %f4, %f4;", func(a, _, _ float32) uint32 { return nearest(float32(math.Abs(float64(a)))) }},
		{"copysign.f32 %f4, %f1, %f2;", func(a, b, _ float32) uint32 { return nearest(float32(math.Copysign(float64(b), float64(a)))) }},
		{"cvt.rni.f32.f32 %f4, %f1;", func(a, _, _ float32) uint32 { return nearest(float32(math.RoundToEven(float64(a)))) }},
		{"cvt.rmi.f32.f32 %f4, %f1;", func(a, _, _ float32) uint32 { return nearest(float32(math.Floor(float64(a)))) }},
		{"cvt.rpi.f32.f32 %f4, %f1;", func(a, _, _ float32) uint32 { return nearest(float32(math.Ceil(float64(a)))) }},
		{"cvt.sat.f32.f32 %f4, %f1;", func(a, _, _ float32) uint32 {
			if a != a {
				return 0
			}
			return bitsOf(float32(math.Max(0, math.Min(1, float64(a)))))
		}},
		{"max.f32 %f4, %f1, %f2;", func(a, b, _ float32) uint32 {
			if a != a {
				return nearest(b)
			}
			if b != b {
				return nearest(a)
			}
			return bitsOf(float32(math.Max(float64(a), float64(b))))
		}},
		{"mov.b32 %r20, %f1;\ncvt.rn.f32.s32 %f4, %r20;", func(a, _, _ float32) uint32 { return bitsOf(float32(int32(bitsOf(a)))) }},
		{"mov.b32 %r20, %f1;\ncvt.rn.f32.u32 %f4, %r20;", func(a, _, _ float32) uint32 { return bitsOf(float32(bitsOf(a))) }},
		{"cvt.rn.bf16.f32 %h1, %f1;\nmov.b32 %f4, {0, %h1};", func(a, _, _ float32) uint32 { return nearestBF16(a) }},
		{"cvt.f64.f32 %d1, %f1;\nadd.f64 %d1, %d1, 0d3FF0000000000000;\ncvt.rn.f32.f64 %f4, %d1;", func(a, _, _ float32) uint32 { return nearest(float32(float64(a) + 1)) }},
	} {
		fix := "\nsetp.nan.f32 %p1, %f4, %f4;\nmov.b32 %r20, %f4;\nselp.b32 %r11, 2143289344, %r20, %p1;"
		if strings.HasPrefix(c.body, "cvt.rn.bf16") {
			fix = "\nmov.b32 %r11, %f4;"
		}
		all = append(all, snippet{c.body, "mov.b32 %f1, %r1;\nmov.b32 %f2, %r2;\nmov.b32 %f3, %r3;\n" + c.body + fix, nil,
			func(_ int, x []uint32) []uint32 { return []uint32{c.f(f32(x[0]), f32(x[1]), f32(x[2]))} }})
	}
	for _, c := range []struct {
		to      string
		min, no uint32
		of      func(x float64) uint32
	}{
		{"s32", 0x80000000, 0, func(x float64) uint32 { return uint32(int32(math.Max(math.MinInt32, math.Min(math.MaxInt32, x)))) }},
		{"u32", 0, 0, func(x float64) uint32 { return uint32(math.Max(0, math.Min(math.MaxUint32, x))) }},
	} {
		all = append(all, snippet{"cvt.rzi." + c.to, fmt.Sprintf("mov.b32 %%f1, %%r1;\ncvt.rzi.%s.f32 %%r11, %%f1;", c.to), nil, func(_ int, x []uint32) []uint32 {
			if a := f32(x[0]); a == a {
				return []uint32{c.of(math.Trunc(float64(a)))}
			}
			return []uint32{c.no}
		}})
	}
	runSnippets(t, all)
}

// nearestBF16 is the f32 whose lower half is zero that is nearest to x, by its distance to both neighbours.
func nearestBF16(x float32) uint32 {
	if x != x {
		return 0x7fff0000
	}
	low := bitsOf(x) &^ 0xffff
	high := low + 0x10000
	if math.IsInf(float64(x), 0) || low == bitsOf(x) {
		return low
	}
	at := func(u uint32) float64 { // the number after the largest, where infinity begins
		if u&0x7fffffff == 0x7f800000 {
			return math.Copysign(math.Ldexp(1, 128), float64(x))
		}
		return float64(f32(u))
	}
	down, up := math.Abs(float64(x)-at(low)), math.Abs(at(high)-float64(x))
	if down < up || (down == up && low>>16&1 == 0) {
		return low
	}
	return high
}
