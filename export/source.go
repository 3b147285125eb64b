package export

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"

	"ringo/data"
	"ringo/export/safetensors"
	"ringo/models"
	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// Source is a trained model that is exported: what it is, and the file its weights lie in. Reading it is safe for
// concurrent use.
type Source struct {
	Model     *models.Model
	Tokenizer data.Tokenizer // nil where the model reads no text
	Labels    []string
	Image     *data.ImageSpec
	Table     *data.Schema
	Step      int
	SHA256    string // of the checkpoint's weights, "" where unknown

	file  TensorFile
	list  []models.Weight
	parts map[string][]models.Weight // by parameter
	types map[string]graph.Type      // by parameter
}

// TensorFile is where a model's weights lie, under the names that Hugging Face and torchvision use.
type TensorFile interface {
	Entries() []safetensors.Entry
	ReadInto(name string, dst []byte) error
}

var _ Weights = (*Source)(nil)

// NewSource checks that a file holds exactly the weights of a model, all f32. The error names the first tensor that
// differs.
func NewSource(m *models.Model, file TensorFile) (*Source, error) {
	g, err := Forward(m, nil).Build(1, max(m.Context, 1))
	if err != nil {
		return nil, err
	}
	s := &Source{Model: m, file: file, list: m.Weights(g), parts: map[string][]models.Weight{}, types: map[string]graph.Type{}}
	for _, list := range [][]*graph.Value{g.Params, g.States} {
		for _, v := range list {
			s.types[v.Node.Name] = v.Type
		}
	}
	have := map[string]safetensors.Entry{}
	for _, e := range file.Entries() {
		have[e.Name] = e
	}
	for _, w := range s.list {
		s.parts[w.Param] = append(s.parts[w.Param], w)
		e, ok := have[w.Name]
		if !ok {
			return nil, fmt.Errorf("weights of another model: no tensor %q, which %s needs as f32%v", w.Name, m.Name, s.Shape(w))
		}
		if e.DType != tensor.F32 || !e.Shape.Equal(s.Shape(w)) {
			return nil, fmt.Errorf("weights of another model: tensor %q is %v%v, %s needs f32%v", w.Name, e.DType, e.Shape, m.Name, s.Shape(w))
		}
		delete(have, w.Name)
	}
	for _, e := range file.Entries() {
		if _, left := have[e.Name]; left {
			return nil, fmt.Errorf("weights of another model: a tensor %q %v%v that %s lacks", e.Name, e.DType, e.Shape, m.Name)
		}
	}
	s.dropFakes(g)
	return s, nil
}

// dropFakes leaves the ranges of quantization-aware training out of what formats list; Read still knows them.
func (s *Source) dropFakes(g *graph.Graph) {
	states := map[string]bool{}
	for _, r := range FakeRanges(g) {
		states[r.Min], states[r.Max] = true, true
	}
	s.list = slices.DeleteFunc(s.list, func(w models.Weight) bool { return states[w.Param] })
}

// Weights lists the tensors of the file in the order of the model, without the ranges of quantization-aware training.
func (s *Source) Weights() []models.Weight { return s.list }

// Shape is the shape of a weight: its parameter's, with the rows it takes.
func (s *Source) Shape(w models.Weight) tensor.Shape {
	shape := s.types[w.Param].Shape.Clone()
	shape[0] = w.To - w.From
	return shape
}

// Parameters counts the elements of all weights; running statistics count too.
func (s *Source) Parameters() int {
	n := 0
	for _, w := range s.list {
		n += s.Shape(w).Size()
	}
	return n
}

// Tensor reads one weight of the list into dst, which has exactly its bytes. NaN and infinities are *NotFinite.
func (s *Source) Tensor(name string, dst []byte) error {
	if err := s.file.ReadInto(name, dst); err != nil {
		return err
	}
	return Finite(name, dst)
}

// Read reads a parameter, packed as the graph has it, or a running statistic.
func (s *Source) Read(param string, dst []byte) error {
	parts := s.parts[param]
	if parts == nil {
		return fmt.Errorf("weights: model %s has no parameter %q", s.Model.Name, param)
	}
	t := s.types[param]
	if len(dst) != t.Bytes() {
		return fmt.Errorf("weights: parameter %q has %d bytes, expected %d", param, len(dst), t.Bytes())
	}
	row := t.Bytes() / t.Shape[0]
	for _, w := range parts {
		if err := s.Tensor(w.Name, dst[w.From*row:w.To*row]); err != nil {
			return err
		}
	}
	return nil
}

// Inference returns the form that runtimes run, batch norm folded.
func (s *Source) Inference() (*Inference, error) { return Fold(withoutFakes(Forward(s.Model, s))) }

// Metadata is what a file should say of where it comes from and how its inputs are made, as text by key.
func (s *Source) Metadata() map[string]string {
	m := map[string]string{"ringo.model": s.Model.Name, "ringo.step": strconv.Itoa(s.Step), "ringo.parameters": strconv.Itoa(s.Parameters())}
	if s.SHA256 != "" {
		m["ringo.model_sha256"] = s.SHA256
	}
	put := func(key string, v any) {
		if raw, err := json.Marshal(v); err == nil { // plain structs always marshal
			m[key] = string(raw)
		}
	}
	put("ringo.config", s.Model.Config)
	if s.Tokenizer != nil {
		put("ringo.tokenizer", s.Tokenizer.Spec())
	}
	if len(s.Labels) > 0 {
		put("ringo.labels", s.Labels)
	}
	if s.Image != nil {
		put("ringo.image", s.Image)
	}
	if s.Table != nil {
		put("ringo.table", s.Table)
	}
	return m
}

// Items returns weights as items of a safetensors file; they are written one after the other through one buffer.
// change, where it is not nil, may alter the elements of a weight before they are written.
func (s *Source) Items(change func(w models.Weight, raw []byte) error) []safetensors.Item {
	var buf []byte
	var out []safetensors.Item
	for _, w := range s.list {
		shape := s.Shape(w)
		out = append(out, safetensors.Item{Name: w.Name, DType: tensor.F32, Shape: shape, Fill: func(dst io.Writer) error {
			n := 4 * shape.Size()
			if cap(buf) < n {
				buf = tensor.AlignedBytes(n)
			}
			if err := s.Tensor(w.Name, buf[:n]); err != nil {
				return err
			}
			if change != nil {
				if err := change(w, buf[:n]); err != nil {
					return err
				}
			}
			_, err := dst.Write(buf[:n])
			return err
		}})
	}
	return out
}
