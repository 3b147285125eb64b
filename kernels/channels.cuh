// Sums over one channel of tensors (images, channels, plane).
#pragma once
#include "reduce.cuh"
#include "runs.cuh"

// Stretch is a block's share: channel blockIdx.x of `images` images, those of stretch blockIdx.y. A stretch has fewer than 2³¹
// elements of a channel: division by 32 bits.
struct Stretch {
  int64_t first; // element of the channel in the first image
  int64_t image; // elements of an image
  unsigned count, plane;

  DEVICE_MEMBER Stretch(int images, int channels, int64_t plane_, int stretch) {
    int from = blockIdx.y * stretch;
    image = channels * plane_, plane = (unsigned)plane_;
    first = from * image + blockIdx.x * plane_;
    count = (unsigned)(min(stretch, images - from) * plane_);
  }

  // sum gives every thread Σ f(at) over the stretch; f(at) takes f.width elements, of which planes are whole groups.
  template <class F> DEVICE_MEMBER float sum(const F &f, float *scratch) const {
    float s = 0.f;
    for (unsigned i = threadIdx.x * F::width; i < count; i += blockDim.x * F::width) {
      unsigned n = i / plane;
      s += f(first + n * image + (i - n * plane));
    }
    return block_sum(s, scratch);
  }
};

template <class T, int w> struct PlainSum {
  static const int width = w;
  const T *x;
  DEVICE_MEMBER float operator()(int64_t at) const {
    float v[w], s = 0.f;
    load_run<w>(v, x + at);
#pragma unroll
    for (int k = 0; k < w; k++) s += v[k];
    return s;
  }
};

// Σ (x − mean)²
template <class T, int w> struct SquareSum {
  static const int width = w;
  const T *x;
  float mean;
  DEVICE_MEMBER float operator()(int64_t at) const {
    float v[w], s = 0.f;
    load_run<w>(v, x + at);
#pragma unroll
    for (int k = 0; k < w; k++) s += (v[k] - mean) * (v[k] - mean);
    return s;
  }
};

// Σ dy·(x − mean)
template <class T, int w> struct ProductSum {
  static const int width = w;
  const T *dy, *x;
  float mean;
  DEVICE_MEMBER float operator()(int64_t at) const {
    float d[w], v[w], s = 0.f;
    load_run<w>(d, dy + at);
    load_run<w>(v, x + at);
#pragma unroll
    for (int k = 0; k < w; k++) s += d[k] * (v[k] - mean);
    return s;
  }
};
