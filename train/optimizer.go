package train

import (
	"fmt"
	"math"

	"ringo/models"
	"ringo/runtime/graph"
	"ringo/runtime/plan"
	"ringo/train/config"
)

// optimizers is the table of update rules: for a parameter, the op that moves it and the tensors it keeps.
var optimizers = map[string]func(o config.Optim, transposed bool, p graph.Leaf) plan.Update{
	"adamw": adamw,
	"sgd": func(o config.Optim, _ bool, p graph.Leaf) plan.Update {
		return plan.Update{Op: "sgd", Slots: []string{"momentum"},
			Attrs: graph.SGD{Momentum: o.Momentum, Nesterov: o.Nesterov, WeightDecay: decay(o, p)}}
	},
	"lion": func(o config.Optim, _ bool, p graph.Leaf) plan.Update {
		return plan.Update{Op: "lion", Slots: []string{"momentum"},
			Attrs: graph.Lion{Beta1: o.Betas[0], Beta2: o.Betas[1], WeightDecay: decay(o, p)}}
	},
	// Muon moves the matrices inside the network; embeddings, heads, biases and gains go to AdamW, as its
	// author does (Jordan, "Muon", 2024).
	"muon": func(o config.Optim, transposed bool, p graph.Leaf) plan.Update {
		if !p.Hidden || len(p.Type.Shape) != 2 {
			return adamw(o, transposed, p)
		}
		return plan.Update{Op: "muon", Slots: []string{"momentum"}, PerTensor: true,
			Attrs: graph.Muon{Momentum: o.Momentum, Nesterov: o.Nesterov, WeightDecay: decay(o, p), Steps: o.MuonSteps, Transposed: transposed}}
	},
}

func adamw(o config.Optim, _ bool, p graph.Leaf) plan.Update {
	return plan.Update{Op: "adamw", Slots: []string{"m", "v"},
		Attrs: graph.AdamW{Beta1: o.Betas[0], Beta2: o.Betas[1], Eps: o.Eps, WeightDecay: decay(o, p)}}
}

// decay is the weight decay of a parameter's group: none for biases and gains.
func decay(o config.Optim, p graph.Leaf) float64 {
	if p.NoDecay {
		return 0
	}
	return o.WeightDecay
}

// Rule returns the update rule of every parameter of a model.
func Rule(o config.Optim, m *models.Model) (func(graph.Leaf) plan.Update, error) {
	rule, ok := optimizers[o.Name]
	if !ok {
		return nil, fmt.Errorf("optim.name %q: unknown", o.Name)
	}
	return func(p graph.Leaf) plan.Update { return rule(o, m.InOut(), p) }, nil
}

// biasCorrections returns 1−β₁ᵗ and 1−β₂ᵗ for step t, counted from 1 (Kingma and Ba, "Adam", 2015, section 3).
func biasCorrections(o config.Optim, t int) (float64, float64) {
	return 1 - math.Pow(o.Betas[0], float64(t)), 1 - math.Pow(o.Betas[1], float64(t))
}
