//go:build cuda

package cuda

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// Fragments as PTX ISA draws them: which element of a matrix a lane holds in word r, part h.
func aBF16(l, r, h int) (row, col int) { return l/4 + r%2*8, l%4*2 + r/2*8 + h }
func bBF16(l, r, h int) (row, col int) { return l%4*2 + r*8 + h, l / 4 }
func aS8(l, r, h int) (row, col int)   { return l/4 + r%2*8, l%4*4 + r/2*16 + h }
func bS8(l, r, h int) (row, col int)   { return l%4*4 + r*16 + h, l / 4 }
func cAll(l, r int) (row, col int)     { return l/4 + r/2*8, l%4*2 + r%2 }

// small numbers, positive and negative, which bf16 holds exactly.
func elementA(row, col int) int { return (row*7+col*3)%13 - 6 }
func elementB(row, col int) int { return (row*5+col*11)%17 - 8 }

func elementC(inner, row, col int) (sum int) {
	for k := range inner {
		sum += elementA(row, k) * elementB(k, col)
	}
	return sum
}

func TestPTXProducts(t *testing.T) {
	float := func(v int) uint32 { return bitsOf(float32(v)) }
	t.Run("bf16", func(t *testing.T) {
		d := softDevice(t)
		loadPTX(t, d, ptxKernel(`
	cvt.rn.f32.u32 %f1, %r0;
	mov.f32 %f2, %f1;
	mov.f32 %f3, %f1;
	mov.f32 %f4, %f1;
	mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%f1,%f2,%f3,%f4}, {%r1,%r2,%r3,%r4}, {%r5,%r6}, {%f1,%f2,%f3,%f4};
	mov.b32 %r11, %f1;
	mov.b32 %r12, %f2;
	mov.b32 %r13, %f3;
	mov.b32 %r14, %f4;`))
		in := make([]uint32, 512)
		for l := range 32 {
			for h := range 2 {
				for r := range 4 {
					row, col := aBF16(l, r, h)
					in[8*l+r] |= float(elementA(row, col)) >> 16 << (16 * h)
				}
				for r := range 2 {
					row, col := bBF16(l, r, h)
					in[8*l+4+r] |= float(elementB(row, col)) >> 16 << (16 * h)
				}
			}
		}
		out := launchSnippet(t, d, in)
		for l := range 32 {
			for r := range 4 {
				row, col := cAll(l, r)
				require.Equal(t, float(l+elementC(16, row, col)), out[8*l+r], "lane %d, register %d", l, r)
			}
		}
	})
	t.Run("s8", func(t *testing.T) {
		d := softDevice(t)
		loadPTX(t, d, ptxKernel(`
	mov.u32 %r11, %r0;
	mov.u32 %r12, %r0;
	mov.u32 %r13, %r0;
	mov.u32 %r14, %r0;
	mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%r11,%r12,%r13,%r14}, {%r1,%r2,%r3,%r4}, {%r5,%r6}, {%r11,%r12,%r13,%r14};`))
		in := make([]uint32, 512)
		for l := range 32 {
			for h := range 4 {
				for r := range 4 {
					row, col := aS8(l, r, h)
					in[8*l+r] |= uint32(uint8(elementA(row, col))) << (8 * h)
				}
				for r := range 2 {
					row, col := bS8(l, r, h)
					in[8*l+4+r] |= uint32(uint8(elementB(row, col))) << (8 * h)
				}
			}
		}
		out := launchSnippet(t, d, in)
		for l := range 32 {
			for r := range 4 {
				row, col := cAll(l, r)
				require.Equal(t, uint32(l+elementC(32, row, col)), out[8*l+r], "lane %d, register %d", l, r)
			}
		}
	})
}

// Four matrices of 8 rows of 8: element (row, col) of matrix m is 64m + 8·row + col.
func TestPTXLoadMatrix(t *testing.T) {
	for _, trans := range []string{"", ".trans"} {
		d := softDevice(t)
		loadPTX(t, d, ptxKernel(fmt.Sprintf(`
	mov.u32 %%r20, tile;
	shl.b32 %%r21, %%r0, 4;
	add.u32 %%r20, %%r20, %%r21;
	st.shared.v4.u32 [%%r20], {%%r1, %%r2, %%r3, %%r4};
	bar.sync 0;
	ldmatrix.sync.aligned.m8n8.x4%s.shared.b16 {%%r11,%%r12,%%r13,%%r14}, [%%r20];`, trans)))
		in := make([]uint32, 512)
		for l := range 32 { // a lane brings row l of all 32, eight elements
			for k := range 8 {
				in[8*l+k/2] |= uint32(8*l+k) << (16 * (k % 2))
			}
		}
		out := launchSnippet(t, d, in)
		for l := range 32 {
			for m := range 4 {
				for h := range 2 {
					row, col := l/4, l%4*2+h
					if trans != "" {
						row, col = col, row
					}
					require.Equal(t, uint32(64*m+8*row+col), out[8*l+m]>>(16*h)&0xffff, "lane %d, matrix %d", l, m)
				}
			}
		}
	}
}
