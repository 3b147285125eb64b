//go:build cuda

package cuda

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A snippet is a few lines of PTX that each of 32 lanes runs: eight words come in %r1 to %r8, results go out of %r11, %r12, ….
type snippet struct {
	name, body string
	in         func(lane int) []uint32             // none: random words, among them the extremes
	want       func(lane int, x []uint32) []uint32 // in terms of Go's own arithmetic
}

// ptxKernel is the text of a kernel around a snippet that has so many results as %r1… it names.
func ptxKernel(body string) string {
	var out strings.Builder
	out.WriteString(`.version 8.5
.target sm_80
.address_size 64
.global .align 4 .b8 numbers[8] = {1, 2, 3, 4, 250, 0, 0, 128};
.func (.param .b32 doubled) twice(.param .b32 whole) {
	.reg .b32 %r<3>;
	ld.param.u32 %r1, [whole];
	add.u32 %r2, %r1, %r1;
	st.param.b32 [doubled+0], %r2;
	ret;
}
.visible .entry snippet(.param .u64 in, .param .u64 out)
.maxntid 64, 1, 1
{
	.reg .pred %p<16>;
	.reg .b16 %h<16>;
	.reg .b32 %r<64>;
	.reg .f32 %f<32>;
	.reg .b64 %l<32>;
	.reg .f64 %d<16>;
	.shared .align 128 .b8 tile[2048];
	.local .align 8 .b8 own[64];
	ld.param.u64 %l0, [in];
	ld.param.u64 %l1, [out];
	mov.u32 %r0, %tid.x;
	mul.wide.u32 %l2, %r0, 32;
	add.s64 %l0, %l0, %l2;
	add.s64 %l1, %l1, %l2;
	ld.global.v4.u32 {%r1, %r2, %r3, %r4}, [%l0];
	ld.global.v4.u32 {%r5, %r6, %r7, %r8}, [%l0+16];
`)
	out.WriteString(body + "\n")
	for k := range 8 {
		if r := fmt.Sprintf("%%r1%d", k+1); strings.Contains(body, r) {
			fmt.Fprintf(&out, "\tst.global.u32 [%%l1+%d], %s;\n", 4*k, r)
		}
	}
	out.WriteString("\tret;\n}\n")
	return out.String()
}

// extremes are numbers where arithmetic tends to go wrong, as integers and as floats.
var extremes = []uint32{0, 1, 2, 0x7fffffff, 0x80000000, 0x80000001, 0xffffffff, 31, 32, 33, 255, 0x00800000, 0x007fffff, 0x7f800000, 0xff800000,
	0x7fc00000, 0x3f800000, 0xbf800000, 0x3effffff, 0x3f000000, 0x3fc00000, 0x4b000001, 0xcf000000, 0x4f000000, 0x5f000000}

func randomWords(r *rand.Rand) []uint32 {
	x := make([]uint32, 8)
	for i := range x {
		switch r.IntN(3) {
		case 0:
			x[i] = extremes[r.IntN(len(extremes))]
		case 1:
			x[i] = math.Float32bits(float32(r.NormFloat64()) * float32(math.Pow(2, float64(r.IntN(60)-30))))
		default:
			x[i] = r.Uint32()
		}
	}
	return x
}

// runSnippets runs each snippet and compares its results with those of Go.
func runSnippets(t *testing.T, all []snippet) {
	d := softDevice(t)
	for _, s := range all {
		t.Run(s.name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, 2))
			rounds := 20
			if s.in != nil {
				rounds = 1
			}
			loadPTX(t, d, ptxKernel(s.body))
			for range rounds {
				in := make([]uint32, 512)
				for l := range 32 {
					if s.in != nil {
						copy(in[8*l:], s.in(l))
					} else {
						copy(in[8*l:], randomWords(r))
					}
				}
				out := launchSnippet(t, d, in)
				for l := range 32 {
					x := in[8*l : 8*l+8]
					want := s.want(l, x)
					require.Equal(t, want, out[8*l:8*l+len(want)], "lane %d of %08x", l, x)
				}
			}
		})
	}
}

