package quant

import (
	"fmt"
	"math"

	"ringo/export"
	"ringo/runtime/tensor"
)

// q8Block is the length of a block of Q8_0, ggml's weight format: one f16 scale for 32 int8.
const q8Block = 32

// WeightOnly returns a model whose layers' weights went through Q8_0 and back: activations and arithmetic stay float. It
// tells what a GGUF of that type will score. Layers whose inputs are no multiple of 32 stay as they are.
func WeightOnly(inf *export.Inference) (*export.Inference, error) {
	g, err := inf.Build(1, inf.MaxSeq)
	if err != nil {
		return nil, err
	}
	layers, nodes := findLayers(g)
	over := export.Tensors{}
	for i, l := range layers {
		if l.Op != "matmul" {
			continue
		}
		w := tensor.New(tensor.F32, nodes[i].In[1].Shape...)
		if err := inf.Weights.Read(l.Weight, w.Bytes()); err != nil {
			return nil, err
		}
		if err := export.Finite(l.Weight, w.Bytes()); err != nil {
			return nil, fmt.Errorf("q8_0: %w", err)
		}
		if k := w.Size() / w.Shape[l.Axis]; k%q8Block == 0 {
			roundQ8(w, l.Axis, k)
			over[l.Weight] = w
		}
	}
	out := *inf
	out.Weights = overlay{inf.Weights, over, nil}
	return &out, nil
}

// roundQ8 rounds blocks of 32 inputs of each output: d = max|x|/127 in f16, x̂ = d·round(x/d).
func roundQ8(w *tensor.Tensor, axis, k int) {
	x, outs := tensor.Data[float32](w), w.Shape[axis]
	for o := range outs {
		at := func(i int) *float32 {
			if axis == 0 {
				return &x[o*k+i]
			}
			return &x[i*outs+o]
		}
		for b := 0; b < k; b += q8Block {
			most := 0.0
			for i := b; i < b+q8Block; i++ {
				most = max(most, math.Abs(float64(*at(i))))
			}
			d := most / 127
			stored := float64(tensor.F32FromF16(tensor.F16FromF32(float32(d))))
			for i := b; i < b+q8Block && d > 0; i++ {
				*at(i) = float32(math.Round(float64(*at(i))/d) * stored)
			}
		}
	}
}
