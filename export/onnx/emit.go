package onnx

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"

	"google.golang.org/protobuf/proto"

	"ringo/export"
	"ringo/export/onnxpb"
	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// emitter collects the nodes and initializers of a file.
type emitter struct {
	builds  []*graph.Graph
	at      []sizes
	maxSeq  int
	nodes   []*onnxpb.NodeProto
	inits   []*initializer
	names   map[*graph.Value]string // values of builds[0] that have a tensor
	taken   map[string]bool
	outputs map[string]bool
	consts  map[string]string       // content to name of small constants
	sizes   map[Dim]string          // computed sizes
	shared  map[string]string       // tensors that many nodes use, such as the causal mask
	flipped map[*graph.Value]string // transposed views of weights
	readers map[*graph.Value][]*graph.Node
}

// initializer is a tensor of the file: contents that are known, or a parameter that is read while writing.
type initializer struct {
	name  string
	dtype onnxpb.TensorProto_DataType
	shape tensor.Shape // as in the file
	size  int          // bytes of one element
	data  []byte       // nil: of the parameter
	param string
	flip  bool // a matrix that the file has transposed
}

func (x *initializer) bytes() int64 { return int64(x.shape.Size()) * int64(x.size) }

func newEmitter(m *export.Inference) (*emitter, error) {
	graphs, at, err := build(m)
	if err != nil {
		return nil, err
	}
	e := &emitter{builds: graphs, at: at, maxSeq: m.MaxSeq,
		names: map[*graph.Value]string{}, taken: map[string]bool{}, outputs: map[string]bool{}, consts: map[string]string{},
		sizes: map[Dim]string{}, shared: map[string]string{}, flipped: map[*graph.Value]string{}, readers: map[*graph.Value][]*graph.Node{}}
	for _, n := range graphs[0].Nodes {
		for _, v := range n.In {
			e.readers[v] = append(e.readers[v], n)
		}
	}
	return e, nil
}

// node is a graph node on its way into the file.
type node struct {
	*emitter
	*graph.Node               // in the first build
	twins       []*graph.Node // the same node in every build
}

// run maps the node and notes the names of its outputs.
func (n *node) run() {
	row := table[n.Op.Name]
	if row == nil {
		n.fail("the op has no ONNX form: expected one of %s", strings.Join(Ops(), ", "))
	}
	for i, name := range row(n) {
		n.names[n.Out[i]] = name
	}
}

// in returns the tensor of input i.
func (n *node) in(i int) string { return n.name(n.In[i]) }

// op adds an ONNX node with one output and returns that.
func (n *node) op(kind string, in []string, attrs ...*onnxpb.AttributeProto) string {
	return n.emit(n.Name, kind, in, attrs...)[0]
}

// emit adds an ONNX node below scope; its outputs, one unless more is given, are named after it.
func (e *emitter) emit(scope, kind string, in []string, attrs ...*onnxpb.AttributeProto) []string {
	return e.emitN(scope, kind, 1, in, attrs...)
}

func (e *emitter) emitN(scope, kind string, outputs int, in []string, attrs ...*onnxpb.AttributeProto) []string {
	name := e.fresh(scope + "/" + kind)
	out := []string{name + ":0"}
	for i := 1; i < outputs; i++ {
		out = append(out, fmt.Sprintf("%s:%d", name, i))
	}
	e.nodes = append(e.nodes, &onnxpb.NodeProto{Name: proto.String(name), OpType: proto.String(kind), Input: in, Output: out, Attribute: attrs})
	return append([]string(nil), out...) // the node's own list changes when an output is renamed
}

// fresh returns a name that nothing has.
func (e *emitter) fresh(name string) string {
	name = strings.TrimPrefix(name, "/")
	for i, try := 1, name; ; i++ {
		if !e.taken[try] {
			e.taken[try] = true
			return try
		}
		try = fmt.Sprintf("%s_%d", name, i)
	}
}

// name returns the tensor of a value; that of a parameter or constant is made when it is first asked for.
func (e *emitter) name(v *graph.Value) string {
	if name, ok := e.names[v]; ok {
		return name
	}
	if !v.Node.Op.Leaf {
		panic(&graph.Error{Op: v.Node.Op.Name, Name: v.Node.Name, Err: fmt.Errorf("output %d has no ONNX form, but node %s reads it", v.Index, e.readers[v][0].Name)})
	}
	e.names[v] = e.leaf(v, false)
	return e.names[v]
}

// leaf adds the initializer of a parameter, state or constant, transposed where flip is set.
func (e *emitter) leaf(v *graph.Value, flip bool) string {
	name := v.Node.Name
	if name == "" || v.Node.Op.Name == "const" {
		name += "/const"
	}
	if flip {
		name += ".T"
	}
	x := &initializer{name: e.fresh(name), dtype: e.dtype(v.DType, name), shape: v.Shape, size: v.DType.Size(), flip: flip}
	if flip {
		x.shape = tensor.Shape{v.Shape[1], v.Shape[0]}
	}
	if c, ok := v.Node.Attrs.(graph.Const); ok {
		x.data = c.Value.Bytes()
		if flip {
			x.data = transpose(nil, x.data, v.Shape[0], v.Shape[1], x.size)
		}
	} else {
		x.param = v.Node.Name
	}
	e.inits = append(e.inits, x)
	return x.name
}

