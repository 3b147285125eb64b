//go:build cuda

package kernels

import (
	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

const lossThreads = 1024 // LOSS_THREADS of loss.cu

// lossArgs is LossArgs of loss.cu.
type lossArgs struct {
	Cols, Pitch, First, Ignore, HasIgnore int32
	Smoothing                             float32
}

func init() {
	registerDevice("cross_entropy", func(c *DeviceCall) error { return deviceLoss(c, c.Out[1].Ptr, Null, 0) })
	registerDevice("cross_entropy_fused", func(c *DeviceCall) error {
		return deviceLoss(c, Null, c.Out[1].Ptr, float32(c.Attrs.(graph.CrossEntropy).Seed))
	})
	registerDevice("cross_entropy_grad", deviceLossGrad)
}

// lossCall checks logits and targets and counts the targets that are not ignored into scratch memory.
func lossCall(c *DeviceCall, logits, targets DeviceView) (kinds string, a lossArgs, count uint64, err error) {
	s, ok := suffix(logits.DType)
	index, indexed := map[tensor.DType]string{tensor.I32: "_i32", tensor.I64: "_i64"}[targets.DType]
	if !ok || !indexed {
		return "", a, 0, c.Uncovered()
	}
	e := c.Attrs.(graph.CrossEntropy)
	a = lossArgs{Cols: int32(e.Of(logits.Shape[1])), Pitch: int32(logits.Shape[1]), First: int32(e.First), Ignore: int32(e.Ignore), Smoothing: float32(e.Smoothing)}
	if e.HasIgnore {
		a.HasIgnore = 1
	}
	count = c.Scratch(4)
	return s + index, a, count, c.Launch("loss_count"+index, Grid(1), Block(lossThreads), 0, targets, count, int32(targets.Shape[0]), a)
}

// lossBlock is the block for a row of logits: a pack per thread at least.
func lossBlock(logits DeviceView) Dim3 {
	return rowThreads(ceilDiv(logits.Shape[1], 16/logits.DType.Size()), lossThreads)
}

// lossStage is the shared memory for a row of whole packs, 0 where it does not fit beside the block's own.
func lossStage(c *DeviceCall, logits DeviceView) int {
	const own = 1024
	if bytes := logits.Shape[1] * logits.DType.Size(); bytes%16 == 0 && bytes <= c.Device.Shared-own {
		return bytes
	}
	return 0
}

// deviceLoss launches the loss, with lse or the gradient where their addresses are given.
func deviceLoss(c *DeviceCall, lse, dx uint64, scale float32) error {
	logits, targets := c.In[0], c.In[1]
	kinds, a, count, err := lossCall(c, logits, targets)
	if err != nil {
		return err
	}
	rows := logits.Shape[0]
	losses := c.Scratch(int64(max(rows, 1)) * 4)
	if rows > 0 {
		shared := lossStage(c, logits)
		err = c.Launch("cross_entropy"+kinds, Grid(rows), lossBlock(logits), shared, logits, targets, count, losses, lse, dx, scale, a, truth32(shared > 0))
		if err != nil {
			return err
		}
	}
	return c.Launch("loss_mean", Grid(1), Block(lossThreads), 0, losses, count, c.Out[0], int32(rows))
}

func deviceLossGrad(c *DeviceCall) error {
	dloss, logits, targets, lse := c.In[0], c.In[1], c.In[2], c.In[3]
	if !allF32(dloss, lse) {
		return c.Uncovered()
	}
	kinds, a, count, err := lossCall(c, logits, targets)
	if err != nil || logits.Shape[0] == 0 {
		return err
	}
	return c.Launch("cross_entropy_grad"+kinds, Grid(logits.Shape[0]), lossBlock(logits), 0,
		dloss, logits, targets, lse, count, c.Out[0], a)
}
