// Package plan turns a graph into a Program: a flat list of instructions over one memory arena, made once
// per shape by a visible list of passes (differentiate, simplify, fuse, order, bucket gradients, plan
// memory). It knows ops and sizes; it must not know how any device computes them.
package plan

import (
	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// Options says what to plan.
type Options struct {
	Training  *Training    // nil plans the forward pass only
	Precision tensor.DType // what matrix products may round to: F32 (default) or BF16
	// Storage is the type that activations and their gradients are kept in: F32 (default) or BF16, for devices whose
	// memory is the limit. Parameters, statistics, losses and the flat gradient stay f32.
	Storage tensor.DType
	// FuseUpdate says that the device moves a parameter in the product that is its gradient ("matmul_adamw").
	FuseUpdate bool
	// UpdateMost is how many numbers the product's second factor may have there; 0 for any.
	UpdateMost int
	// PadClasses says that the device's products want rows of logits on 16 bytes.
	PadClasses bool
	// HalfGradients says that the device's AdamW reads bf16 gradients as well.
	HalfGradients bool
	// BiasInProduct says that the device's product can add up the rows of a factor ("linear_grad").
	BiasInProduct bool
	// HalfFactors says that the device's kernels write what bf16 products alone read in bf16, and that its products read that beside f32.
	HalfFactors bool
	// ClassifierRows is how many rows of logits are computed at once; 0 for as many as suit Logits, all where that is not set either.
	ClassifierRows int
	Logits         Logits
	Blocks         bool     // the device reads weights in "blocks"
	Rounding       string   // of parameters to bf16: nearest (or empty) or stochastic, which reads the input graph.RNG
	Recompute      string   // what the backward pass computes again instead of keeping it: none (or empty), gelu, norm, block
	Disable        []string // names of optional passes to leave out, for tests and for finding faults
	Dump           func(pass string, g *graph.Graph)
}

// Logits says with how few of a language model's logits at once a device is as fast as with all of them.
type Logits struct {
	Bytes int // about so many; 0 for all
	Rows  int // at least
}

// Training asks for a whole training step.
type Training struct {
	Loss  string // name of the scalar output to differentiate; empty means "loss"
	Lanes int    // micro-batches whose gradients are summed before the update
	// Rule gives the update of a parameter, by its leaf.
	Rule func(p graph.Leaf) Update
	Clip float64 // largest gradient norm, 0 for none
	// Norm asks for the gradient's norm even where nothing is clipped.
	Norm bool
	EMA  float64 // decay of an exponential moving average of the weights, 0 for none
	// Shared says that other workers add to the gradient between the lane and the update phase. The Grad region then
	// ends with one more number, Program.Flag, which no instruction touches.
	Shared bool
}

// Update is how a parameter moves: an optimizer op of the table, its attributes, and the names of its
// state tensors, each of the parameter's shape, zero at the start.
type Update struct {
	Op    string
	Attrs any
	Slots []string
	// PerTensor keeps the op from running over several parameters laid end to end.
	PerTensor bool
}

// Region says where a buffer lives.
type Region uint8

// The regions. Persist survives between steps and is shared by name between programs; Input is written by
// the caller; Grad is the flat gradient; Work is scratch whose memory the planner reuses.
const (
	Persist Region = iota
	Input
	Grad
	Work
)

var regionNames = [...]string{"persist", "input", "grad", "work"}

func (r Region) String() string { return regionNames[r] }

// Buffer is a piece of memory of a program.
type Buffer struct {
	Region Region
	Name   string // key in the store (Persist), input name (Input), else for people
	Offset int64  // bytes from the start of its region
	Bytes  int64
	// First and Last instruction that touch it; only meaningful in Work.
	First, Last int
}

// Ref is a typed use of a buffer, or of a stretch of one: rows of the tensor that it holds.
type Ref struct {
	Buf    int
	Type   graph.Type
	Offset int64 // bytes from the start of the buffer
}

// end is where the stretch ends, in bytes from the start of the buffer.
func (r Ref) end() int64 { return r.Offset + int64(r.Type.Bytes()) }

// Instr is one operation on buffers.
type Instr struct {
	Op      *graph.Op
	Attrs   any
	In, Out []Ref
	Name    string
	FLOPs   int64
}

// Bytes counts what the instruction reads and writes at least.
func (in *Instr) Bytes() int64 {
	var n int64
	for _, r := range in.In {
		n += int64(r.Type.Bytes())
	}
	for _, r := range in.Out {
		n += int64(r.Type.Bytes())
	}
	return n
}

// Tensor is a named persistent tensor: a parameter, a state, an optimizer slot or an average.
type Tensor struct {
	Name string
	Kind string // "param", "state", "ema", or the slot's name such as "m"
	Of   string // the parameter a slot or average belongs to
	Type graph.Type
	Init graph.Init
	Buf  int
}

// Bucket is a stretch of the Grad region, in bytes, that no instruction of the lane phase touches after instruction
// Ready. Buckets cover the region once, in the order in which backward completes them.
type Bucket struct {
	Offset, Bytes int64
	Ready         int
}

// Blocked is a parameter kept in blocks.
type Blocked struct {
	Instr int  // the "blocks" instruction
	Kept  bool // whatever moves the parameter in this program writes its blocks too
}

// Program is a planned computation. Instrs[:Split] is the lane phase, run once per lane; Instrs[Split:] is
// the update phase, run once per step. It never changes after Compile and may be shared.
type Program struct {
	Graph     *graph.Graph
	Precision tensor.DType
	Buffers   []Buffer
	Instrs    []Instr
	Split     int
	Tensors   []Tensor
	Inputs    map[string]Ref
	Outputs   map[string]Ref
	Consts    map[int]*tensor.Tensor // contents of constant buffers
	Buckets   []Bucket
	Sizes     [4]int64 // bytes per Region
	Lanes     int
	// GradBytes is the part of the Grad region that is gradient; what follows (tracked statistics, scalar
	// outputs) is summed over lanes with it but has no part in its norm.
	GradBytes int64
	// Flag is the element of the Grad region where workers raise a flag that all of them see after the sum; −1 where the
	// gradient is not shared.
	Flag int
	// Flat: the update phase moves whole groups of parameters at once, so that the Persist region must be laid
	// out as planned here; a store that holds some of its tensors already does not fit.
	Flat bool
	// Blocks are the lane phase's "blocks" instructions: their outputs stay in memory from step to step, and need computing only
	// where the parameter has changed since.
	Blocks []Blocked
	// Eager: each parameter is updated as soon as its gradient is there, inside the lane phase, and
	// gradients live in Work.
	Eager bool
}

// Hyper is the name of the input with the optimizer's numbers of the step; see graph.HyperLen.
const Hyper = "hyper"

// ArenaBytes is everything the program needs.
func (p *Program) ArenaBytes() int64 {
	var n int64
	for _, s := range p.Sizes {
		n += s
	}
	return n
}
