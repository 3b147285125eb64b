// Package onnxpb owns the protobuf types of the Open Neural Network Exchange format. They are generated from
// onnx.proto, which is onnx-ml.proto of the ONNX project's release 1.23.2, unchanged (https://github.com/onnx/onnx,
// Copyright (c) ONNX Project Contributors, Apache-2.0). The package holds no code of ours.
package onnxpb

//go:generate go run -tags generate ringo/internal/onnxpbgen onnx.proto ringo/export/onnxpb
