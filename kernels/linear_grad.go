package kernels

import "ringo/runtime/graph"

func init() { register("linear_grad", refLinearGrad) }

// refLinearGrad is the product, then the sums of dy's rows in ascending order.
func refLinearGrad(c *Call) {
	refMatMul(&Call{Attrs: graph.MatMul{TransA: true}, In: c.In, Out: c.Out[:1]})
	dy, db := c.In[1].Load(), make([]float64, c.In[1].Shape[1])
	for i, d := range dy {
		db[i%len(db)] += d
	}
	c.Out[1].Store(db)
}
