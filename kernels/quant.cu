// Quantization to 8 bits and back, also in training. The plain version is quant.go.
#include "quant.cuh"
#include "reduce.cuh"

#define QUANT_THREADS 256

// y = saturate(round(x/scale) + zero)
KERNEL(quantize_linear, QUANT_THREADS, (const void *x, int xt, const void *scale, int st, const void *zero, void *y, int yt, int64_t n, ScaleOf of)) {
  for (int64_t i = first_index(); i < n; i += index_stride()) {
    int64_t k = of.at(i);
    store_quantized(y, i, round_to(load_real(x, xt, i) / load_real(scale, st, k), load_quantized(zero, yt, k), yt));
  }
}

// y = (q − zero)·scale, the difference modulo 2³²; y has scale's type.
KERNEL(dequantize_linear, QUANT_THREADS, (const void *q, int qt, const void *scale, int st, const void *zero, void *y, int64_t n, ScaleOf of)) {
  for (int64_t i = first_index(); i < n; i += index_stride()) {
    int64_t k = of.at(i);
    int d = (int)((unsigned)load_quantized(q, qt, i) - (unsigned)load_quantized(zero, qt, k));
    store_real(y, st, i, (float)d * load_real(scale, st, k));
  }
}

// Rows of a quantized table (v,c) as real numbers. An id outside the table gives NaN.
template <class I>
DEVICE void qembedding(const void *table, int type, const void *scale, int st, const void *zero, const I *ids, void *y, int64_t n, int64_t v, int64_t c, int single) {
  for (int64_t i = first_index(); i < n; i += index_stride()) {
    int64_t id = ids[i / c], k = single ? 0 : id;
    if (id < 0 || id >= v)
      store_real(y, st, i, NAN);
    else
      store_real(y, st, i, (float)(load_quantized(table, type, id * c + i % c) - load_quantized(zero, type, k)) * load_real(scale, st, k));
  }
}
#define QEMBEDDING(suffix, I)                                                                                         \
  KERNEL(qembedding_##suffix, QUANT_THREADS, (const void *table, int type, const void *scale, int st,                 \
                                              const void *zero, const I *ids, void *y, int64_t n, int64_t v,          \
                                              int64_t c, int single)) {                                               \
    qembedding<I>(table, type, scale, st, zero, ids, y, n, v, c, single);                                             \
  }
QEMBEDDING(i32, int)
QEMBEDDING(i64, int64_t)

// The range of x with 0 in it, in two steps: part (blocks,2) holds −min and max of each block's stretch.
KERNEL(quant_range, QUANT_THREADS, (const float *x, float *part, int64_t n, int64_t stretch)) {
  __shared__ float scratch[MAX_WARPS];
  int64_t from = blockIdx.x * stretch, to = from + stretch < n ? from + stretch : n;
  float lo = 0.f, hi = 0.f;
  for (int64_t i = from + threadIdx.x; i < to; i += blockDim.x) {
    lo = Max::join(lo, -x[i]);
    hi = Max::join(hi, x[i]);
  }
  lo = block_max(lo, scratch);
  hi = block_max(hi, scratch);
  if (threadIdx.x == 0) {
    part[2 * blockIdx.x] = lo;
    part[2 * blockIdx.x + 1] = hi;
  }
}

// scale = (max − min)/255, zero = saturate(round(−min/scale)).
KERNEL(quant_range_end, QUANT_THREADS, (const float *part, float *scale, uint8_t *zero, int blocks)) {
  __shared__ float scratch[MAX_WARPS];
  float lo = 0.f, hi = 0.f;
  for (int b = threadIdx.x; b < blocks; b += blockDim.x) {
    lo = Max::join(lo, part[2 * b]);
    hi = Max::join(hi, part[2 * b + 1]);
  }
  lo = block_max(lo, scratch);
  hi = block_max(hi, scratch);
  if (threadIdx.x == 0) {
    float s = __fadd_rn(hi, lo) / 255.f;
    scale[0] = s;
    zero[0] = s > 0.f ? (uint8_t)round_to(lo / s, 0, kU8) : 0;
  }
}

KERNEL(dynamic_quantize, QUANT_THREADS, (const float *x, const float *scale, const uint8_t *zero, uint8_t *y, int64_t n)) {
  float s = scale[0];
  int z = zero[0];
  for (int64_t i = first_index(); i < n; i += index_stride()) y[i] = (uint8_t)round_to(s > 0.f ? x[i] / s : 0.f, z, kU8);
}

// The range lo…hi of a fake quantizer: symmetric −127…127 without zero point, else 256 levels with 0 among them. An empty
// range changes nothing.
KERNEL(fake_quantize, QUANT_THREADS, (const void *x, const void *lo, const void *hi, void *y, int type, int symmetric, int64_t n, ScaleOf of)) {
  for (int64_t i = first_index(); i < n; i += index_stride()) {
    int64_t k = of.at(i);
    float v = load_real(x, type, i), least = -127.f, most = 127.f, zero = 0.f, a = load_real(lo, type, k), b = load_real(hi, type, k);
    float scale = b / 127.f;
    if (!symmetric) {
      a = a < 0.f ? a : 0.f;
      b = b > 0.f ? b : 0.f;
      scale = (b - a) / 255.f;
      least = -128.f;
      if (scale > 0.f) zero = rintf(-128.f - a / scale);
    }
    if (scale > 0.f) {
      float q = rintf(v / scale) + zero;
      q = q < least ? least : q > most ? most : q; // a NaN passes
      v = (q - zero) * scale;
    }
    store_real(y, type, i, v);
  }
}

// dx = dy where x lies in the range, else 0.
KERNEL(fake_quantize_grad, QUANT_THREADS, (const void *x, const void *lo, const void *hi, const void *dy, void *dx, int type, int symmetric, int64_t n, ScaleOf of)) {
  for (int64_t i = first_index(); i < n; i += index_stride()) {
    int64_t k = of.at(i);
    float v = load_real(x, type, i), least = load_real(lo, type, k), most = load_real(hi, type, k), d = load_real(dy, type, i);
    least = least < 0.f ? least : 0.f;
    most = most > 0.f ? most : 0.f;
    if (symmetric) least = -most;
    store_real(dx, type, i, most > least && (v < least || v > most) ? 0.f : d);
  }
}
