package kernels

import "ringo/runtime/graph"

func init() { register("matmul_adamw", refMatMulAdamW) }

// refMatMulAdamW computes the product, then adds the embedding's rows, then moves the parameter.
func refMatMulAdamW(c *Call) {
	a := c.Attrs.(graph.MatMulAdamW)
	grad := View{c.In[0].Type, make([]byte, len(c.In[0].Bytes))}
	refMatMul(&Call{Attrs: graph.MatMul{TransA: a.TransA, TransB: a.TransB}, In: c.In[4:6], Out: []View{grad}})
	if a.Rows {
		sum := grad.Load()
		for i, v := range spread(c.In[6].Load(), rowsIndex(c.In[7], grad.Shape[0], grad.Shape[1]), len(sum)) {
			sum[i] += v
		}
		grad.Store(sum)
	}
	refAdamW(&Call{Attrs: a.AdamW, In: []View{c.In[0], grad, c.In[1], c.In[2], c.In[3]}, Out: c.Out[:3]})
	if a.Blocks {
		refBlocks(&Call{In: c.Out[:1], Out: c.Out[3:]})
	}
}
