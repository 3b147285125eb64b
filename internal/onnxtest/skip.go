package onnxtest

import "path"

// Kind says why a node test is not run; the tests check that it is true.
type Kind int

// The kinds of reasons.
const (
	OtherOp    Kind = iota // the operator is none of ringo's ops and has no mapping
	OtherType              // an input or output has an element type that ringo does not have
	OtherCase              // the operator has a mapping that does not cover this case, which is none of ringo's ops
	RandomMask             // the expected output depends on NumPy's random numbers
)

// Skip is a group of tests that are not run: a pattern as of path.Match, and the reason.
type Skip struct {
	Pattern string
	Kind    Kind
	Reason  string
}

// Skips lists every node test that is not run.
var Skips = []Skip{
	{"test_*FLOAT8*", OtherType, "8-bit floating point is no element type of ringo"},
	{"test_*_e4m3fn*", OtherType, "8-bit floating point is no element type of ringo"},
	{"test_*_e5m2", OtherType, "8-bit floating point is no element type of ringo"},
	{"test_*_float4e2m1", OtherType, "4-bit floating point is no element type of ringo"},
	{"test_*linear_*int4", OtherType, "4-bit integers are no element type of ringo"},
	{"test_quantizelinear_blocked_symmetric", OtherType, "16-bit integers are no element type of ringo"},
	{"test_*FLOAT4E2M1*", OtherType, "4-bit floating point is no element type of ringo"},
	{"test_*INT4_to_*", OtherType, "4-bit integers are no element type of ringo"},
	{"test_cast_*_to_*INT4", OtherType, "4-bit integers are no element type of ringo"},
	{"test_*_int16", OtherType, "16-bit integers are no element type of ringo"},
	{"test_*_uint16", OtherType, "unsigned integers beyond 8 bits are no element type of ringo"},
	{"test_*_uint32", OtherType, "unsigned integers beyond 8 bits are no element type of ringo"},
	{"test_*_uint64", OtherType, "unsigned integers beyond 8 bits are no element type of ringo"},

	{"test_training_dropout", RandomMask, "the expected mask is drawn by NumPy's generator; ringo's is Philox, tested in kernels/dropout_test.go"},
	{"test_training_dropout_mask", RandomMask, "the expected mask is drawn by NumPy's generator; ringo's is Philox, tested in kernels/dropout_test.go"},
	{"test_training_dropout_default*", RandomMask, "the expected mask is drawn by NumPy's generator; ringo's is Philox, tested in kernels/dropout_test.go"},

	{"test_convtranspose_3d", OtherCase, "three spatial axes: ringo's convolution has two"},

	{"test_adagrad*", OtherOp, "Adagrad is no optimizer of ringo"},
	{"test_adam*", OtherOp, "ONNX's Adam is not AdamW (it adds its decay to the gradient); ringo's optimizers are tested against their papers"},
	{"test_*momentum*", OtherOp, "ONNX's Momentum takes the count of updates as a tensor; ringo's optimizers are tested against their papers"},
	{"test_cumsum*", OtherOp, "running sums are no op of ringo"},
	{"test_einsum*", OtherOp, "Einstein summation is no op of ringo"},
	{"test_gru*", OtherOp, "recurrent layers are no op of ringo"},
	{"test_lstm*", OtherOp, "recurrent layers are no op of ringo"},
	{"test_*rnn*", OtherOp, "recurrent layers are no op of ringo"},
}

// Skipped returns the entry that covers a test, nil where it is to be run.
func Skipped(test string) *Skip {
	for i := range Skips {
		if ok, _ := path.Match(Skips[i].Pattern, test); ok {
			return &Skips[i]
		}
	}
	return nil
}

// Listed are the ONNX operators that ringo's op table answers, by an op of its own or by a few. None of their
// tests may be skipped as OtherOp.
var Listed = []string{
	"Add", "Sub", "Mul", "Div", "Pow", "Exp", "Log", "Sqrt", "Erf", "Relu", "Sigmoid", "Tanh", "Gelu", "Swish", "Softplus",
	"Clip", "Cast", "Where", "Dropout", "Reshape", "Flatten", "Transpose", "Slice", "Concat", "Expand",
	"Gather", "GatherElements", "Scatter", "ScatterElements", "ReduceSum", "ReduceMean", "ReduceMax", "ReduceSumSquare",
	"ArgMax", "TopK", "MatMul", "Gemm", "Conv", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool",
	"BatchNormalization", "LayerNormalization", "RMSNormalization", "GroupNormalization", "Softmax", "LogSoftmax",
	"SoftmaxCrossEntropyLoss", "NegativeLogLikelihoodLoss", "Attention", "RotaryEmbedding",
	"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "QLinearMatMul", "MatMulInteger", "QLinearConv", "ConvInteger",
}

// Wraps names a pattern of tests whose expected values wrapped around where the specification says "saturate", as ONNX
// Runtime does: real results of −139 and −236 are expected as 117 and 20. Where ringo saturates, these say nothing.
const Wraps = "test_qlinearmatmul_*_int8_*"

// Loose gives tests whose expected values are coarser than their element type a relative tolerance of their own.
var Loose = map[string]float64{
	// Its expected values are written with four digits.
	"test_averagepool_2d_ceil_last_window_starts_on_pad": 1e-3,
}
