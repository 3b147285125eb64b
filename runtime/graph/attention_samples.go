package graph

import (
	"fmt"

	"ringo/runtime/tensor"
)

// attentionSamples covers one key and one query, sizes around the kernels' 16-wide vectors and 64-wide
// tiles, more keys than queries, grouped queries, and sizes that are cut into several parallel pieces.
func attentionSamples(grad bool) []Sample {
	type row struct {
		AttentionSizes
		causal, packed bool
		scale          float64
	}
	rows := []row{
		{AttentionSizes{1, 1, 1, 1, 1, 1}, true, false, 0},
		{AttentionSizes{2, 3, 3, 2, 2, 4}, true, true, 0},
		{AttentionSizes{1, 3, 5, 2, 1, 3}, true, false, 0.5},
		{AttentionSizes{1, 5, 3, 2, 1, 17}, false, false, 0},
		{AttentionSizes{1, 17, 17, 4, 2, 16}, true, true, 0},
		{AttentionSizes{1, 65, 65, 2, 2, 20}, true, true, 0},
		{AttentionSizes{1, 65, 65, 1, 1, 64}, false, true, 0.2},
		{AttentionSizes{1, 20, 150, 2, 1, 33}, true, false, 0},
		{AttentionSizes{1, 70, 131, 1, 1, 48}, false, false, 0},
		{AttentionSizes{1, 64, 64, 2, 2, 32}, true, true, 0},
		{AttentionSizes{1, 300, 300, 2, 1, 16}, true, true, 0},
		{AttentionSizes{1, 130, 130, 1, 1, 128}, true, false, 0},
	}
	var out []Sample
	for _, r := range rows {
		z := r.AttentionSizes
		a := Attention{Heads: z.H, KVHeads: z.KV, Dim: z.D, Causal: r.causal, Packed: r.packed, Scale: r.scale}
		in := []SampleIn{In(z.B, z.T, z.H, z.D), In(z.B, z.S, z.KV, z.D), In(z.B, z.S, z.KV, z.D)}
		y := In(z.B, z.T, z.H, z.D)
		if r.packed {
			in, y = []SampleIn{In(z.B, z.T, (z.H+2*z.KV)*z.D)}, In(z.B, z.T, z.H*z.D)
		}
		s := Sample{Name: fmt.Sprintf("B%d T%d S%d H%d KV%d D%d causal=%v packed=%v", z.B, z.T, z.S, z.H, z.KV, z.D, r.causal, r.packed), Attrs: a, In: in}
		if grad {
			lse := SampleIn{Shape: tensor.Shape{z.B, z.H, z.T}, DType: tensor.F32, Lo: 4, Hi: 6} // statistics stay in f32 under bf16
			s.In = append(append([]SampleIn{y}, in...), y, lse)
			if z.T%2 == 1 {
				s.In = append(s.In, SampleIn{Shape: lse.Shape, DType: tensor.F32}) // dlse
			}
		}
		out = append(out, s)
	}
	return out
}
