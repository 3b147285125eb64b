//go:build cuda

package cuda

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// Lanes part and meet again; what they exchange is right afterwards.
func TestPTXDivergence(t *testing.T) {
	lane := func(l int) []uint32 { return []uint32{uint32(l)} }
	runSnippets(t, []snippet{
		{"loops of different lengths, then a sum over all lanes", `
	mov.u32 %r20, 0;
	mov.u32 %r21, 0;
loop:
	setp.gt.u32 %p1, %r21, %r0;
	@%p1 bra done;
	add.u32 %r20, %r20, %r21;
	add.u32 %r21, %r21, 1;
	bra.uni loop;
done:
	mov.u32 %r11, %r20;
	shfl.sync.bfly.b32 %r22|%p2, %r20, 1, 31, -1;
	mov.u32 %r12, %r22;`, lane, func(l int, _ []uint32) []uint32 {
			of := func(n int) uint32 { return uint32(n * (n + 1) / 2) }
			return []uint32{of(l), of(l ^ 1)}
		}},
		{"branches within branches", `
	and.b32 %r20, %r0, 1;
	setp.eq.u32 %p1, %r20, 0;
	mov.u32 %r11, 1;
	@%p1 bra even;
	setp.gt.u32 %p2, %r0, 16;
	@!%p2 bra small;
	mov.u32 %r11, 2;
	bra.uni join;
small:
	mov.u32 %r11, 3;
join:
	add.u32 %r11, %r11, 10;
even:
	@%p1 add.u32 %r11, %r11, 100;`, lane, func(l int, _ []uint32) []uint32 {
			switch {
			case l%2 == 0:
				return []uint32{101}
			case l > 16:
				return []uint32{12}
			}
			return []uint32{13}
		}},
		{"a call by some lanes", `
	setp.lt.u32 %p1, %r0, 9;
	mov.u32 %r11, %r0;
	@%p1 bra past;
	{
	.param .b32 param0;
	st.param.b32 [param0+0], %r0;
	.param .b32 retval0;
	call.uni (retval0), twice, (param0);
	ld.param.b32 %r11, [retval0+0];
	}
past:`, lane, func(l int, _ []uint32) []uint32 {
			if l < 9 {
				return []uint32{uint32(l)}
			}
			return []uint32{uint32(2 * l)}
		}},
		{"warp barriers of halves", `
	mov.u32 %r20, 65535;
	setp.lt.u32 %p1, %r0, 16;
	selp.b32 %r20, %r20, -65536, %p1;
	mov.u64 %l9, tile;
	mul.wide.u32 %l3, %r0, 4;
	add.s64 %l9, %l9, %l3;
	st.shared.u32 [%l9], %r0;
	bar.warp.sync %r20;
	shfl.sync.idx.b32 %r11|%p2, %r0, 3, 4127, %r20;`, lane, func(l int, _ []uint32) []uint32 { return []uint32{uint32(l&16 | 3)} }},
	})
}

func TestPTXExchange(t *testing.T) {
	lane := func(l int) []uint32 { return []uint32{uint32(100 + l), uint32(l % 3)} }
	one := func(f func(l int) (from int, ok bool)) func(l int, x []uint32) []uint32 {
		return func(l int, _ []uint32) []uint32 {
			from, ok := f(l)
			return []uint32{uint32(100 + from), boolWord(ok)}
		}
	}
	give := "\nselp.u32 %r12, 1, 0, %p1;"
	runSnippets(t, []snippet{
		{"butterfly", "shfl.sync.bfly.b32 %r11|%p1, %r1, 5, 31, -1;" + give, lane, one(func(l int) (int, bool) { return l ^ 5, true })},
		{"down", "shfl.sync.down.b32 %r11|%p1, %r1, 4, 31, -1;" + give, lane, one(func(l int) (int, bool) {
			if l+4 > 31 {
				return l, false
			}
			return l + 4, true
		})},
		{"up in segments of 8", "shfl.sync.up.b32 %r11|%p1, %r1, 3, 6144, -1;" + give, lane, one(func(l int) (int, bool) {
			if l%8 < 3 {
				return l, false
			}
			return l - 3, true
		})},
		{"index in segments of 8", "shfl.sync.idx.b32 %r11|%p1, %r1, 5, 6175, -1;" + give, lane, one(func(l int) (int, bool) { return l&^7 | 5, true })},
		{"votes", "setp.eq.u32 %p2, %r2, 1;\nvote.sync.any.pred %p1, %p2, -1;\nvote.sync.all.pred %p3, %p2, -1;\nselp.u32 %r11, 1, 0, %p1;\nselp.u32 %r12, 1, 0, %p3;\nvote.sync.ballot.b32 %r13, %p2, -1;",
			lane, func(int, []uint32) []uint32 { return []uint32{1, 0, 0x92492492} }},
	})
}

