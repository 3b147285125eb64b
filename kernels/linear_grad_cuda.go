//go:build cuda

package kernels

func init() { registerDevice("linear_grad", deviceLinearGrad) }

// deviceLinearGrad asks the library for both gradients in one product; else the product and the sums come one after the other.
func deviceLinearGrad(c *DeviceCall) error {
	x, dy, dw, db := c.In[0], c.In[1], c.Out[0], c.Out[1]
	if _, ok := suffix(dw.DType); !ok {
		return c.Uncovered()
	}
	k, m, n := x.Shape[0], x.Shape[1], dy.Shape[1]
	p := deviceProduct{dtype: dw.DType, out: dw.DType, transA: true, args: matmulArgs{A: x.Ptr, B: dy.Ptr, M: int32(m), N: int32(n), K: int32(k),
		End: epilogueArgs{Y: dw.Ptr, Alpha: 1, Beta: 1}, Batch: broadcastArgs{N: 1, Axes: 1, Dims: [broadcastAxes]int32{1}}}}
	if k > 0 && m > 0 && n > 0 {
		g := p.gemm(c)
		if g.Sums = db.Ptr; c.Queue.Gemm(&g) {
			return nil
		}
	}
	if err := p.run(c); err != nil || n == 0 {
		return err
	}
	return columnSums(c, dy, db, k, n, 1)
}
