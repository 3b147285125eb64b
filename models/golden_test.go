package models_test

import (
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"ringo/kernels"
	"ringo/models"
	"ringo/models/golden"
	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// Ten training steps of every model, differentiated on the graph and interpreted node by node, against
// PyTorch's losses: the references in float64, the fast kernels in float32.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.json")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, run := range []struct {
		name      string
		dtype     tensor.DType
		reference bool
		tol       float64
	}{
		{"f64", tensor.F64, true, 1e-10}, // both sides sum in float64, in orders of their own
		{"f32", tensor.F32, false, 1e-4},
	} {
		for _, file := range files {
			t.Run(run.name+"/"+strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) {
				t.Parallel()
				c, err := golden.Load(file)
				require.NoError(t, err)
				tr := newTrainer(t, c, run.dtype, run.reference)
				losses := c.LossesF64
				if run.reference && c.Model.Name == "resnet" {
					losses = losses[:2] // a step of the plain convolutions takes a second
				}
				for step, want := range losses {
					loss, grads := tr.gradients(step)
					require.InEpsilon(t, want, loss, run.tol, "loss of step %d", step)
					if step == 0 {
						tr.requireGradients(grads, run.tol)
					}
					tr.update(step+1, grads)
				}
				if len(losses) < len(c.LossesF64) {
					return
				}
				tr.requireEval(run.tol * 10) // running statistics average all steps' differences
			})
		}
	}
}

// trainer is the plainest training loop: graphs interpreted, optimizers in float64.
type trainer struct {
	t         *testing.T
	c         *golden.Case
	m         *models.Model
	g         *graph.Graph
	grads     []*graph.Value
	reference bool
	leaves    map[string]*tensor.Tensor
	moments   map[string][2][]float64
}

func newTrainer(t *testing.T, c *golden.Case, dt tensor.DType, reference bool) *trainer {
	m, err := models.New(c.Model)
	require.NoError(t, err)
	m.DType = dt
	tr := &trainer{t: t, c: c, m: m, reference: reference, leaves: map[string]*tensor.Tensor{}, moments: map[string][2][]float64{}}
	tr.g, err = graph.Build(func(g *graph.Graph) {
		require.NoError(t, m.Loss(g, c.Batch, true))
		tr.grads, err = g.Gradient(g.Find(models.Loss), 1, g.Params)
		require.NoError(t, err)
	})
	require.NoError(t, err)
	start, err := c.Weights(m, tr.g)
	require.NoError(t, err)
	for name, w := range start {
		tr.leaves[name] = convert(w, dt)
	}
	return tr
}

func convert(x *tensor.Tensor, dt tensor.DType) *tensor.Tensor {
	if !x.DType.IsFloat() {
		return x
	}
	y := tensor.New(dt, x.Shape...)
	tensor.StoreFloat64(y.Bytes(), dt, x.Float64s())
	return y
}

func (tr *trainer) eval(g *graph.Graph, step int) map[*graph.Value]*tensor.Tensor {
	feeds, inputs := map[*graph.Value]*tensor.Tensor{}, tr.c.Inputs(step)
	for _, v := range g.Inputs {
		require.Contains(tr.t, inputs, v.Node.Name)
		feeds[v] = convert(inputs[v.Node.Name], tr.m.DType)
	}
	for _, list := range [][]*graph.Value{g.Params, g.States} {
		for _, v := range list {
			feeds[v] = tr.leaves[v.Node.Name]
		}
	}
	vals, err := kernels.Eval(g, feeds, tr.reference)
	require.NoError(tr.t, err)
	return vals
}

// gradients runs one step without its update and tracks the running statistics.
func (tr *trainer) gradients(step int) (float64, map[string][]float64) {
	vals := tr.eval(tr.g, step)
	grads := map[string][]float64{}
	for i, p := range tr.g.Params {
		require.NotNil(tr.t, tr.grads[i], "%s has no gradient", p.Node.Name)
		grads[p.Node.Name] = vals[tr.grads[i]].Float64s()
	}
	for _, k := range tr.g.Tracked {
		leaf := tr.leaves[k.State.Node.Name]
		mean, now := leaf.Float64s(), vals[k.New].Float64s()
		for i := range mean {
			mean[i] = (1-k.Momentum)*mean[i] + k.Momentum*now[i]
		}
		tensor.StoreFloat64(leaf.Bytes(), leaf.DType, mean)
	}
	return vals[tr.g.Find(models.Loss)].Float64s()[0], grads
}

