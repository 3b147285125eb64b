// What becomes of exact sums of 8-bit products: graph.Requant states the formulas, qmatmul.go is the plain version, matched bit
// for bit.
#pragma once
#include "quant.cuh"

// Requant is requantArgs of qmatmul_cuda.go: types as in quant.cuh, addresses 0 where there is none.
struct Requant {
  uint64_t xs, ws, ys, yz, bias, residual;
  int xs_type, ws_type, ys_type, out, bias_type, act, in_float, ws_many;
};

enum QuantAct { kQNone, kQRelu, kQSilu, kQGelu, kQGeluTanh }; // numbered as quantActs of qmatmul_cuda.go

// In double, as the plain version, then rounded once.
DEVICE float quant_activate(int act, float v) {
  double x = v;
  switch (act) {
  case kQRelu: return v > 0.f || v != v ? v : 0.f;
  case kQSilu: return (float)(x / (1 + exp(-x)));
  case kQGelu: return (float)(x / 2 * erfc(-x / 1.4142135623730951));
  case kQGeluTanh: return (float)(x / 2 * (1 + tanh(0.79788456080286536 * (x + 0.044715 * x * x * x))));
  }
  return v;
}

// requantize stores element i of column j.
DEVICE void requantize(const Requant &p, int sum, void *y, int64_t i, int j) {
  if (p.bias && p.bias_type == kI32) sum = (int)((unsigned)sum + (unsigned)reinterpret_cast<const int *>(p.bias)[j]);
  if (p.out == kI32) {
    reinterpret_cast<int *>(y)[i] = sum;
    return;
  }
  float s = __fmul_rn(load_real((const void *)p.xs, p.xs_type, 0), load_real((const void *)p.ws, p.ws_type, p.ws_many ? j : 0));
  float ys = p.ys ? load_real((const void *)p.ys, p.ys_type, 0) : 1.f;
  int zero = p.yz ? load_quantized((const void *)p.yz, p.out, 0) : 0;
  if (!p.in_float) {
    int q = round_to(__fmul_rn((float)sum, s / ys), zero, p.out);
    store_quantized(y, i, p.act == kQRelu && q < zero ? zero : q);
    return;
  }
  float v = __fmul_rn((float)sum, s);
  if (p.bias && p.bias_type == kF32) v = __fadd_rn(v, reinterpret_cast<const float *>(p.bias)[j]);
  v = quant_activate(p.act, v);
  if (p.residual) v = __fadd_rn(v, reinterpret_cast<const float *>(p.residual)[i]);
  if (p.out == kF32)
    reinterpret_cast<float *>(y)[i] = v;
  else
    store_quantized(y, i, round_to(v / ys, zero, p.out));
}

// QConv is qconvArgs of qmatmul_cuda.go: x (N,C,H,W) or, with nhwc, (N,H,W,C); w (O,C/groups,KH,KW).
struct QConv {
  int64_t n; // elements of y
  int c, h, w, o, oh, ow, kh, kw, sh, sw, dh, dw, top, left, groups, nhwc;
};
