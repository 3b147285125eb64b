package ring

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"ringo/runtime"
	"ringo/runtime/tensor"
)

// oneProcess sums lanes like runtime.Step: partial sums wait like the digits of a binary counter.
func oneProcess(lanes [][]float32) []float32 {
	var wait [][]float32
	for i, l := range lanes {
		sum := slices.Clone(l)
		for k := i; k&1 == 1; k >>= 1 {
			top := wait[len(wait)-1]
			wait = wait[:len(wait)-1]
			for j := range sum {
				sum[j] += top[j]
			}
		}
		wait = append(wait, sum)
	}
	for len(wait) > 1 { // not a power of two: the right edge, from right to left
		a, b := wait[len(wait)-2], wait[len(wait)-1]
		for j := range a {
			a[j] += b[j]
		}
		wait = wait[:len(wait)-1]
	}
	return wait[0]
}

// contributions are a rank's partial sums, the last of which is also where the result goes, as a Step leaves them.
func contributions(lanes [][]float32, lo, hi int) [][]float32 {
	var parts [][]float32
	for _, s := range runtime.Subtrees(lo, hi) {
		parts = append(parts, oneProcess(lanes[s[0]:s[1]]))
	}
	return parts
}

// TestReduceTreeGivesTheBitsOfOneProcess draws worlds, lanes and blocks: aligned or not, empty ones among them.
func TestReduceTreeGivesTheBitsOfOneProcess(t *testing.T) {
	t.Parallel()
	rings, memory := map[string][]*Ring{}, map[string][][]byte{}
	for _, v := range variants {
		for _, n := range []int{1, 2, 3, 4, 7} {
			rings[fmt.Sprint(v.name, n)] = world(t, n, func(o *Options) {
				o.Chunk = 4096
				if v.change != nil {
					v.change(o)
				}
			})
			if n > 1 {
				memory[fmt.Sprint(v.name, n)] = memories(t, rings[fmt.Sprint(v.name, n)], 33*20_000*4)
			}
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.SampledFrom([]int{1, 2, 3, 4, 7}).Draw(t, "world")
		v := rapid.SampledFrom(variants).Draw(t, "variant")
		lanes := rapid.OneOf(rapid.SampledFrom([]int{1, 2, 4, 8, 16, 32}), rapid.IntRange(1, 33)).Draw(t, "lanes")
		elems := rapid.SampledFrom([]int{1, 300, 5000, 20_000}).Draw(t, "elements")
		bounds := []int{0}
		for range n - 1 {
			bounds = append(bounds, rapid.IntRange(0, lanes).Draw(t, "bound"))
		}
		bounds = append(bounds, lanes)
		if rapid.Bool().Draw(t, "even") {
			for i := range bounds {
				bounds[i] = i * lanes / n
			}
		}
		slices.Sort(bounds)
		mem := memory[fmt.Sprint(v.name, n)]
		placed := mem != nil && rapid.Bool().Draw(t, "in memory")
		all := make([][]float32, lanes)
		for l := range all {
			all[l] = fill(uint64(l+1), elems)
		}
		want := oneProcess(all)
		for rank, err := range every(rings[fmt.Sprint(v.name, n)], func(r *Ring) error {
			lo, hi := bounds[r.Rank()], bounds[r.Rank()+1]
			parts := contributions(all, lo, hi)
			kept := contributions(all, lo, hi)
			out := make([]float32, elems)
			if placed {
				own := tensor.View[float32](mem[r.Rank()])
				out = own[:elems]
				for i, p := range parts {
					parts[i] = own[i*elems:][:elems]
					copy(parts[i], p)
				}
			}
			if len(parts) > 0 {
				out = parts[len(parts)-1]
				kept = kept[:len(parts)-1]
			}
			if err := r.ReduceTree(out, parts, bounds); err != nil {
				return err
			}
			if !slices.Equal(out, want) {
				return fmt.Errorf("result differs from one process's")
			}
			for i, k := range kept {
				if !slices.Equal(parts[i], k) {
					return fmt.Errorf("part %d was overwritten", i)
				}
			}
			return nil
		}) {
			if err != nil {
				t.Fatalf("rank %d of %v: %v", rank, bounds, err)
			}
		}
	})
}

func TestSubtreesAreThoseOfTheRuntime(t *testing.T) {
	t.Parallel()
	for lo := range 34 {
		for hi := lo; hi <= 34; hi++ {
			var got [][2]int
			subtrees(lo, hi, func(a, b int) { got = append(got, [2]int{a, b}) })
			require.Equal(t, runtime.Subtrees(lo, hi), got)
		}
	}
}
