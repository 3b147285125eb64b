package checkpoint

import (
	"fmt"

	"ringo/export/safetensors"
	"ringo/runtime/tensor"
)

// Spec is a tensor that a model needs.
type Spec struct {
	Name  string
	DType tensor.DType
	Shape tensor.Shape
}

// Match checks that a file holds exactly the tensors that a model needs. Its error names the first that
// differs, in the model's order, with what both sides say of it.
func Match(want []Spec, f *safetensors.File) error {
	known := map[string]bool{}
	for _, w := range want {
		known[w.Name] = true
		e, ok := f.Lookup(w.Name)
		switch {
		case !ok:
			return fmt.Errorf("checkpoint of another model: it has no tensor %q, the model needs %v%v", w.Name, w.DType, w.Shape)
		case e.DType != w.DType || !e.Shape.Equal(w.Shape):
			return fmt.Errorf("checkpoint of another model: tensor %q is %v%v, the model needs %v%v", w.Name, e.DType, e.Shape, w.DType, w.Shape)
		}
	}
	for _, e := range f.Entries() {
		if !known[e.Name] {
			return fmt.Errorf("checkpoint of another model: it has a tensor %q %v%v that the model lacks", e.Name, e.DType, e.Shape)
		}
	}
	return nil
}
