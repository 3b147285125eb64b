package quant

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"ringo/data"
	"ringo/export"
	"ringo/export/safetensors"
	"ringo/internal/files"
	"ringo/models"
	"ringo/runtime/backend"
	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// Keys of the metadata of an int8 model's file, beside those of export.Source.
const (
	formatKey = "ringo.format"
	recipeKey = "ringo.recipe"
	formatTag = "int8"
)

// File is ringo's own int8 model: a safetensors file whose tensors are the int8 weights with their scales, the int32
// biases and what stays float; its metadata hold the model's configuration, the tokenizer and the recipe.
type File struct {
	Model     *models.Model
	Quantized *Model
	Tokenizer data.Tokenizer // nil where the model reads no text
	Metadata  map[string]string
	file      *safetensors.File
}

// Part writes the model as one file; meta is what export.Source says of it.
func (m *Model) Part(name string, meta map[string]string) (files.Part, error) {
	recipe, err := json.Marshal(m.Recipe)
	if err != nil {
		return files.Part{}, fmt.Errorf("int8: %w", err)
	}
	meta = maps.Clone(meta)
	meta[formatKey], meta[recipeKey] = formatTag, string(recipe)
	inf := m.Inference()
	g, err := inf.Build(1, inf.MaxSeq)
	if err != nil {
		return files.Part{}, err
	}
	var items []safetensors.Item
	for _, v := range slices.Concat(g.Params, g.States) {
		items = append(items, safetensors.Item{Name: v.Node.Name, DType: v.DType, Shape: v.Shape, Fill: func(w io.Writer) error {
			raw := tensor.AlignedBytes(v.Type.Bytes())
			err := inf.Weights.Read(v.Node.Name, raw)
			if err == nil {
				_, err = w.Write(raw)
			}
			return err
		}})
	}
	for _, l := range m.Recipe.Layers {
		if !l.Float {
			items = append(items, safetensors.FromTensor(scaleName(l.Weight), m.Tensors[scaleName(l.Weight)]))
		}
	}
	return files.Part{Name: name, Write: func(w io.Writer) error { return safetensors.Write(w, meta, items) }}, nil
}

// Is reports whether a path is an int8 model's file.
func Is(path string) bool {
	f, err := safetensors.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	return f.Metadata[formatKey] == formatTag
}

// Open opens an int8 model. Errors name what does not fit.
func Open(path string) (_ *File, err error) {
	f, err := safetensors.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
		}
	}()
	if f.Metadata[formatKey] != formatTag {
		return nil, fmt.Errorf("not an int8 model of ringo: metadata %q is %q, expected %q", formatKey, f.Metadata[formatKey], formatTag)
	}
	var cfg models.Config
	recipe := &Recipe{}
	if err := json.Unmarshal([]byte(f.Metadata["ringo.config"]), &cfg); err != nil {
		return nil, fmt.Errorf("metadata ringo.config: %w", err)
	}
	if err := json.Unmarshal([]byte(f.Metadata[recipeKey]), recipe); err != nil {
		return nil, fmt.Errorf("metadata %s: %w", recipeKey, err)
	}
	if err := recipe.Validate(); err != nil {
		return nil, err
	}
	out := &File{Metadata: f.Metadata, file: f}
	if out.Model, err = models.New(cfg); err != nil {
		return nil, err
	}
	if spec := f.Metadata["ringo.tokenizer"]; spec != "" {
		var s data.TokenizerSpec
		if err := json.Unmarshal([]byte(spec), &s); err != nil {
			return nil, fmt.Errorf("metadata ringo.tokenizer: %w", err)
		}
		if out.Tokenizer, err = data.OpenTokenizer(s); err != nil {
			return nil, err
		}
	}
	return out, out.load(recipe)
}

// load reads the scales and checks that every tensor the graph needs is there, of the right type.
func (f *File) load(recipe *Recipe) error {
	inf, err := export.Fold(export.Forward(f.Model, nil))
	if err != nil {
		return err
	}
	inf.Weights = fileWeights{f.file}
	f.Quantized = &Model{Float: inf, Recipe: recipe, Tensors: export.Tensors{}}
	for _, l := range recipe.Layers {
		if l.Float {
			continue
		}
		t, err := f.file.Tensor(scaleName(l.Weight))
		if err != nil {
			return err
		}
		if t.DType != tensor.F32 || len(t.Shape) != 1 {
			return fmt.Errorf("tensor %q is %v, expected f32 of rank 1", scaleName(l.Weight), t)
		}
		f.Quantized.Tensors[scaleName(l.Weight)] = t
	}
	g, err := f.Quantized.Inference().Build(1, inf.MaxSeq)
	if err != nil {
		return err
	}
	for _, v := range slices.Concat(g.Params, g.States) {
		e, ok := f.file.Lookup(v.Node.Name)
		if !ok || e.DType != v.DType || !e.Shape.Equal(v.Shape) {
			return fmt.Errorf("weights of another model: no tensor %q %v%v", v.Node.Name, v.DType, v.Shape)
		}
	}
	return nil
}

type fileWeights struct{ f *safetensors.File }

func (w fileWeights) Read(name string, dst []byte) error { return w.f.ReadInto(name, dst) }

// Decode returns the graph of one step of generation over a key and value cache, as models.Model.Decode, in integers and
// with its weights in it.
func (f *File) Decode(batch, cache int) (*graph.Graph, error) {
	var bad error
	g, err := graph.Build(func(g *graph.Graph) { bad = f.Model.Decode(g, batch, cache) })
	if err = errors.Join(bad, err); err != nil {
		return nil, err
	}
	inf := f.Quantized.Inference()
	if g, err = Apply(g, f.Quantized.Recipe, f.Quantized.Tensors); err != nil {
		return nil, err
	}
	return g, Freeze(g, inf.Weights)
}

// Generator compiles Decode for one sequence and the model's whole context.
func (f *File) Generator(b backend.Backend) (backend.Executable, error) {
	g, err := f.Decode(1, f.Model.Context)
	if err != nil {
		return nil, err
	}
	return bind(b, g)
}

// Close closes the file.
func (f *File) Close() error { return f.file.Close() }
