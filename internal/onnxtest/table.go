package onnxtest

// builders maps an ONNX operator of the default domain to what computes it.
var builders map[string]builder

// The builders reach the table through node.build, so Go wants the table filled at start.
func init() {
	builders = map[string]builder{
		// elementwise.go
		"Add": binaryOp("add"), "Sub": binaryOp("sub"), "Mul": binaryOp("mul"), "Div": binaryOp("div"), "Pow": binaryOp("pow"),
		"Exp": unaryOp("exp"), "Log": unaryOp("log"), "Sqrt": unaryOp("sqrt"), "Erf": unaryOp("erf"),
		"Relu": unaryOp("relu"), "Sigmoid": unaryOp("sigmoid"), "Tanh": unaryOp("tanh"), "Softplus": unaryOp("softplus"),
		"Gelu": gelu, "Swish": swish, "LeakyRelu": leakyRelu, "Elu": elu, "HardSwish": hardSwish,
		"Clip": clip, "Cast": cast, "Where": where, "Dropout": dropout,
		// shape.go
		"Reshape": reshape, "Flatten": flatten, "Transpose": transpose, "Slice": slice, "Concat": concat, "Expand": expand,
		"Trilu": trilu,
		// index.go
		"Gather": gather, "GatherElements": gatherElements, "GatherND": gatherND, "OneHot": oneHot,
		"Scatter": scatterElements, "ScatterElements": scatterElements, "ScatterND": scatterND,
		// reduce.go
		"ReduceSum": reduce("sum"), "ReduceMean": reduce("mean"), "ReduceMax": reduce("max"),
		"ReduceSumSquare": reduceSumSquare, "ArgMax": argMax, "TopK": topK,
		// matmul.go
		"MatMul": matMul, "Gemm": gemm,
		// conv.go
		"Conv": conv, "ConvTranspose": convTranspose, "MaxPool": maxPool, "AveragePool": averagePool,
		"GlobalAveragePool": globalPool("mean"), "GlobalMaxPool": globalPool("max"),
		// quant.go
		"QuantizeLinear": quantizeLinear, "DequantizeLinear": dequantizeLinear, "DynamicQuantizeLinear": dynamicQuantize,
		"QLinearMatMul": qlinearMatMul, "MatMulInteger": matMulInteger, "QLinearConv": qlinearConv, "ConvInteger": convInteger,
		// norm.go
		"BatchNormalization": batchNorm, "LayerNormalization": layerNorm, "RMSNormalization": rmsNorm,
		"GroupNormalization": groupNorm, "InstanceNormalization": instanceNorm,
		"MeanVarianceNormalization": meanVarianceNorm, "LpNormalization": lpNorm, "LRN": localResponseNorm,
		// loss.go
		"Softmax": softmax("softmax"), "LogSoftmax": softmax("log_softmax"),
		"SoftmaxCrossEntropyLoss": crossEntropy, "NegativeLogLikelihoodLoss": nllLoss,
		// attention.go
		"Attention": attention, "RotaryEmbedding": rotaryEmbedding,
	}
}
