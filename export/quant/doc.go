// Package quant owns the INT8 export: it calibrates a trained model on real batches, rewrites its inference graph into
// QDQ form (int8 weights per channel, 8-bit activations per tensor, int32 biases), measures what that costs, and refuses
// a model that lost too much. One graph serves ringo's own integer execution, the ONNX export and the gate. It must
// not know of training loops or command lines.
//
// Sources: Jacob et al. 2018 (arXiv 1712.05877) for the scheme; Xiao et al. 2023 (SmoothQuant, arXiv 2211.10438);
// Frantar et al. 2023 (GPTQ, arXiv 2210.17323); Migacz 2017 ("8-bit inference with TensorRT") for entropy calibration.
package quant