// transposed returns the transpose of a matrix. A weight that is read in this way only lies transposed in the
// file, as runtimes keep no second copy then; any other goes through a node.
func (n *node) transposed(i int) string {
	v := n.In[i]
	if name := n.flipped[v]; name != "" {
		return name
	}
	name := ""
	if op := v.Node.Op.Name; (op == "param" || op == "const") && n.onlyTransposed(v) {
		name = n.leaf(v, true)
	} else {
		name = n.op("Transpose", []string{n.in(i)}, attrInts("perm", swapLast(len(v.Shape))))
	}
	n.flipped[v] = name
	return name
}

// onlyTransposed reports whether every reader of v is a product that takes it transposed, and not as Gemm.
func (e *emitter) onlyTransposed(v *graph.Value) bool {
	if len(v.Shape) != 2 {
		return false
	}
	for _, r := range e.readers[v] {
		a, ok := r.Attrs.(graph.MatMul)
		if !ok || r.In[1] != v || r.In[0] == v || !a.TransB || isGemm(r) {
			return false
		}
	}
	return true
}

// The small constants: equal contents share an initializer.

func (e *emitter) constant(dt tensor.DType, shape tensor.Shape, data []byte) string {
	key := fmt.Sprint(dt, shape, ":") + string(data)
	if name := e.consts[key]; name != "" {
		return name
	}
	x := &initializer{name: e.fresh("const/" + dt.String()), dtype: e.dtype(dt, "const"), shape: shape, size: dt.Size(), data: data}
	e.inits = append(e.inits, x)
	e.consts[key] = x.name
	return x.name
}

func (e *emitter) constInts(list []int) string {
	raw := []byte{}
	for _, v := range list {
		raw = binary.LittleEndian.AppendUint64(raw, uint64(v))
	}
	return e.constant(tensor.I64, tensor.Shape{len(list)}, raw)
}

// scalar is a 0-dimensional constant of any type.
func (e *emitter) scalar(v float64, dt tensor.DType) string {
	raw := make([]byte, dt.Size())
	tensor.StoreFloat64(raw, dt, []float64{v})
	return e.constant(dt, nil, raw)
}

// floats is a constant in f32.
func (e *emitter) floats(shape tensor.Shape, v []float64) string {
	raw := make([]byte, 0, 4*len(v))
	for _, x := range v {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(float32(x)))
	}
	return e.constant(tensor.F32, shape, raw)
}

var dtypes = map[tensor.DType]onnxpb.TensorProto_DataType{
	tensor.F32:  onnxpb.TensorProto_FLOAT,
	tensor.F64:  onnxpb.TensorProto_DOUBLE,
	tensor.F16:  onnxpb.TensorProto_FLOAT16,
	tensor.BF16: onnxpb.TensorProto_BFLOAT16,
	tensor.I8:   onnxpb.TensorProto_INT8,
	tensor.U8:   onnxpb.TensorProto_UINT8,
	tensor.I32:  onnxpb.TensorProto_INT32,
	tensor.I64:  onnxpb.TensorProto_INT64,
	tensor.Bool: onnxpb.TensorProto_BOOL,
}

func (e *emitter) dtype(d tensor.DType, name string) onnxpb.TensorProto_DataType {
	t, ok := dtypes[d]
	if !ok {
		panic(&graph.Error{Op: "tensor", Name: name, Err: fmt.Errorf("element type %v has no ONNX form", d)})
	}
	return t
}

func attrInt(name string, v int) *onnxpb.AttributeProto {
	return &onnxpb.AttributeProto{Name: proto.String(name), Type: onnxpb.AttributeProto_INT.Enum(), I: proto.Int64(int64(v))}
}

func attrFloat(name string, v float64) *onnxpb.AttributeProto {
	return &onnxpb.AttributeProto{Name: proto.String(name), Type: onnxpb.AttributeProto_FLOAT.Enum(), F: proto.Float32(float32(v))}
}

func attrString(name, v string) *onnxpb.AttributeProto {
	return &onnxpb.AttributeProto{Name: proto.String(name), Type: onnxpb.AttributeProto_STRING.Enum(), S: []byte(v)}
}

func attrInts(name string, v []int) *onnxpb.AttributeProto {
	a := &onnxpb.AttributeProto{Name: proto.String(name), Type: onnxpb.AttributeProto_INTS.Enum()}
	for _, x := range v {
		a.Ints = append(a.Ints, int64(x))
	}
	return a
}
