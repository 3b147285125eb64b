//go:build cuda

package kernels

import (
	"strconv"

	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

const (
	attentionThreads = 128 // ATTENTION_THREADS
	plainThreads     = 256 // PLAIN_THREADS
	plainTile        = 64  // PLAIN_TILE
	deltaLanes       = 8   // DELTA_LANES
)

// attentionDevice is AttentionArgs of attention.cuh.
type attentionDevice struct {
	Q, K, V, DY                               uint64
	Y, DQ, DK, DV                             uint64
	LSE, DLSE, Delta, Pos                     uint64
	QRow, KVRow, YRow                         int64
	Batch, Queries, Keys, Heads, KVHeads, Dim int32
	First, PosEach                            int32
	Scale                                     float32
}

// attentionTiles are the tensor-core kernels per head size, as instantiated in attention.cu and attention_grad.cu: rows of
// the tile that stays and of the tiles that pass by, for y, for dk and dv, for dq.
var attentionTiles = []struct {
	dim          int
	out, dkv, dq [2]int
}{
	{32, [2]int{128, 64}, [2]int{128, 32}, [2]int{128, 32}},
	{64, [2]int{128, 64}, [2]int{128, 32}, [2]int{128, 32}},
	{80, [2]int{128, 32}, [2]int{64, 32}, [2]int{128, 32}},
	{96, [2]int{128, 32}, [2]int{64, 32}, [2]int{128, 32}},
	{128, [2]int{128, 32}, [2]int{64, 32}, [2]int{64, 32}},
}

// headRowBytes is the pitch of HeadRows<dim> of attention_mma.cuh.
func headRowBytes(dim int) int {
	chunks := dim / 8
	if chunks != 4 && chunks%8 != 0 {
		chunks |= 1
	}
	return chunks * 16
}

func init() {
	registerDevice("attention", deviceAttention)
	registerDevice("attention_grad", deviceAttentionGrad)
}

// newAttention resolves the sizes of a call with the operands {q,k,v} or {qkv}.
func newAttention(c *DeviceCall, a graph.Attention, in []DeviceView) (attentionDevice, error) {
	z, err := a.Sizes(in[0].Shape, in[len(in)/2].Shape)
	if err != nil {
		return attentionDevice{}, err
	}
	p := attentionDevice{Batch: int32(z.B), Queries: int32(z.T), Keys: int32(z.S), Heads: int32(z.H), KVHeads: int32(z.KV), Dim: int32(z.D),
		First: int32(z.S), Scale: float32(a.SoftmaxScale(z.D)), QRow: int64(z.H * z.D), KVRow: int64(z.KV * z.D), YRow: int64(z.H * z.D)}
	if a.Causal {
		p.First = int32(z.S - z.T)
	}
	if len(in) == 1 {
		p.QRow = int64((z.H + 2*z.KV) * z.D)
		p.KVRow = p.QRow
	}
	if _, ok := suffix(in[0].DType); !ok || z.B > maxGridZ/max(1, ceilDiv(z.D, 128)) || z.H > maxGridZ {
		return p, c.Uncovered()
	}
	p.Q, p.K, p.V = p.split(in)
	return p, nil
}

// split returns where the queries, keys and values of {q,k,v} or {qkv} start.
func (p *attentionDevice) split(x []DeviceView) (q, k, v uint64) {
	if len(x) == 3 {
		return x[0].Ptr, x[1].Ptr, x[2].Ptr
	}
	size := uint64(x[0].DType.Size()) * uint64(p.Dim)
	k = x[0].Ptr + uint64(p.Heads)*size
	return x[0].Ptr, k, k + uint64(p.KVHeads)*size
}

// tensorCores returns the row of attentionTiles whose kernels take these operands, or -1: heads of bf16 that start on 16
// bytes, and a positive scale. A head size in between is padded with zeros in shared memory.
func (p *attentionDevice) tensorCores(t tensor.DType) int {
	if t != tensor.BF16 || p.Dim%8 != 0 || p.Scale <= 0 {
		return -1
	}
	for i, k := range attentionTiles {
		if int(p.Dim) <= k.dim {
			return i
		}
	}
	return -1
}

// plain launches one of the kernels for any head size, over tiles of `rows` rows of each of `heads` heads.
func (p *attentionDevice) plain(c *DeviceCall, kernel string, t tensor.DType, rows, heads int32) error {
	columns := 128
	if p.Dim <= 64 {
		columns = 64
	}
	s, _ := suffix(t)
	grid := Grid(ceilDiv(int(rows), plainTile), int(heads), int(p.Batch)*ceilDiv(int(p.Dim), columns))
	return c.Launch(kernel+"_plain"+strconv.Itoa(columns)+s, grid, Block(plainThreads), 0, *p)
}

// forward launches y = softmax(scale·q·kᵀ)·v.
func (p *attentionDevice) forward(c *DeviceCall, t tensor.DType) error {
	if p.Batch == 0 {
		return nil
	}
	i := p.tensorCores(t)
	if i < 0 {
		return p.plain(c, "attention", t, p.Queries, p.Heads)
	}
	return p.versions(c, func() error {
		k := attentionTiles[i]
		shared := (k.out[0] + 4*k.out[1]) * headRowBytes(k.dim)
		return c.Launch("attention_bf16_"+strconv.Itoa(k.dim), Grid(ceilDiv(int(p.Queries), k.out[0]), int(p.Heads), int(p.Batch)),
			Block(attentionThreads), shared, *p)
	}, p.forwardHopper)
}

func deviceAttention(c *DeviceCall) error {
	p, err := newAttention(c, c.Attrs.(graph.Attention), c.In)
	if err != nil {
		return err
	}
	p.Y, p.LSE = c.Out[0].Ptr, c.Out[1].Ptr
	return p.forward(c, c.In[0].DType)
}

func deviceAttentionGrad(c *DeviceCall) error {
	n := len(c.Out) // 1 packed, 3 apart
	p, err := newAttention(c, c.Attrs.(graph.Attention), c.In[1:1+n])
	if err != nil {
		return err
	}
	t := c.In[0].DType
	p.DY, p.Y, p.LSE = c.In[0].Ptr, c.In[1+n].Ptr, c.In[2+n].Ptr
	if len(c.In) > 3+n {
		p.DLSE = c.In[3+n].Ptr
	}
	p.DQ, p.DK, p.DV = p.split(c.Out)
	rows := int64(p.Batch) * int64(p.Heads) * int64(p.Queries)
	p.Delta = c.Scratch(rows * 4)
	if p.Batch == 0 {
		return nil
	}
	s, _ := suffix(t)
	if err := c.Launch("attention_delta"+s, c.Strided(rows*deltaLanes, 256), Block(256), 0, p); err != nil {
		return err
	}
	i := p.tensorCores(t)
	if i < 0 {
		if err := p.plain(c, "attention_dkv", t, p.Keys, p.KVHeads); err != nil {
			return err
		}
		return p.plain(c, "attention_dq", t, p.Queries, p.Heads)
	}
	return p.versions(c, func() error { return p.backward(c, i) }, p.backwardHopper)
}

// backward launches the sums of the gradient on row i of attentionTiles; delta is there.
func (p *attentionDevice) backward(c *DeviceCall, i int) error {
	k, name := attentionTiles[i], "_bf16_"+strconv.Itoa(attentionTiles[i].dim)
	// Two resident tiles and two stages of two passing ones; dk and dv also keep two statistics per passing row.
	shared := 2*(k.dkv[0]+2*k.dkv[1])*headRowBytes(k.dim) + 4*k.dkv[1]*4
	err := c.Launch("attention_dkv"+name, Grid(ceilDiv(int(p.Keys), k.dkv[0]), int(p.KVHeads), int(p.Batch)), Block(attentionThreads), shared, *p)
	if err != nil {
		return err
	}
	shared = 2 * (k.dq[0] + 2*k.dq[1]) * headRowBytes(k.dim)
	return c.Launch("attention_dq"+name, Grid(ceilDiv(int(p.Queries), k.dq[0]), int(p.Heads), int(p.Batch)), Block(attentionThreads), shared, *p)
}
