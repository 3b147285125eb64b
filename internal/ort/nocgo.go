//go:build !cgo

package ort

import (
	"errors"
	"testing"

	"ringo/runtime/tensor"
)

var errNoCgo = errors.New("ONNX Runtime needs a build with cgo")

// Need skips the test: the binding to ONNX Runtime is C.
func Need(t testing.TB) {
	t.Helper()
	need(t, errNoCgo)
}

// Session is a model loaded into ONNX Runtime.
type Session struct{ Inputs, Outputs []string }

// Open skips the test.
func Open(t testing.TB, path string, o Options) *Session {
	t.Helper()
	Need(t)
	return nil
}

// Metadata is never reached.
func (s *Session) Metadata(key string) (string, error) { return "", errNoCgo }

// Run is never reached.
func (s *Session) Run(inputs map[string]*tensor.Tensor) (map[string]*tensor.Tensor, error) {
	return nil, errNoCgo
}
