//go:build cuda

package kernels

import (
	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

const (
	muonThreads = 256   // MUON_THREADS
	muonChunk   = 16384 // MUON_CHUNK
)

// muonArgs is MuonArgs of muon.cu.
type muonArgs struct {
	Momentum, Decay, Scale float32
	Nesterov               int32
}

func init() { registerDevice("muon", deviceMuon) }

func deviceMuon(c *DeviceCall) error {
	a := c.Attrs.(graph.Muon)
	p, g, mom, hyper, norm := c.In[0], c.In[1], c.In[2], c.In[3], Null
	if len(c.In) > 4 {
		norm = c.In[4].Ptr
	}
	for _, v := range c.In {
		if v.DType != tensor.F32 {
			return c.Uncovered()
		}
	}
	rows, cols := p.Shape[0], p.Shape[1]
	n := int64(rows) * int64(cols)
	args := muonArgs{Momentum: float32(a.Momentum), Decay: float32(a.WeightDecay), Scale: float32(muonScale(a, rows, cols)), Nesterov: truth32(a.Nesterov)}
	u, chunks, count := c.Scratch(n*4), c.Scratch(ceilDiv(n, muonChunk)*8), int(ceilDiv(n, muonChunk))
	if err := c.Launch("muon_momentum", Grid(count), Block(muonThreads), 0, g, mom, u, chunks, hyper, norm, args, n); err != nil {
		return err
	}
	if err := c.Launch("muon_normalise", c.Strided(n, muonThreads), Block(muonThreads), 0, u, chunks, int32(count), n); err != nil {
		return err
	}
	x, err := orthogonalise(c, u, rows, cols, a.Steps)
	if err != nil {
		return err
	}
	return c.Launch("muon_update", c.Strided(n, muonThreads), Block(muonThreads), 0, p, x, hyper, args, n)
}

// orthogonalise adds the Newton–Schulz steps on x (rows, cols), which is overwritten, and returns where the result is:
// with A = X·Xᵀ, X = a·X + (b·A + c·A²)·X; from the other side, A = Xᵀ·X and X = a·X + X·(b·A + c·A²), where that A is smaller.
func orthogonalise(c *DeviceCall, x uint64, rows, cols, steps int) (uint64, error) {
	if steps == 0 {
		steps = muonSteps
	}
	small, tall := min(rows, cols), rows > cols
	size := int64(small) * int64(small) * 4
	gram, poly, next := c.Scratch(size), c.Scratch(size), c.Scratch(int64(rows)*int64(cols)*4)
	multiply := func(a, b, y uint64, transA, transB bool, m, n, k int, end epilogueArgs) error {
		end.Y = y
		p := deviceProduct{dtype: tensor.F32, out: tensor.F32, transA: transA, transB: transB, args: matmulArgs{
			A: a, B: b, M: int32(m), N: int32(n), K: int32(k), End: end, Batch: broadcastArgs{N: 1, Axes: 1, Dims: [broadcastAxes]int32{1}}}}
		return p.run(c)
	}
	for range steps {
		if err := multiply(x, x, gram, tall, !tall, small, small, max(rows, cols), epilogueArgs{Alpha: 1}); err != nil {
			return 0, err
		}
		if err := multiply(gram, gram, poly, false, false, small, small, small, epilogueArgs{Alpha: muonC, Residual: gram, Beta: muonB}); err != nil {
			return 0, err
		}
		left, right := poly, x
		if tall {
			left, right = x, poly
		}
		if err := multiply(left, right, next, false, false, rows, cols, small, epilogueArgs{Alpha: 1, Residual: x, Beta: muonA}); err != nil {
			return 0, err
		}
		x, next = next, x
	}
	return x, nil
}
