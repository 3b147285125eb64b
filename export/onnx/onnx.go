// Package onnx owns the way from an inference graph to a file of the Open Neural Network Exchange format: one
// mapping per op in a table, the batch and time axes left open, weights streamed. It must not know of models,
// checkpoints or how a graph is run.
package onnx

import (
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	"ringo/export"
	"ringo/export/onnxpb"
	"ringo/runtime/graph"
)

// What files declare: opset 20 is the first with Gelu and has everything else that is needed; ONNX Runtime reads
// it since release 1.17. IR version 9 came out with it.
const (
	Opset     = 20
	IRVersion = 9
)

// Names of the open dimensions in a file.
const (
	BatchAxis = "batch"
	TimeAxis  = "time"
)

// Model is what is written.
type Model struct {
	Name string
	*export.Inference
	Metadata map[string]string // metadata_props: for programs and people that use the file
}

// File is a model mapped to ONNX, its weights not yet read.
type File struct {
	model   *onnxpb.ModelProto // without the initializers
	inits   []*initializer
	weights export.Weights
}

// Encode maps the graph of m. An op without an ONNX form is a *graph.Error that names the node and the op.
func Encode(m Model) (f *File, err error) {
	e, err := newEmitter(m.Inference)
	if err != nil {
		return nil, err
	}
	defer func() {
		if x, ok := recover().(*graph.Error); ok {
			f, err = nil, x
		} else if x != nil {
			panic(x)
		}
	}()
	g := e.graph(m.Name)
	return &File{weights: m.Weights, inits: e.inits, model: &onnxpb.ModelProto{
		IrVersion:     proto.Int64(IRVersion),
		OpsetImport:   []*onnxpb.OperatorSetIdProto{{Domain: proto.String(""), Version: proto.Int64(Opset)}},
		ProducerName:  proto.String("ringo"),
		MetadataProps: properties(m.Metadata),
		Graph:         g,
	}}, nil
}

func properties(m map[string]string) []*onnxpb.StringStringEntryProto {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	var out []*onnxpb.StringStringEntryProto
	for _, k := range keys {
		out = append(out, &onnxpb.StringStringEntryProto{Key: proto.String(k), Value: proto.String(m[k])})
	}
	return out
}

// graph maps every node that the outputs need, in order.
func (e *emitter) graph(name string) *onnxpb.GraphProto {
	g := &onnxpb.GraphProto{Name: proto.String(name)}
	base := e.builds[0]
	for _, in := range base.Inputs {
		e.names[in] = in.Node.Name
		e.taken[in.Node.Name] = true
		g.Input = append(g.Input, e.info(in, in.Node.Name))
	}
	for _, o := range base.Outputs {
		e.taken[o.Name] = true
	}
	needed := export.Reachable(base)
	for i, n := range base.Nodes {
		if !needed[n] || n.Op.Leaf {
			continue
		}
		x := &node{emitter: e, Node: n}
		for _, b := range e.builds {
			x.twins = append(x.twins, b.Nodes[i])
		}
		x.run()
	}
	for _, o := range base.Outputs {
		e.rename(e.name(o.Value), o.Name)
		g.Output = append(g.Output, e.info(o.Value, o.Name))
	}
	g.Node = e.nodes
	return g
}

// rename gives the tensor that a node makes the name of an output. A value that no node makes (an input, a
// weight), or that is an output already, goes through Identity.
func (e *emitter) rename(from, to string) {
	for _, n := range e.nodes {
		for i, out := range n.Output {
			if out != from || e.outputs[from] {
				continue
			}
			n.Output[i] = to
			for _, m := range e.nodes {
				for j, in := range m.Input {
					if in == from {
						m.Input[j] = to
					}
				}
			}
			for v, name := range e.names {
				if name == from {
					e.names[v] = to
				}
			}
			e.outputs[to] = true
			return
		}
	}
	e.nodes = append(e.nodes, &onnxpb.NodeProto{Name: proto.String(to + "/Identity"), OpType: proto.String("Identity"), Input: []string{from}, Output: []string{to}})
}

// info describes an input or output.
func (e *emitter) info(v *graph.Value, name string) *onnxpb.ValueInfoProto {
	shape := &onnxpb.TensorShapeProto{}
	for _, d := range e.dims(v) {
		p := &onnxpb.TensorShapeProto_Dimension{}
		if d.constant() {
			p.Value = &onnxpb.TensorShapeProto_Dimension_DimValue{DimValue: int64(d.N)}
		} else {
			p.Value = &onnxpb.TensorShapeProto_Dimension_DimParam{DimParam: d.String()}
		}
		shape.Dim = append(shape.Dim, p)
	}
	t := &onnxpb.TypeProto_Tensor{ElemType: proto.Int32(int32(e.dtype(v.DType, name))), Shape: shape}
	return &onnxpb.ValueInfoProto{Name: proto.String(name), Type: &onnxpb.TypeProto{Value: &onnxpb.TypeProto_TensorType{TensorType: t}}}
}

// fail ends the export of a node with a sentence.
func (n *node) fail(format string, args ...any) {
	panic(&graph.Error{Op: n.Op.Name, Name: n.Name, Err: fmt.Errorf(format, args...)})
}