func launchSnippet(t *testing.T, d *device, in []uint32) []uint32 {
	t.Helper()
	require.NoError(t, d.enter())
	defer d.leave()
	x, y := upload(t, d, len(in))
	require.NoError(t, d.move(x, raw(in), true))
	require.NoError(t, launch(t, d, "snippet", 32, x, y).Run(0, 1, d.ctx, d.compute))
	out := make([]uint32, len(in))
	require.NoError(t, d.move(y, raw(out), false))
	require.NoError(t, d.free(x))
	require.NoError(t, d.free(y))
	return out
}

// What PTX must not do is said, with the line.
func TestPTXErrors(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, body, says string }{
		{"unwritten register", "add.u32 %r11, %r20, 1;", "PTX line 32.*: reads a register that was never written"},
		{"unwritten in one lane", "setp.eq.u32 %p1, %r0, 7;\n@%p1 bra skip;\nmov.u32 %r20, 1;\nskip:\nmov.u32 %r11, %r20;", `thread \(7,0,0\).*st\.global.*never written`},
		{"unwritten condition", "@%p3 bra skip;\nskip:\nmov.u32 %r11, 1;", "never written"},
		{"division", "div.u32 %r11, 5, %r0;", `thread \(0,0,0\).*divides by zero`},
		{"null", "mov.u64 %l9, 0;\nld.global.u32 %r11, [%l9];", "reads 4 bytes of global memory at 0x0, in no allocation"},
		{"shared null", "mov.u32 %r20, 0;\nld.shared.u32 %r11, [%r20];", "reads 4 bytes of shared memory at offset -1024"},
		{"local", "mov.u64 %l9, own;\nst.local.u32 [%l9+64], %r0;", "writes 4 bytes of local memory at offset 64, a thread has 64"},
		{"parameter", "ld.param.u32 %r11, [out+8];", "reads 4 bytes of parameter memory at offset 16, the kernel has 16"},
		{"readonly", "st.global.u32 [%l1], %r0;\nld.global.nc.u32 %r11, [%l1];", "that its own block wrote in the same launch"},
		{"unaligned pair", "ld.global.v2.u32 {%r11, %r12}, [%l0+4];", "reads 8 bytes of global memory at 0x[0-9a-f]*4, which is no multiple of 8"},
		{"lost lanes", "setp.eq.u32 %p1, %r0, 7;\n@%p1 bra skip;\nbar.warp.sync -1;\nbra.uni skip;\nskip:\n@%p1 bra other;\nbra.uni end;\nother:\nbar.warp.sync -1;\nend:\nmov.u32 %r11, 1;",
			`bar.warp.sync -1: waits for lanes 0x80, which end or wait elsewhere`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			out, err := ptxChild(t, "snippet", "RINGO_PTX_BODY="+c.body)
			require.NoError(t, err, out)
			require.Regexp(t, "softcuda: kernel snippet, block .*"+c.says, out)
		})
	}
	for _, c := range []struct{ name, body, says string }{
		{"instruction", "tanh.approx.f32 %f1, %f2;", "kernel snippet, PTX line 31, tanh.approx.f32: this instruction is not known to the PTX machine"},
		{"modifier", "ld.volatile.global.u32 %r11, [%l0];", "PTX line 31, ld.volatile.global.u32: modifier .u32 is not known"},
		{"register", "add.u32 %r11, %r99, 1;", "operand %r99 is not declared"},
		{"width", "add.u32 %r11, %l1, 1;", "operand %l1 has 64 bits, the instruction takes 32"},
		{"count", "add.u32 %r11, %r1;", "it has 2 operands, the PTX machine knows it with 3"},
		{"label", "bra.uni nowhere;", "label nowhere does not exist"},
		{"barrier", "bar.sync 1;", "the PTX machine knows barrier 0 of all threads only"},
	} {
		t.Run("unknown "+c.name, func(t *testing.T) {
			t.Parallel()
			out, err := ptxChild(t, "snippet", "RINGO_PTX_BODY="+c.body)
			require.Error(t, err)
			require.Contains(t, out, c.says)
		})
	}
}
