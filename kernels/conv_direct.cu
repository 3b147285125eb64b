// Convolutions that are no products worth a tile: depthwise ones, thread by thread; the bias's gradient; and the small tables that
// conv.cu reads. The plain version is conv.go. Bound by memory: windows overlap in the first-level cache.
#include "channels.cuh"
#include "conv.cuh"

#define DIRECT_THREADS 256

// y, one thread per element; one input channel per group.
template <class T> DEVICE void depthwise(const ConvShape &c, const T *x, const T *w, const T *bias, T *y, int relu) {
  int64_t count = (int64_t)c.images * c.groups * c.og * c.oh * c.ow;
  for (int64_t at = first_index(); at < count; at += index_stride()) {
    int j = (int)(at % c.ow), i = (int)(at / c.ow % c.oh);
    int64_t plane = at / c.ow / c.oh; // n·outputs + o
    int outputs = c.groups * c.og, o = (int)(plane % outputs);
    const T *in = x + (plane / outputs * c.groups + o / c.og) * c.h * c.w, *filter = w + (int64_t)o * c.kh * c.kw;
    float s = bias ? to_float(bias[o]) : 0.f;
    for (int r = 0; r < c.kh; r++)
      for (int q = 0; q < c.kw; q++) s = fmaf(read_x(c, in, i, j, r, q), to_float(filter[r * c.kw + q]), s);
    y[at] = from_float<T>(relu ? activate(kRelu, s) : s);
  }
}

// dx, one thread per element.
template <class T> DEVICE void depthwise_dx(const ConvShape &c, const T *dy, const T *w, T *dx) {
  int64_t count = (int64_t)c.images * c.groups * c.h * c.w;
  for (int64_t at = first_index(); at < count; at += index_stride()) {
    int j = (int)(at % c.w), i = (int)(at / c.w % c.h);
    int64_t plane = at / c.w / c.h; // n·groups + channel
    int channel = (int)(plane % c.groups);
    float s = 0.f;
    for (int o = 0; o < c.og; o++) {
      const T *out = dy + (plane * c.og + o) * c.oh * c.ow, *filter = w + ((int64_t)channel * c.og + o) * c.kh * c.kw;
      for (int r = 0; r < c.kh; r++)
        for (int q = 0; q < c.kw; q++) s = fmaf(read_y(c, out, i, j, r, q), to_float(filter[r * c.kw + q]), s);
    }
    dx[at] = from_float<T>(s);
  }
}

// dw: one block per tap (x) and filter (y) sums over images and pixels.
template <class T> DEVICE void depthwise_dw(const ConvShape &c, const T *x, const T *dy, T *dw) {
  __shared__ float scratch[MAX_WARPS];
  int tap = blockIdx.x, r = tap / c.kw, q = tap % c.kw, o = blockIdx.y, outputs = c.groups * c.og, pixels = c.oh * c.ow;
  float s = 0.f;
  for (int64_t at = threadIdx.x; at < (int64_t)c.images * pixels; at += blockDim.x) {
    int64_t n = at / pixels;
    int pixel = (int)(at % pixels);
    const T *in = x + (n * c.groups + o / c.og) * c.h * c.w;
    s = fmaf(to_float(dy[(n * outputs + o) * pixels + pixel]), read_x(c, in, pixel / c.ow, pixel % c.ow, r, q), s);
  }
  s = block_sum(s, scratch);
  if (threadIdx.x == 0) dw[(int64_t)o * c.kh * c.kw + tap] = from_float<T>(s);
}

// Sums over images and pixels: blockIdx.x is a channel, blockIdx.y a stretch of images, partial (stretches, channels).
template <class T, int width> DEVICE void channel_sums(const T *x, float *partial, int images, int channels, int64_t plane, int stretch) {
  __shared__ float scratch[MAX_WARPS];
  Stretch part(images, channels, plane, stretch);
  PlainSum<T, width> sum = {x};
  float s = part.sum(sum, scratch);
  if (threadIdx.x == 0) partial[(int64_t)blockIdx.y * channels + blockIdx.x] = s;
}
template <class T> DEVICE void channel_sums_join(const float *partial, T *y, int channels, int stretches) {
  int c = (int)first_index();
  if (c >= channels) return;
  float s = 0.f;
  for (int k = 0; k < stretches; k++) s += partial[(int64_t)k * channels + c];
  y[c] = from_float<T>(s);
}

// The taps of `channels` channels, in the order of a weight's elements.
KERNEL(conv_taps, DIRECT_THREADS, (Tap *taps, int count, int filled, int back, ConvShape c)) {
  for (int k = (int)first_index(); k < filled; k += (int)index_stride()) taps[k] = k < count ? tap(c, k, back) : Tap{0, NOWHERE, 0, 0};
}

// flipped (groups, cg, og, window) ← w (groups, og, cg, window).
template <class T> DEVICE void conv_flip(const T *w, T *flipped, int64_t count, int og, int cg, int window) {
  for (int64_t i = first_index(); i < count; i += index_stride()) {
    int tap = (int)(i % window), o = (int)(i / window % og), c = (int)(i / window / og % cg);
    int64_t group = i / window / og / cg;
    flipped[i] = w[((group * og + o) * cg + c) * window + tap];
  }
}

#define DIRECT_KERNELS(suffix, T)                                                                                          \
  KERNEL(depthwise_##suffix, DIRECT_THREADS, (ConvShape c, const T *x, const T *w, const T *bias, T *y, int relu)) {       \
    depthwise<T>(c, x, w, bias, y, relu);                                                                                  \
  }                                                                                                                        \
  KERNEL(depthwise_dx_##suffix, DIRECT_THREADS, (ConvShape c, const T *dy, const T *w, T *dx)) { depthwise_dx<T>(c, dy, w, dx); } \
  KERNEL(depthwise_dw_##suffix, DIRECT_THREADS, (ConvShape c, const T *x, const T *dy, T *dw)) { depthwise_dw<T>(c, x, dy, dw); } \
  KERNEL(channel_sums_##suffix, DIRECT_THREADS, (const T *x, float *partial, int images, int channels, int64_t plane,      \
                                                 int stretch, int packed)) {                                               \
    if (packed)                                                                                                            \
      channel_sums<T, Pack<T>::n>(x, partial, images, channels, plane, stretch);                                           \
    else                                                                                                                   \
      channel_sums<T, 1>(x, partial, images, channels, plane, stretch);                                                    \
  }                                                                                                                        \
  KERNEL(channel_sums_join_##suffix, DIRECT_THREADS, (const float *partial, T *y, int channels, int stretches)) {          \
    channel_sums_join<T>(partial, y, channels, stretches);                                                                 \
  }                                                                                                                        \
  KERNEL(conv_flip_##suffix, DIRECT_THREADS, (const T *w, T *flipped, int64_t count, int og, int cg, int window)) {        \
    conv_flip<T>(w, flipped, count, og, cg, window);                                                                       \
  }

DIRECT_KERNELS(f32, float)
DIRECT_KERNELS(bf16, bf16)
