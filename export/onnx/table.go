package onnx

import (
	"slices"

	"ringo/runtime/graph"
)

// mapper adds the ONNX nodes that compute a node and returns the tensors of its outputs, in order; outputs that
// inference does not read (statistics, indices) may be left out at the end.
type mapper func(n *node) []string

// table maps the ops of the graph. A new op needs one row here.
var table map[string]mapper

// The mappers reach the table through node.run, so Go wants the table filled at start.
func init() {
	table = map[string]mapper{
		// elementwise.go
		"neg": unary("Neg"), "abs": unary("Abs"), "sqrt": unary("Sqrt"), "exp": unary("Exp"), "log": unary("Log"),
		"relu": unary("Relu"), "tanh": unary("Tanh"), "sigmoid": unary("Sigmoid"), "erf": unary("Erf"), "softplus": unary("Softplus"),
		"reciprocal": unary("Reciprocal"), "copy": unary("Identity"), "floor": unary("Floor"), "ceil": unary("Ceil"), "round": unary("Round"),
		"sign": unary("Sign"), "not": unary("Not"), "isnan": unary("IsNaN"), "isinf": unary("IsInf"),
		"rsqrt": rsqrt, "silu": silu, "square": square, "gelu": gelu, "swiglu": swiglu, "clip": clip, "cast": cast,
		"add": pairwise("Add"), "sub": pairwise("Sub"), "mul": pairwise("Mul"), "div": pairwise("Div"), "pow": pairwise("Pow"),
		"maximum": pairwise("Max"), "minimum": pairwise("Min"), "eq": pairwise("Equal"), "ne": notEqual,
		"lt": pairwise("Less"), "le": pairwise("LessOrEqual"), "gt": pairwise("Greater"), "ge": pairwise("GreaterOrEqual"),
		"and": pairwise("And"), "or": pairwise("Or"), "xor": pairwise("Xor"), "where": where,
		// shape.go
		"fill": fill, "reshape": reshape, "broadcast": expand, "transpose": permute, "slice": slice, "concat": concat, "pad": pad,
		// index.go
		"gather": gather("Gather"), "gather_elements": gather("GatherElements"), "embedding": embedding, "scatter_add": scatter,
		// reduce.go
		"sum": reduce("ReduceSum"), "mean": reduce("ReduceMean"), "max": reduce("ReduceMax"), "min": reduce("ReduceMin"), "prod": reduce("ReduceProd"),
		"argmax": argmax, "topk": topk, "softmax": softmax("Softmax"), "log_softmax": softmax("LogSoftmax"),
		// matmul.go, conv.go
		"matmul": matmul, "conv2d": conv2d, "maxpool2d": maxPool, "avgpool2d": averagePool,
		// norm.go
		"layernorm": layerNorm, "add_layernorm": addLayerNorm, "rmsnorm": rmsNorm, "add_rmsnorm": addRMSNorm,
		"batchnorm_infer": batchNorm, "groupnorm": groupNorm,
		// attention.go
		"rope": rope, "attention": attention,
		// quant.go
		"quantize_linear": quantize("QuantizeLinear"), "dequantize_linear": quantize("DequantizeLinear"), "dynamic_quantize": dynamicQuantize,
	}
}

// Ops lists the ops that have an ONNX form, sorted.
func Ops() []string {
	var out []string
	for name := range table {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

// attributes returns a node's attribute struct, the zero one where it has none.
func attributes[T any](n *graph.Node) T {
	a, _ := n.Attrs.(T)
	return a
}

func one(name string) []string { return []string{name} }
