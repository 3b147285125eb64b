// Products of 8-bit numbers with exact sums in 32 bits, and what becomes of them. The plain version, matched bit for bit,
// is qmatmul.go; graph.Requant states the formulas.
#include "quant.cuh"

#define QTHREADS 256
#define QTILE 16

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

// x (m,k), w (k,n) or (n,k): a block per tile of y, tiles of both factors in shared memory, zero points taken off.
KERNEL(qmatmul, QTHREADS, (const void *x, int xt, const void *xz, const void *w, int wt, const void *wz, int wz_many, int trans_b, void *y, int m, int n, int k, Requant p)) {
  __shared__ int a[QTILE][QTILE + 1], b[QTILE][QTILE + 1];
  int line = threadIdx.x / QTILE, lane = threadIdx.x % QTILE;
  int row = blockIdx.x * QTILE + line, col = blockIdx.y * QTILE + lane;
  int zx = load_quantized(xz, xt, 0);
  unsigned sum = 0;
  for (int from = 0; from < k; from += QTILE) {
    a[line][lane] = row < m && from + lane < k ? load_quantized(x, xt, (int64_t)row * k + from + lane) - zx : 0;
    // b[step][column]: read along w's rows in either layout.
    int step = trans_b ? lane : line, column = trans_b ? line : lane, c = blockIdx.y * QTILE + column;
    int v = 0;
    if (from + step < k && c < n)
      v = load_quantized(w, wt, trans_b ? (int64_t)c * k + from + step : (int64_t)(from + step) * n + c) - load_quantized(wz, wt, wz_many ? c : 0);
    b[step][column] = v;
    __syncthreads();
#pragma unroll
    for (int t = 0; t < QTILE; t++) sum += (unsigned)(a[line][t] * b[t][lane]);
    __syncthreads();
  }
  if (row < m && col < n) requantize(p, (int)sum, y, (int64_t)row * n + col, col);
}

// QConv is qconvArgs of qmatmul_cuda.go: x (N,C,H,W) or, with nhwc, (N,H,W,C); w (O,C/groups,KH,KW).
struct QConv {
  int64_t n; // elements of y
  int c, h, w, o, oh, ow, kh, kw, sh, sw, dh, dw, top, left, groups, nhwc;
};

// A thread per element of y.
KERNEL(qconv2d, QTHREADS, (const void *x, int xt, const void *xz, const void *w, int wt, const void *wz, int wz_many, void *y, QConv q, Requant p)) {
  int zx = load_quantized(xz, xt, 0), cg = q.c / q.groups, og = q.o / q.groups;
  for (int64_t i = first_index(); i < q.n; i += index_stride()) {
    int64_t rest = i;
    int o, oy, ox;
    if (q.nhwc) {
      o = (int)(rest % q.o), rest /= q.o;
      ox = (int)(rest % q.ow), rest /= q.ow;
      oy = (int)(rest % q.oh), rest /= q.oh;
    } else {
      ox = (int)(rest % q.ow), rest /= q.ow;
      oy = (int)(rest % q.oh), rest /= q.oh;
      o = (int)(rest % q.o), rest /= q.o;
    }
    int zw = load_quantized(wz, wt, wz_many ? o : 0);
    unsigned sum = 0;
    for (int c = 0; c < cg; c++)
      for (int r = 0; r < q.kh; r++) {
        int yy = oy * q.sh + r * q.dh - q.top, channel = o / og * cg + c;
        if (yy < 0 || yy >= q.h) continue;
        for (int s = 0; s < q.kw; s++) {
          int xx = ox * q.sw + s * q.dw - q.left;
          if (xx < 0 || xx >= q.w) continue;
          int64_t at = q.nhwc ? ((rest * q.h + yy) * q.w + xx) * q.c + channel : ((rest * q.c + channel) * q.h + yy) * q.w + xx;
          int64_t tap = (((int64_t)o * cg + c) * q.kh + r) * q.kw + s;
          sum += (unsigned)((load_quantized(x, xt, at) - zx) * (load_quantized(w, wt, tap) - zw));
        }
      }
    requantize(p, (int)sum, y, i, o);
  }
}

// The largest of every window; the least number of the type where it has no pixel. q.c = q.o planes.
KERNEL(qmaxpool2d, QTHREADS, (const void *x, int xt, void *y, QConv q)) {
  for (int64_t i = first_index(); i < q.n; i += index_stride()) {
    int64_t rest = i;
    int c = 0, oy, ox;
    if (q.nhwc) c = (int)(rest % q.o), rest /= q.o;
    ox = (int)(rest % q.ow), rest /= q.ow;
    oy = (int)(rest % q.oh), rest /= q.oh; // without nhwc, rest is the plane
    int best = xt == kU8 ? 0 : -128;
    for (int r = 0; r < q.kh; r++)
      for (int s = 0; s < q.kw; s++) {
        int yy = oy * q.sh + r * q.dh - q.top, xx = ox * q.sw + s * q.dw - q.left;
        if (yy < 0 || yy >= q.h || xx < 0 || xx >= q.w) continue;
        int64_t at = (rest * q.h + yy) * q.w + xx;
        int v = load_quantized(x, xt, q.nhwc ? at * q.c + c : at);
        best = v > best ? v : best;
      }
    store_quantized(y, i, best);
  }
}
