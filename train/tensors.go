package train

import (
	"errors"
	"fmt"
	"io"
	"unsafe"

	"ringo/export/safetensors"
	"ringo/models"
	"ringo/runtime/backend"
	"ringo/runtime/graph"
	"ringo/runtime/plan"
	"ringo/runtime/tensor"
	"ringo/train/checkpoint"
)

const gradRegion = plan.Grad

// The prefixes of tensors beside the parameters: the planner names averages so, and optimizer.safetensors
// keeps the weights themselves under raw where model.safetensors holds their averages.
const (
	emaPrefix = "ema:"
	rawPrefix = "raw:"
)

func bytesOf(x []float32) []byte {
	if len(x) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(x))), 4*len(x))
}

// hostStore is a store whose tensors lie in host memory.
type hostStore interface{ Bytes(name string) []byte }

// readTensor returns a tensor's elements: its own memory where the store is the host's, else a copy in
// scratch, which grows as needed.
func readTensor(s backend.Store, name string, size int, scratch []byte) ([]byte, error) {
	if h, ok := s.(hostStore); ok {
		if raw := h.Bytes(name); raw != nil {
			return raw, nil
		}
	}
	if cap(scratch) < size {
		scratch = tensor.AlignedBytes(size)
	}
	return scratch[:size], s.Read(name, scratch[:size])
}

// weights is the map between a model's file and a store: every tensor under the name that Hugging Face and
// torchvision use, some of them rows of a packed parameter.
type weights struct {
	store backend.Store
	list  []models.Weight
	types map[string]graph.Type // by parameter
	// averaged: the file holds the moving averages, which the store has under emaPrefix.
	averaged bool
}

func weightsOf(s backend.Store, m *models.Model, g *graph.Graph, averaged bool) *weights {
	w := &weights{store: s, list: m.Weights(g), types: map[string]graph.Type{}, averaged: averaged}
	for _, list := range [][]*graph.Value{g.Params, g.States} {
		for _, v := range list {
			w.types[v.Node.Name] = v.Type
		}
	}
	return w
}

// from returns the store's name for what the file holds of a parameter; states have no averages.
func (w *weights) from(param string) string {
	if w.averaged && w.store.Has(emaPrefix+param) {
		return emaPrefix + param
	}
	return param
}

// shape is the shape of a weight: its parameter's, with the rows it takes.
func (w *weights) shape(x models.Weight) tensor.Shape {
	s := w.types[x.Param].Shape.Clone()
	s[0] = x.To - x.From
	return s
}

// row is the bytes of one row of a parameter.
func (w *weights) row(param string) int { return w.types[param].Bytes() / w.types[param].Shape[0] }

// items lists what model.safetensors holds.
func (w *weights) items() []safetensors.Item {
	var out []safetensors.Item
	for _, x := range w.list {
		t := w.types[x.Param]
		out = append(out, safetensors.Item{Name: x.Name, DType: t.DType, Shape: w.shape(x), Fill: func(dst io.Writer) error {
			raw, err := readTensor(w.store, w.from(x.Param), t.Bytes(), nil)
			if err == nil {
				_, err = dst.Write(raw[x.From*w.row(x.Param) : x.To*w.row(x.Param)])
			}
			return err
		}})
	}
	return out
}

// specs lists what a model.safetensors must hold.
func (w *weights) specs() []checkpoint.Spec {
	var out []checkpoint.Spec
	for _, x := range w.list {
		out = append(out, checkpoint.Spec{Name: x.Name, DType: w.types[x.Param].DType, Shape: w.shape(x)})
	}
	return out
}

// load reads a model's file into the store; a file of another model is refused before anything changes.
func (w *weights) load(path string) (err error) {
	f, parts, err := w.open(path)
	if err != nil {
		return err
	}
	return errors.Join(parts.into(w.store), f.Close())
}

// parts says how each tensor of a store is read from a checkpoint's files: by its name in the store.
type parts map[string]part

// part reads the elements of a tensor, of so many bytes.
type part struct {
	bytes int
	read  func(raw []byte) error
}

// into reads all of them.
func (p parts) into(s backend.Store) error {
	for name, x := range p {
		raw := tensor.AlignedBytes(x.bytes)
		if err := x.read(raw); err != nil {
			return err
		}
		if err := s.Write(name, raw); err != nil {
			return err
		}
	}
	return nil
}

// open opens a model's file and checks that it is one of this model.
func (w *weights) open(path string) (*safetensors.File, parts, error) {
	f, err := safetensors.Open(path)
	if err != nil {
		return nil, nil, err
	}
	if err := checkpoint.Match(w.specs(), f); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
	}
	rows := map[string][]models.Weight{} // by parameter, of which a weight in the file may be some rows
	for _, x := range w.list {
		rows[x.Param] = append(rows[x.Param], x)
	}
	out := parts{}
	for param, list := range rows {
		out[w.from(param)] = part{w.types[param].Bytes(), func(raw []byte) error {
			for _, x := range list {
				if err := f.ReadInto(x.Name, raw[x.From*w.row(param):x.To*w.row(param)]); err != nil {
					return err
				}
			}
			return nil
		}}
	}
	return f, out, nil
}

// optimizerTensors lists what optimizer.safetensors holds of a program: name in the file to tensor.
func optimizerTensors(p *plan.Program, averaged bool) map[string]plan.Tensor {
	out := map[string]plan.Tensor{}
	for _, t := range p.Tensors {
		switch t.Kind {
		case "state", "ema": // in model.safetensors
		case "param":
			if averaged {
				out[rawPrefix+t.Name] = t
			}
		default:
			out[t.Name] = t
		}
	}
	return out
}

func optimizerItems(s backend.Store, list map[string]plan.Tensor) []safetensors.Item {
	var out []safetensors.Item
	for name, t := range list {
		out = append(out, safetensors.Item{Name: name, DType: t.Type.DType, Shape: t.Type.Shape, Fill: func(dst io.Writer) error {
			raw, err := readTensor(s, t.Name, t.Type.Bytes(), nil)
			if err == nil {
				_, err = dst.Write(raw)
			}
			return err
		}})
	}
	return out
}

// openOptimizer opens the optimizer's file and checks that it is one of this program.
func openOptimizer(path string, p *plan.Program, averaged bool) (*safetensors.File, parts, error) {
	f, err := safetensors.Open(path)
	if err != nil {
		return nil, nil, err
	}
	list := optimizerTensors(p, averaged)
	var specs []checkpoint.Spec
	for _, t := range p.Tensors { // the program's order, so that the first difference is the model's first
		for _, name := range []string{t.Name, rawPrefix + t.Name} {
			if _, ok := list[name]; ok {
				specs = append(specs, checkpoint.Spec{Name: name, DType: t.Type.DType, Shape: t.Type.Shape})
			}
		}
	}
	if err := checkpoint.Match(specs, f); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("%s: optimizer state: %w", path, err), f.Close())
	}
	out := parts{}
	for name, t := range list {
		out[t.Name] = part{t.Type.Bytes(), func(raw []byte) error { return f.ReadInto(name, raw) }}
	}
	return f, out, nil
}
