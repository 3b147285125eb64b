//go:build cuda

package kernels

import "ringo/runtime/tensor"

// castNames are the element types that casts know, as in kernel names.
var castNames = map[tensor.DType]string{tensor.F32: "_f32", tensor.BF16: "_bf16", tensor.I8: "_i8", tensor.U8: "_u8",
	tensor.I32: "_i32", tensor.I64: "_i64", tensor.Bool: "_bool"}

func init() {
	registerDevice("cast", func(c *DeviceCall) error {
		x, y := c.In[0], c.Out[0]
		if x.DType == y.DType {
			c.Queue.Copy(y.Ptr, x.Ptr, int64(y.Bytes()))
			return nil
		}
		return deviceCast(c, x.DType, y.DType, x.Ptr, y.Ptr, int64(x.Shape.Size()))
	})
	for _, op := range []string{"isnan", "isinf"} {
		registerDevice(op, func(c *DeviceCall) error {
			s, ok := suffix(c.In[0].DType)
			if !ok {
				return c.Uncovered()
			}
			return deviceBytes(c, op+s)
		})
	}
	registerDevice("not", func(c *DeviceCall) error { return deviceBytes(c, "not_bool") })
}

// deviceCast converts n elements from one type to another.
func deviceCast(c *DeviceCall, from, to tensor.DType, x, y uint64, n int64) error {
	f, t := castNames[from], castNames[to]
	switch {
	case from == tensor.F32 && to == tensor.F64:
		f, t = "_f32", "_f64"
	case from == tensor.F64 && to == tensor.F32:
		f, t = "_f64", "_f32"
	}
	if f == "" || t == "" {
		return c.Uncovered()
	}
	if n == 0 {
		return nil
	}
	return c.Launch("cast"+f+t, c.Strided(ceilDiv(n, 8), wordThreads), Block(wordThreads), 0, x, y, n)
}

// deviceBytes launches a kernel from elements to bytes.
func deviceBytes(c *DeviceCall, kernel string) error {
	n := int64(c.In[0].Shape.Size())
	if n == 0 {
		return nil
	}
	return c.Launch(kernel, c.Strided(n, wordThreads), Block(wordThreads), 0, c.In[0], c.Out[0], n)
}
