package kernels

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"ringo/runtime/backend/backendtest"
	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

type convShapeCase struct {
	x, w [4]int
	a    graph.Conv2D
}

// convShapes lists shapes beyond the samples' size: several blocks of channels, sums cut by channels, bands of rows, chunks
// of images, and random ones with every attribute.
func convShapes() []convShapeCase {
	one := [4]int{1, 1, 1, 1}
	out := []convShapeCase{
		{[4]int{9, 32, 9, 26}, [4]int{64, 32, 3, 3}, graph.Conv2D{}},
		{[4]int{2, 70, 8, 8}, [4]int{40, 70, 3, 3}, graph.Conv2D{Pad: one}},
		{[4]int{1, 6, 40, 30}, [4]int{16, 6, 5, 5}, graph.Conv2D{Pad: [4]int{2, 2, 2, 2}, Stride: [2]int{2, 2}}},
		{[4]int{17, 20, 4, 4}, [4]int{33, 20, 3, 3}, graph.Conv2D{Pad: one}},
		{[4]int{3, 40, 32, 32}, [4]int{20, 40, 1, 1}, graph.Conv2D{}},
		{[4]int{2, 24, 17, 15}, [4]int{40, 24, 1, 1}, graph.Conv2D{Stride: [2]int{2, 2}}},
		{[4]int{2, 3, 33, 35}, [4]int{64, 3, 7, 7}, graph.Conv2D{Pad: [4]int{3, 3, 3, 3}, Stride: [2]int{2, 2}}},
		{[4]int{10, 19, 20, 20}, [4]int{38, 1, 3, 3}, graph.Conv2D{Groups: 19, Pad: one, Stride: [2]int{2, 2}}},
	}
	p := tensor.NewPhilox(3, 5)
	below := func(n int) int { return int(p.Next()[0] % uint32(n)) }
	for len(out) < 60 {
		groups, cg, og := 1+below(3), 1+below(6), 1+below(20)
		if below(3) == 0 {
			groups, cg, og = 2+below(5), 1, 1+below(3)
		}
		c := convShapeCase{
			x: [4]int{1 + below(10), groups * cg, 1 + below(13), 1 + below(36)},
			w: [4]int{groups * og, cg, 1 + below(4), 1 + below(4)},
			a: graph.Conv2D{Stride: [2]int{1 + below(3), 1 + below(3)}, Dilation: [2]int{1 + below(2), 1 + below(3)},
				Pad: [4]int{below(4), below(4), below(4), below(4)}, Groups: groups},
		}
		if _, err := c.a.OutShape(c.x[:], c.w[:]); err == nil {
			out = append(out, c)
		}
	}
	return out
}

// TestConvShapes compares y, dx and dw with the references at every instruction-set level, and one thread's bits with three's.
func TestConvShapes(t *testing.T) {
	defer initCPU(len(isaNames)-1, 2)
	for i, c := range convShapes() {
		t.Run(fmt.Sprintf("%d x%v w%v", i, c.x, c.w), func(t *testing.T) {
			ys, err := c.a.OutShape(c.x[:], c.w[:])
			require.NoError(t, err)
			random := func(stream int, shape [4]int) *tensor.Tensor {
				return backendtest.Fill(graph.In(shape[:]...), tensor.F32, uint64(3*i+stream))
			}
			x, w, dy := random(0, c.x), random(1, c.w), random(2, ys)
			run := func(reference bool) []*tensor.Tensor {
				return []*tensor.Tensor{
					runOp(t, "conv2d", c.a, reference, x, w)[0],
					runOp(t, "conv2d_dx", graph.Conv2DGrad{Conv: c.a, Shape: c.x}, reference, dy, w)[0],
					runOp(t, "conv2d_dw", graph.Conv2DGrad{Conv: c.a, Shape: c.w}, reference, x, dy)[0],
				}
			}
			want := run(true)
			for level, isa := range isaNames {
				initCPU(level, 1)
				if isaLevel() != level {
					continue
				}
				one := run(false)
				initCPU(level, 3)
				for k, many := range run(false) {
					require.Equal(t, one[k].Bytes(), many.Bytes(), "%s: result %d differs between 1 and 3 threads", isa, k)
					backendtest.Compare(t, want[k], one[k], parityTol, fmt.Sprintf("%s, result %d", isa, k))
				}
			}
		})
	}
}

// Disjoint windows have a backward kernel of their own, which trusts that each maximum lies in its window.
func TestMaxPoolDisjoint(t *testing.T) {
	t.Parallel()
	a := graph.Pool2D{Kernel: [2]int{2, 2}, Stride: [2]int{2, 2}}
	for _, size := range [][2]int{{2, 2}, {5, 3}, {24, 24}, {9, 67}, {64, 34}} {
		xs := [4]int{3, 70, size[0], size[1]}
		ys, err := a.OutShape(xs[:])
		require.NoError(t, err)
		x, dy := backendtest.Fill(graph.In(xs[:]...), tensor.F32, 1), backendtest.Fill(graph.In(ys[:]...), tensor.F32, 2)
		want, got := runOp(t, "maxpool2d", a, true, x), runOp(t, "maxpool2d", a, false, x)
		require.Equal(t, want[0].Bytes(), got[0].Bytes())
		require.Equal(t, want[1].Bytes(), got[1].Bytes())
		g := graph.Pool2DGrad{Pool: a, Shape: xs}
		require.Equal(t, runOp(t, "maxpool2d_grad", g, true, dy, want[1])[0].Bytes(), runOp(t, "maxpool2d_grad", g, false, dy, want[1])[0].Bytes())
	}
}

// NaN wins a maximum, the first of equals is taken, and a plane of −∞ still has an index.
func TestMaxPoolSpecialValues(t *testing.T) {
	t.Parallel()
	nan, inf := float32(math.NaN()), float32(math.Inf(-1))
	for _, a := range []graph.Pool2D{
		{Kernel: [2]int{2, 2}, Stride: [2]int{2, 2}},
		{Kernel: [2]int{3, 3}, Stride: [2]int{2, 2}, Pad: [4]int{1, 1, 1, 1}},
	} {
		x := backendtest.Fill(graph.In(1, 2, 6, 40), tensor.F32, 4)
		v := tensor.Data[float32](x)
		for i := range v {
			switch {
			case i < len(v)/4:
				v[i] = inf
			case i%7 == 0:
				v[i] = nan
			case i%3 == 0:
				v[i] = 0.5
			}
		}
		want, got := runOp(t, "maxpool2d", a, true, x), runOp(t, "maxpool2d", a, false, x)
		require.Equal(t, want[1].Bytes(), got[1].Bytes())
	}
}
