//go:build cuda

package kernels

import (
	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

const batchNormThreads = 256 // BATCHNORM_THREADS

func init() {
	registerDevice("batchnorm", deviceBatchNorm)
	registerDevice("batchnorm_infer", func(c *DeviceCall) error {
		return batchNormApply(c, c.In[3], c.In[4])
	})
	registerDevice("batchnorm_grad", deviceBatchNormGrad)
}

// imageStretches cuts images for sums per channel: by shape alone, so that the order of the sums is the same on every
// device. A stretch has about 16 thousand elements of a channel.
func imageStretches(images, plane int) (stretches, stretch int) {
	stretch = max(1, ceilDiv(16384, max(plane, 1)), ceilDiv(images, 1024))
	return ceilDiv(images, stretch), stretch
}

// batchNormTypes returns the suffixes of x with parameters p, of x, and of p; statistics are f32.
func batchNormTypes(x, p DeviceView, statistics ...DeviceView) (both, sx, sp string, ok bool) {
	both, ok = normSuffix(x, p)
	sx, _ = suffix(x.DType)
	sp, _ = suffix(p.DType)
	for _, s := range statistics {
		ok = ok && s.DType == tensor.F32
	}
	return both, sx, sp, ok
}

func deviceBatchNorm(c *DeviceCall) error {
	x, mean, variance := c.In[0], c.Out[1], c.Out[2]
	_, s, _, ok := batchNormTypes(x, c.In[1], mean, variance)
	if !ok {
		return c.Uncovered()
	}
	images, channels, plane := nchw(x.Shape)
	stretches, stretch := imageStretches(images, plane)
	partial := c.Scratch(int64(stretches) * 2 * int64(channels) * 4)
	err := c.Launch("batchnorm_stats"+s, Grid(channels, stretches), Block(batchNormThreads), 0,
		x, partial, int32(images), int32(channels), int64(plane), int32(stretch), packs(plane, 16/x.DType.Size()))
	if err != nil {
		return err
	}
	err = c.Launch("batchnorm_join", Grid(ceilDiv(channels, batchNormThreads)), Block(batchNormThreads), 0,
		partial, mean, variance, int32(images), int32(channels), int64(plane), int32(stretch))
	if err != nil {
		return err
	}
	return batchNormApply(c, mean, variance)
}

// batchNormApply launches y = (x − mean)·rstd·gain + bias.
func batchNormApply(c *DeviceCall, mean, variance DeviceView) error {
	x, gain, bias := c.In[0], c.In[1], c.In[2]
	both, _, _, ok := batchNormTypes(x, gain, mean, variance)
	if !ok || bias.DType != gain.DType {
		return c.Uncovered()
	}
	_, channels, plane := nchw(x.Shape)
	width := 16 / x.DType.Size()
	packed, count := packs(plane, width), int64(x.Shape.Size())
	return c.Launch("batchnorm_apply"+both, c.Strided(ceilDiv(count, int64(width)), batchNormThreads), Block(batchNormThreads), 0,
		x, gain, bias, mean, variance, c.Out[0], count, int32(channels), int64(plane), float32(c.Attrs.(graph.Norm).Eps), packed)
}

// deviceBatchNormGrad sums the parameters' gradients first: dx, which may take the memory of dy or x, needs them.
func deviceBatchNormGrad(c *DeviceCall) error {
	dy, x, gain, mean, variance := c.In[0], c.In[1], c.In[2], c.In[3], c.In[4]
	both, sx, sp, ok := batchNormTypes(x, gain, mean, variance)
	if !ok || dy.DType != x.DType {
		return c.Uncovered()
	}
	eps := float32(c.Attrs.(graph.Norm).Eps)
	images, channels, plane := nchw(x.Shape)
	width := 16 / x.DType.Size()
	packed, count := packs(plane, width), int64(x.Shape.Size())
	stretches, stretch := imageStretches(images, plane)
	partial, sums := c.Scratch(int64(stretches)*2*int64(channels)*4), c.Scratch(2*int64(channels)*4)
	err := c.Launch("batchnorm_sums"+sx, Grid(channels, stretches), Block(batchNormThreads), 0,
		dy, x, mean, variance, partial, int32(images), int32(channels), int64(plane), int32(stretch), eps, packed)
	if err != nil {
		return err
	}
	err = c.Launch("batchnorm_sums_join"+sp, Grid(ceilDiv(channels, batchNormThreads)), Block(batchNormThreads), 0,
		partial, sums, c.Out[1], c.Out[2], int32(channels), int32(stretches))
	if err != nil {
		return err
	}
	return c.Launch("batchnorm_dx"+both, c.Strided(ceilDiv(count, int64(width)), batchNormThreads), Block(batchNormThreads), 0,
		dy, x, gain, mean, variance, sums, c.Out[0], count, int32(channels), int64(plane), eps, packed)
}
