//go:build cuda

package kernels

import (
	"fmt"
	"slices"
	"strconv"

	"ringo/runtime/graph"
)

const (
	hopperThreads = 256  // HOPPER_THREADS
	hopperRows    = 128  // of the tiles that stay
	hopperAlign   = 1024 // panel_memory moves up to a multiple of it
	// trialBytes is how much memory the inputs and outputs of a trial may take together.
	trialBytes = 128 << 20
)

// hopperTiles are the kernels for warpgroups per head size, as instantiated in attention_hopper.cu and attention_grad_hopper.cu:
// rows of the tiles that pass by, for y, for dk and dv, for dq.
var hopperTiles = []struct{ dim, out, dkv, dq int }{{64, 64, 64, 64}, {128, 64, 64, 32}}

// versions adds a call by mma, or where the device has them by kernels for warpgroups, which take the same operands.
func (p *attentionDevice) versions(c *DeviceCall, mma func() error, hopper func(*DeviceCall) error) error {
	if !c.Device.Warpgroups || p.Pos != Null {
		return mma()
	}
	trial := p.trial(c)
	key := fmt.Sprintf("%s of %d queries, %d keys, %d/%d heads of %d, first %d, rows %d %d, %d sequences",
		c.Op, p.Queries, p.Keys, p.Heads, p.KVHeads, p.Dim, p.First, p.QRow, p.KVRow, trial.In[0].Shape[0])
	return c.Fastest(&Versions{Key: key, List: []Version{{VersionMMA, mma}, {VersionWGMMA, func() error { return hopper(c) }}}, Trial: trial})
}

// trial is the call with as many sequences as fit trialBytes. What a gradient reads of the forward pass comes from there.
func (p *attentionDevice) trial(c *DeviceCall) Trial {
	each := int64(0)
	for _, v := range slices.Concat(c.In, c.Out) {
		each += int64(v.Bytes()) / int64(p.Batch)
	}
	batch := min(int(p.Batch), max(1, int(trialBytes/max(1, each))))
	of := func(views []DeviceView) (out []graph.Type) {
		for _, v := range views {
			shape := slices.Clone(v.Shape)
			shape[0] = batch
			out = append(out, graph.Type{DType: v.DType, Shape: shape})
		}
		return out
	}
	t := Trial{In: of(c.In), Out: of(c.Out)}
	if c.Op == "attention_grad" {
		n := len(c.Out)
		t.Before = func(in []DeviceView) *DeviceCall {
			return &DeviceCall{Op: "attention", Attrs: c.Attrs, In: in[1 : 1+n], Out: in[1+n : 3+n], Precision: c.Precision}
		}
	}
	return t
}

// hopperRow is the row of hopperTiles for this head size; tensorCores has said that there is one.
func (p *attentionDevice) hopperRow() (k struct{ dim, out, dkv, dq int }, name string) {
	for _, k = range hopperTiles {
		if int(p.Dim) <= k.dim {
			break
		}
	}
	return k, "_hopper_" + strconv.Itoa(k.dim)
}

// hopperShared is the shared memory of a block that keeps tiles of hopperRows rows and two stages of two tiles of `passing` rows.
func hopperShared(dim, tiles, passing int) int {
	return hopperAlign + 2*dim*(tiles*hopperRows+4*passing)
}

func (p *attentionDevice) forwardHopper(c *DeviceCall) error {
	k, name := p.hopperRow()
	return c.Launch("attention"+name, Grid(ceilDiv(int(p.Queries), hopperRows), int(p.Heads), int(p.Batch)), Block(hopperThreads), hopperShared(k.dim, 1, k.out), *p)
}

// backwardHopper is backward by warpgroups.
func (p *attentionDevice) backwardHopper(c *DeviceCall) error {
	k, name := p.hopperRow()
	statistics := 4 * k.dkv * 4 // lse and delta of two stages
	err := c.Launch("attention_dkv"+name, Grid(ceilDiv(int(p.Keys), hopperRows), int(p.KVHeads), int(p.Batch)), Block(hopperThreads), hopperShared(k.dim, 2, k.dkv)+statistics, *p)
	if err != nil {
		return err
	}
	return c.Launch("attention_dq"+name, Grid(ceilDiv(int(p.Queries), hopperRows), int(p.Heads), int(p.Batch)), Block(hopperThreads), hopperShared(k.dim, 2, k.dq), *p)
}
