// Package golden reads the files of models/testdata: what PyTorch got for ten training steps of each small
// model (scripts/golden/make.py). It makes the same weights and batches as the script does, from tensor
// names. It serves tests only, and knows nothing of executors.
package golden

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"math"
	"os"
	"strings"

	"github.com/goccy/go-yaml"

	"ringo/models"
	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// Case is one golden file.
type Case struct {
	Model    models.Config `yaml:"model"`
	Batch    int           `yaml:"batch"`
	Seed     uint64        `yaml:"seed"`
	Distinct int           `yaml:"distinct_batches"` // step s trains on batch s mod Distinct
	Optim    Optim         `yaml:"optim"`

	LossesF32 []float64 `yaml:"losses_f32"` // PyTorch in float32; before each of the ten steps
	LossesF64 []float64 `yaml:"losses_f64"` // the same in float64
	// EvalLoss and EvalCorrect are batch 0 after the last step, in evaluation mode, in float64. EvalCorrect
	// counts tokens for a language model.
	EvalLoss    float64 `yaml:"eval_loss"`
	EvalCorrect int     `yaml:"eval_correct"`
	// Gradients gives, per tensor under its PyTorch name, the norm of the first step's gradient and its
	// product with Probe, in float64.
	Gradients map[string][2]float64 `yaml:"gradients"`
}

// Optim is PyTorch's AdamW or SGD. WeightDecay applies to tensors of two or more dimensions.
type Optim struct {
	Name        string     `yaml:"name"`
	LR          float64    `yaml:"lr"`
	Betas       [2]float64 `yaml:"betas"`
	Eps         float64    `yaml:"eps"`
	Momentum    float64    `yaml:"momentum"`
	Nesterov    bool       `yaml:"nesterov"`
	WeightDecay float64    `yaml:"weight_decay"`
}

// Load reads one golden file.
func Load(path string) (*Case, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	c := &Case{}
	if !json.Valid(raw) {
		return nil, fmt.Errorf("golden %s: not JSON", path)
	}
	if err := yaml.Unmarshal(raw, c); err != nil { // JSON is YAML, and Config carries YAML names
		return nil, fmt.Errorf("golden %s: %w", path, err)
	}
	if len(c.LossesF64) == 0 || len(c.LossesF32) != len(c.LossesF64) || c.Distinct < 1 {
		return nil, fmt.Errorf("golden %s: %d and %d losses over %d batches, expected the same positive number and at least one batch", path, len(c.LossesF32), len(c.LossesF64), c.Distinct)
	}
	return c, nil
}

// uniform returns numbers of [lo,hi) drawn from the stream that name hashes to.
func (c *Case) uniform(name string, shape tensor.Shape, lo, hi float32) *tensor.Tensor {
	t, p := tensor.New(tensor.F32, shape...), c.philox(name)
	p.FillUniform(tensor.Data[float32](t), lo, hi)
	return t
}

// integers returns I32 numbers of [0,n): words modulo n.
func (c *Case) integers(name string, shape tensor.Shape, n int) *tensor.Tensor {
	t, p := tensor.New(tensor.I32, shape...), c.philox(name)
	out := tensor.Data[int32](t)
	for i := range out {
		out[i] = int32(p.At(uint64(i / 4))[i%4] % uint32(n))
	}
	return t
}

func (c *Case) philox(name string) tensor.Philox {
	h := fnv.New64a()
	h.Write([]byte(name))
	return tensor.NewPhilox(c.Seed, h.Sum64())
}

// Initial returns the first value of a tensor by its PyTorch name, f32: biases of [−0.1,0.1), gains of
// [0.9,1.1), all else of ±1/√(elements per row).
func (c *Case) Initial(name string, shape tensor.Shape) *tensor.Tensor {
	switch {
	case strings.HasSuffix(name, "bias"):
		return c.uniform(name, shape, -0.1, 0.1)
	case strings.HasSuffix(name, "running_mean"):
		return tensor.New(tensor.F32, shape...)
	case strings.HasSuffix(name, "running_var"):
		t := tensor.New(tensor.F32, shape...)
		for i := range t.Size() {
			tensor.Data[float32](t)[i] = 1
		}
		return t
	case len(shape) == 1:
		return c.uniform(name, shape, 0.9, 1.1)
	}
	bound := float32(1 / math.Sqrt(float64(shape[1:].Size())))
	return c.uniform(name, shape, -bound, bound)
}

// Probe returns the vector whose product with a tensor's gradient Gradients records.
func (c *Case) Probe(name string, shape tensor.Shape) []float64 {
	return c.uniform("probe/"+name, shape, -1, 1).Float64s()
}

// Weights returns the first value, f32, of every parameter and running statistic of g, by ringo's names.
func (c *Case) Weights(m *models.Model, g *graph.Graph) (map[string]*tensor.Tensor, error) {
	leaves, out := map[string]*graph.Value{}, map[string]*tensor.Tensor{}
	for _, v := range append(append([]*graph.Value{}, g.Params...), g.States...) {
		leaves[v.Node.Name] = v
	}
	for _, w := range m.Weights(g) {
		shape := leaves[w.Param].Shape.Clone()
		if out[w.Param] == nil {
			out[w.Param] = tensor.New(tensor.F32, shape...)
		}
		shape[0] = w.To - w.From
		if err := w.Fill(out[w.Param], c.Initial(w.Name, shape)); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Inputs returns what step feeds to the graph of Model.Loss, by input name: floats as f32, indices as I32.
func (c *Case) Inputs(step int) map[string]*tensor.Tensor {
	m, s := c.Model, step%c.Distinct
	name := func(what string) string { return fmt.Sprintf("%s/%d", what, s) }
	if m.Vocab > 0 {
		row := m.Context + 1 // targets are the tokens one further
		ids := tensor.Data[int32](c.integers(name("tokens"), tensor.Shape{c.Batch, row}, m.Vocab))
		x, y := tensor.New(tensor.I32, c.Batch, m.Context), tensor.New(tensor.I32, c.Batch, m.Context)
		for b := range c.Batch {
			copy(tensor.Data[int32](x)[b*m.Context:], ids[b*row:(b+1)*row-1])
			copy(tensor.Data[int32](y)[b*m.Context:(b+1)*m.Context], ids[b*row+1:])
		}
		return map[string]*tensor.Tensor{models.Tokens: x, models.Targets: y}
	}
	out := map[string]*tensor.Tensor{models.Labels: c.integers(name("labels"), tensor.Shape{c.Batch}, m.Classes)}
	input := models.Features
	if len(m.Input) == 3 {
		input = models.Images
	}
	out[input] = c.uniform(name("input"), append(tensor.Shape{c.Batch}, m.Input...), -1, 1)
	if k := len(m.Categories); k > 0 {
		ids := tensor.New(tensor.I32, c.Batch, k)
		for i, n := range m.Categories {
			col := c.integers(name(fmt.Sprintf("category%d", i)), tensor.Shape{c.Batch}, n)
			for b, v := range tensor.Data[int32](col) {
				tensor.Data[int32](ids)[b*k+i] = v
			}
		}
		out[models.Categories] = ids
	}
	return out
}