func TestPTXMemory(t *testing.T) {
	runSnippets(t, []snippet{
		{"bytes and halves by sign", `
	ld.global.s8 %r11, [%l0+3];
	ld.global.u8 %r12, [%l0+3];
	ld.global.s16 %r13, [%l0+2];
	ld.global.u16 %h1, [%l0+2];
	cvt.u32.u16 %r14, %h1;
	ld.global.s32 %l9, [%l0];
	shr.u64 %l9, %l9, 32;
	cvt.u32.u64 %r15, %l9;`, nil, func(_ int, x []uint32) []uint32 {
			return []uint32{uint32(int32(x[0]) >> 24), x[0] >> 24, uint32(int32(x[0]) >> 16), x[0] >> 16, uint32(int32(x[0]) >> 31)}
		}},
		{"shared memory of another lane", `
	mov.u32 %r20, tile;
	shl.b32 %r21, %r0, 4;
	add.u32 %r20, %r20, %r21;
	st.shared.v4.u32 [%r20], {%r1, %r2, %r3, %r4};
	bar.sync 0;
	xor.b32 %r21, %r21, 16;
	mov.u32 %r20, tile;
	add.u32 %r20, %r20, %r21;
	ld.shared.v2.u32 {%r22, %r23}, [%r20+8];
	shfl.sync.bfly.b32 %r11, %r22, 1, 31, -1;
	shfl.sync.bfly.b32 %r12, %r23, 1, 31, -1;`, nil, func(_ int, x []uint32) []uint32 { return x[2:4] }},
		{"local memory, and addresses of any space", `
	mov.u64 %l9, own;
	cvta.local.u64 %l10, %l9;
	st.local.u32 [%l9+4], %r1;
	st.u32 [%l10+8], %r2;
	ld.u32 %r11, [%l10+4];
	ld.local.u32 %r12, [%l9+8];`, nil, func(_ int, x []uint32) []uint32 { return x[:2] }},
		{"variables of the module", `
	ld.global.u32 %r11, [numbers+4];
	mov.u64 %l9, numbers;
	ld.global.u8 %r12, [%l9+1];`, nil, func(int, []uint32) []uint32 { return []uint32{0x800000fa, 2} }},
		{"asynchronous copies, with zeros behind", `
	mov.u32 %r20, tile;
	shl.b32 %r21, %r0, 5;
	add.u32 %r20, %r20, %r21;
	cp.async.cg.shared.global [%r20], [%l0], 16, 8;
	cp.async.commit_group;
	cp.async.cg.shared.global [%r20+16], [%l0+16], 16, 16;
	cp.async.commit_group;
	cp.async.wait_group 1;
	ld.shared.v4.u32 {%r11, %r12, %r13, %r14}, [%r20];
	cp.async.wait_group 0;
	ld.shared.u32 %r15, [%r20+28];`, nil, func(_ int, x []uint32) []uint32 { return []uint32{x[0], x[1], 0, 0, x[7]} }},
	})
}

// Each lane adds its number; the sums that they saw are all different, as the order is some order.
func TestPTXAtomics(t *testing.T) {
	d := softDevice(t)
	loadPTX(t, d, ptxKernel("ld.param.u64 %l9, [in];\natom.global.add.u32 %r11, [%l9], 2;"))
	out := launchSnippet(t, d, make([]uint32, 512))
	seen := map[uint32]bool{}
	for l := range 32 {
		seen[out[8*l]] = true
		require.Less(t, out[8*l], uint32(64))
	}
	require.Len(t, seen, 32)
}

// Approximations are off, but no more than the ISA says: 2 units in the last place for ex2, 1 for rcp.
func TestPTXApproximations(t *testing.T) {
	for _, c := range []struct {
		body  string
		f     func(x float64) float64
		units int64
	}{
		{"ex2.approx.ftz.f32 %f2, %f1;", math.Exp2, 2},
		{"rcp.approx.ftz.f32 %f2, %f1;", func(x float64) float64 { return 1 / x }, 1},
	} {
		d := softDevice(t)
		loadPTX(t, d, ptxKernel("mov.b32 %f1, %r1;\n"+c.body+"\nmov.b32 %r11, %f2;"))
		in := make([]uint32, 512)
		for l := range 32 {
			in[8*l] = bitsOf(float32(l)*0.731 - 9.03)
		}
		out, off := launchSnippet(t, d, in), int64(0)
		for l := range 32 {
			want := float32(c.f(float64(f32(in[8*l]))))
			distance := int64(out[8*l]) - int64(bitsOf(want))
			require.LessOrEqual(t, max(distance, -distance), c.units)
			off += distance * distance
		}
		require.NotZero(t, off, "an exact approximation hides what a kernel takes for granted")
	}
}
