package quant

import (
	"ringo/export"
	"ringo/models"
	"ringo/runtime/tensor"
)

// Trained returns the ranges that quantization-aware training (train.qat) found for the inputs of a model's layers, by
// weight; none for other models. They go to Options.Ranges.
func Trained(m *models.Model, w export.Weights) (map[string]Range, error) {
	if !m.QAT {
		return nil, nil
	}
	g, err := export.Forward(m, w).Build(1, max(1, m.Context))
	if err != nil {
		return nil, err
	}
	out := map[string]Range{}
	for weight, states := range export.FakeRanges(g) {
		lo, hi := tensor.New(tensor.F32, 1), tensor.New(tensor.F32, 1)
		if err := w.Read(states.Min, lo.Bytes()); err != nil {
			return nil, err
		}
		if err := w.Read(states.Max, hi.Bytes()); err != nil {
			return nil, err
		}
		out[weight] = Range{Lo: lo.Float64s()[0], Hi: hi.Float64s()[0], Method: "trained"}
	}
	return out, nil
}
