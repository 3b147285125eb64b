//go:build cgo

package kernels

// #include "gemm_blocks.h"
import "C"

func init() {
	registerFast("blocks", func(c *Call) func() {
		if !hasAMX() {
			return nil
		}
		rows, cols := c.In[0].Shape[0], c.In[0].Shape[1]
		a := &C.rg_blocks_args{x: f32(c.In[0]), blocks: (*C.uint16_t)(c.Out[0].Ptr()), rows: C.long(rows), cols: C.long(cols)}
		return single(c, C.rg_blocks_pack, a)
	})
}