// requireGradients compares each PyTorch tensor's gradient by norm and by its product with the probe, both relative
// to the norm: rows of packed parameters are told apart.
func (tr *trainer) requireGradients(grads map[string][]float64, tol float64) {
	seen := 0
	for _, w := range tr.m.Weights(tr.g) {
		want, ok := tr.c.Gradients[w.Name]
		if !ok {
			require.Contains(tr.t, w.Name, "running_")
			continue
		}
		seen++
		shape := tr.leaves[w.Param].Shape.Clone()
		row := shape.Size() / shape[0]
		grad := grads[w.Param][w.From*row : w.To*row]
		shape[0] = w.To - w.From
		var norm, dot float64
		for i, v := range tr.c.Probe(w.Name, shape) {
			norm += grad[i] * grad[i]
			dot += grad[i] * v
		}
		// Sums that cancel exactly in theory (a key's bias, a bias before batch norm) leave only rounding.
		require.InDelta(tr.t, want[0], math.Sqrt(norm), tol*want[0]+1e-7, "norm of the gradient of %s", w.Name)
		require.InDelta(tr.t, want[1], dot, tol*want[0]*10+1e-7, "direction of the gradient of %s", w.Name)
	}
	require.Len(tr.t, tr.c.Gradients, seen, "every tensor of PyTorch's model has its counterpart")
}

// update is one step of PyTorch's AdamW or SGD, in float64; weight decay for two or more dimensions.
func (tr *trainer) update(t int, grads map[string][]float64) {
	o := tr.c.Optim
	for _, v := range tr.g.Params {
		leaf, name := tr.leaves[v.Node.Name], v.Node.Name
		decay := o.WeightDecay
		if len(leaf.Shape) < 2 {
			decay = 0
		}
		require.Equal(tr.t, decay == 0, v.Node.Attrs.(graph.Leaf).NoDecay, "NoDecay of %s", name)
		p, g, ms := leaf.Float64s(), grads[name], tr.moments[name]
		if ms[0] == nil {
			ms = [2][]float64{make([]float64, len(p)), make([]float64, len(p))}
			tr.moments[name] = ms
		}
		for i := range p {
			switch o.Name {
			case "adamw": // Loshchilov and Hutter 2017, algorithm 2
				ms[0][i] += (1 - o.Betas[0]) * (g[i] - ms[0][i])
				ms[1][i] += (1 - o.Betas[1]) * (g[i]*g[i] - ms[1][i])
				mHat := ms[0][i] / (1 - math.Pow(o.Betas[0], float64(t)))
				vHat := ms[1][i] / (1 - math.Pow(o.Betas[1], float64(t)))
				p[i] = p[i]*(1-o.LR*decay) - o.LR*mHat/(math.Sqrt(vHat)+o.Eps)
			case "sgd":
				d := g[i] + decay*p[i]
				ms[0][i] = o.Momentum*ms[0][i] + d
				if o.Nesterov {
					d += o.Momentum * ms[0][i]
				} else {
					d = ms[0][i]
				}
				p[i] -= o.LR * d
			default:
				tr.t.Fatalf("optimizer %q", o.Name)
			}
		}
		tensor.StoreFloat64(leaf.Bytes(), leaf.DType, p)
	}
}

func (tr *trainer) requireEval(tol float64) {
	g, err := graph.Build(func(g *graph.Graph) { require.NoError(tr.t, tr.m.Loss(g, tr.c.Batch, false)) })
	require.NoError(tr.t, err)
	vals := tr.eval(g, 0)
	require.InEpsilon(tr.t, tr.c.EvalLoss, vals[g.Find(models.Loss)].Float64s()[0], tol, "evaluation loss")
	if !tr.m.Language() {
		require.EqualValues(tr.t, tr.c.EvalCorrect, vals[g.Find(models.Correct)].Float64s()[0], "correct samples")
	}
}
