package graph

import (
	"fmt"

	"ringo/runtime/tensor"
)

// checkPos accepts I32 positions: a scalar for the whole batch, or one per sequence (B).
func checkPos(pos *Value, batch int) error {
	ok := len(pos.Shape) == 0 || (len(pos.Shape) == 1 && (pos.Shape[0] == batch || pos.Shape[0] == 1))
	if pos.DType != tensor.I32 || !ok {
		return fmt.Errorf("pos is %v, expected i32() or i32(%d)", pos.Type, batch)
	}
	return nil
}

func kvWriteInfer(n *Node) ([]Type, error) {
	c, x := n.In[0], n.In[1]
	if len(c.Shape) != 4 || len(x.Shape) != 4 || c.DType != x.DType || c.Shape[0] != x.Shape[0] ||
		!c.Shape[2:].Equal(x.Shape[2:]) || x.Shape[1] > c.Shape[1] {
		return nil, fmt.Errorf("cache %v and x %v: expected (B,S,KV,D) and (B,T,KV,D) of one type with T ≤ S", c.Type, x.Type)
	}
	if err := checkPos(n.In[2], c.Shape[0]); err != nil {
		return nil, err
	}
	return []Type{c.Type}, nil
}

func attentionCachedInfer(n *Node) ([]Type, error) {
	a := attrs[Attention](n)
	if a.Packed || a.Causal {
		return nil, fmt.Errorf("attributes %+v: neither Packed nor Causal applies, positions say what is seen", a)
	}
	z, err := a.sizes(n.In[:3])
	if err != nil {
		return nil, err
	}
	if err := checkPos(n.In[3], z.B); err != nil {
		return nil, err
	}
	return []Type{n.In[0].Type}, nil
}

func init() {
	register(
		// kv_write: cache (B,S,KV,D), x (B,T,KV,D), pos → cache with rows pos…pos+T−1 replaced by x. Rows that
		// fall outside the cache are dropped.
		Op{Name: "kv_write", MinIn: 3, Infer: kvWriteInfer, Mutates: [][2]int{{0, 0}},
			Samples: []Sample{
				{Name: "one", In: []SampleIn{In(2, 5, 2, 3), In(2, 1, 2, 3), InIndex(5)}, NoGrad: true, Why: "state, not differentiated"},
				{Name: "some", In: []SampleIn{In(1, 17, 3, 8), In(1, 4, 3, 8), InIndex(13)}, NoGrad: true, Why: "state, not differentiated"},
				{Name: "rows", In: []SampleIn{In(3, 9, 1, 16), In(3, 2, 1, 16), InIndex(9, 3)}, NoGrad: true, Why: "state, not differentiated"},
			}},
		// attention_cached: q (B,T,H,D), caches k and v (B,S,KV,D), pos → y (B,T,H,D); query t sees the cache
		// rows s ≤ pos + t.
		Op{Name: "attention_cached", MinIn: 4, Infer: attentionCachedInfer,
			FLOPs: func(n *Node) int64 {
				z, _ := attrs[Attention](n).sizes(n.In[:3])
				return 2 * attentionPairs(Attention{}, z)
			},
			Samples: cachedSamples()},
	)
}

func cachedSamples() []Sample {
	var out []Sample
	for _, z := range []AttentionSizes{{1, 1, 7, 2, 2, 16}, {2, 1, 65, 4, 2, 20}, {1, 3, 70, 6, 2, 64},
		{2, 17, 130, 2, 1, 33}, {1, 1, 300, 2, 2, 128}} {
		out = append(out, Sample{Name: fmt.Sprintf("%v", z), NoGrad: true, Why: "inference only", Attrs: Attention{},
			In: []SampleIn{In(z.B, z.T, z.H, z.D), In(z.B, z.S, z.KV, z.D), In(z.B, z.S, z.KV, z.D), InIndex(z.S - z.T + 1)}})
	}
	perRow := Sample{Name: "one position per sequence", NoGrad: true, Why: "inference only", Attrs: Attention{Scale: 0.3},
		In: []SampleIn{In(3, 1, 4, 8), In(3, 9, 2, 8), In(3, 9, 2, 8), InIndex(9, 3)}}
	return append(out, perRow)
}

// KVWrite writes x (B,T,KV,D) into cache (B,S,KV,D) at rows pos…pos+T−1 and returns the cache.
func (g *Graph) KVWrite(cache, x, pos *Value) *Value { return g.Apply("kv_write", nil, cache, x, pos) }

// AttentionCached attends q (B,T,H,D), whose first query stands at pos, over caches (B,S,KV,D).
func (g *Graph) AttentionCached(q, k, v, pos *Value, a Attention) *Value {
	return g.Apply("attention_cached", a, q, k, v, pos)
}
