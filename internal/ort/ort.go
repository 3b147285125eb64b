//go:build cgo

package ort

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"

	onnx "github.com/yalue/onnxruntime_go"

	"ringo/runtime/tensor"
)

// start loads the library once per process.
var start = sync.OnceValue(func() error {
	path, err := Library()
	if err != nil {
		return err
	}
	onnx.SetSharedLibraryPath(path)
	return onnx.InitializeEnvironment(onnx.WithLogLevelError())
})

// Need skips the test where ONNX Runtime is not installed, and fails it where Require is set.
func Need(t testing.TB) {
	t.Helper()
	need(t, start())
}

// Session is a model loaded into ONNX Runtime. Run is safe for concurrent use.
type Session struct {
	Inputs, Outputs []string
	scalars         []*row // by output: its type where it has no dimensions, which must be allocated beforehand
	s               *onnx.DynamicAdvancedSession
}

// Open loads a model file, calling Need first. A model that ONNX Runtime refuses fails the test.
func Open(t testing.TB, path string, o Options) *Session {
	t.Helper()
	Need(t)
	s, err := open(path, o)
	if err != nil {
		t.Fatalf("ONNX Runtime refuses %s: %v", filepath.Base(path), err)
	}
	t.Cleanup(func() { _ = s.s.Destroy() })
	return s
}

func open(path string, o Options) (*Session, error) {
	so, err := onnx.NewSessionOptions()
	if err != nil {
		return nil, err
	}
	defer func() { _ = so.Destroy() }()
	level := onnx.GraphOptimizationLevel(onnx.GraphOptimizationLevelEnableAll)
	if o.Plain {
		level = onnx.GraphOptimizationLevelDisableAll
	}
	err = errors.Join(so.SetIntraOpNumThreads(max(o.Threads, 1)), so.SetInterOpNumThreads(1), so.SetGraphOptimizationLevel(level))
	if o.Optimized != "" {
		err = errors.Join(err, so.SetOptimizedModelFilePath(o.Optimized))
	}
	if err != nil {
		return nil, err
	}
	in, out, err := onnx.GetInputOutputInfoWithOptions(path, so)
	if err != nil {
		return nil, err
	}
	s := &Session{Inputs: names(in), Outputs: names(out)}
	for _, x := range out {
		var r *row
		if len(x.Dimensions) == 0 {
			r = elementType(x.DataType)
		}
		s.scalars = append(s.scalars, r)
	}
	s.s, err = onnx.NewDynamicAdvancedSession(path, s.Inputs, s.Outputs, so)
	return s, err
}

func names(list []onnx.InputOutputInfo) []string {
	var out []string
	for _, x := range list {
		out = append(out, x.Name)
	}
	return out
}

// Metadata returns the value of a metadata property of the model, "" where it has none of that name.
func (s *Session) Metadata(key string) (string, error) {
	m, err := s.s.GetModelMetadata()
	if err != nil {
		return "", err
	}
	defer func() { _ = m.Destroy() }()
	v, _, err := m.LookupCustomMetadataMap(key)
	return v, err
}

// Run computes the outputs for inputs, both by name. Tensors in 16-bit floating point have no form here.
func (s *Session) Run(inputs map[string]*tensor.Tensor) (map[string]*tensor.Tensor, error) {
	in, out := make([]onnx.Value, len(s.Inputs)), make([]onnx.Value, len(s.Outputs))
	failed := true
	defer func() {
		for _, v := range in {
			if v != nil {
				_ = v.Destroy()
			}
		}
		for i, v := range out {
			if v != nil && (!failed || s.scalars[i] != nil) { // a failed run leaves nil pointers in what it was to allocate
				_ = v.Destroy()
			}
		}
	}()
	for i, r := range s.scalars {
		if r == nil {
			continue
		}
		v, err := r.scalar()
		if err != nil {
			return nil, err
		}
		out[i] = v
	}
	for i, name := range s.Inputs {
		t := inputs[name]
		if t == nil {
			return nil, fmt.Errorf("no value for input %q", name)
		}
		row := typeOf(t.DType)
		if row == nil {
			return nil, fmt.Errorf("input %q is %v: no such type here", name, t)
		}
		v, err := row.wrap(t)
		if err != nil {
			return nil, fmt.Errorf("input %q: %w", name, err)
		}
		in[i] = v
	}
	if err := s.s.Run(in, out); err != nil {
		return nil, err
	}
	failed = false
	result := map[string]*tensor.Tensor{}
	for i, name := range s.Outputs {
		t, err := unwrap(out[i])
		if err != nil {
			return nil, fmt.Errorf("output %q: %w", name, err)
		}
		result[name] = t
	}
	return result, nil
}
