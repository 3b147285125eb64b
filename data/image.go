package data

import "ringo/runtime/tensor"

// imageFields are the fields of an image sample.
func imageFields(channels, height, width int) []Field {
	return []Field{
		{"images", tensor.F32, tensor.Shape{channels, height, width}},
		{"labels", tensor.I32, tensor.Shape{}},
	}
}
