// Pooling over the planes of x (N,C,H,W) and its gradients. The plain version is pool.go.
#include "reduce.cuh"

#define POOL_THREADS 256

// Pool is poolArgs of pool_cuda.go. x (planes,H,W), y (planes,OH,OW); pads before.
struct Pool {
  int64_t planes;
  int h, w, oh, ow, kh, kw, sh, sw, dh, dw, top, left;
  int padded_h, padded_w; // H or W plus the padding after: taps at or beyond never count
  int count_pad, unused;
};

// The taps of window o along an axis: how many lie inside, or, with the padding, before `end`.
DEVICE int taps_inside(int o, int stride, int pad, int k, int dilation, int size) {
  int count = 0, at = o * stride - pad;
  for (int t = 0; t < k; t++, at += dilation) count += at >= 0 && at < size;
  return count;
}
DEVICE int taps_padded(int o, int stride, int pad, int k, int dilation, int end) {
  int count = 0, at = o * stride - pad;
  for (int t = 0; t < k; t++, at += dilation) count += at < end;
  return count;
}
DEVICE float pool_divisor(const Pool &p, int oy, int ox) {
  if (p.count_pad) return (float)(taps_padded(oy, p.sh, p.top, p.kh, p.dh, p.padded_h) * taps_padded(ox, p.sw, p.left, p.kw, p.dw, p.padded_w));
  return (float)(taps_inside(oy, p.sh, p.top, p.kh, p.dh, p.h) * taps_inside(ox, p.sw, p.left, p.kw, p.dw, p.w));
}

// NaN wins, of equals the first; a window without a pixel yields −∞ and index −1.
template <class T> DEVICE void maxpool(const T *x, T *y, int *index, const Pool &p) {
  int64_t n = p.planes * p.oh * p.ow;
  for (int64_t i = first_index(); i < n; i += index_stride()) {
    int64_t plane = i / (p.oh * p.ow);
    int o = (int)(i - plane * (p.oh * p.ow)), oy = o / p.ow, ox = o - oy * p.ow, best = -1;
    const T *in = x + plane * p.h * p.w;
    float top = -INFINITY;
    for (int a = 0; a < p.kh; a++) {
      int yy = oy * p.sh - p.top + a * p.dh;
      if (yy < 0 || yy >= p.h) continue;
      for (int b = 0; b < p.kw; b++) {
        int xx = ox * p.sw - p.left + b * p.dw;
        if (xx < 0 || xx >= p.w) continue;
        float v = to_float(in[yy * p.w + xx]);
        if (v > top || best < 0 || (v != v && top == top)) {
          top = v;
          best = yy * p.w + xx;
        }
      }
    }
    y[i] = from_float<T>(top);
    index[i] = best;
  }
}

// dx (planes,H·W) in float, zeroed before, takes dy at its index. A warp per plane goes through the windows in order, 32 at
// a time; lanes with one index add one after the other, so no atomics are needed and the order is always the same.
template <class T> DEVICE void maxpool_grad(const T *dy, const int *index, float *dx, int64_t planes, int windows, int pixels) {
  int64_t plane = first_index() / 32;
  int lane = threadIdx.x % 32;
  if (plane >= planes) return; // whole warps
  float *out = dx + plane * pixels;
  for (int from = 0; from < windows; from += 32) {
    int i = from + lane, at = i < windows ? index[plane * windows + i] : -1;
    float d = at >= 0 ? to_float(dy[plane * windows + i]) : 0.f;
    int rank = 0; // lanes before with the same index
    for (int k = 0; k < 31; k++) {
      int other = __shfl_sync(ALL_LANES, at, k);
      rank += k < lane && other == at;
    }
    if (at < 0) rank = -1;
    for (int turn = 0; __any_sync(ALL_LANES, rank >= turn); turn++) {
      if (rank == turn) out[at] += d;
      __syncwarp();
    }
  }
}

// A window without a pixel yields 0.
template <class T> DEVICE void avgpool(const T *x, T *y, const Pool &p) {
  int64_t n = p.planes * p.oh * p.ow;
  for (int64_t i = first_index(); i < n; i += index_stride()) {
    int64_t plane = i / (p.oh * p.ow);
    int o = (int)(i - plane * (p.oh * p.ow)), oy = o / p.ow, ox = o - oy * p.ow;
    const T *in = x + plane * p.h * p.w;
    float sum = 0.f;
    bool any = false;
    for (int a = 0; a < p.kh; a++) {
      int yy = oy * p.sh - p.top + a * p.dh;
      if (yy < 0 || yy >= p.h) continue;
      for (int b = 0; b < p.kw; b++) {
        int xx = ox * p.sw - p.left + b * p.dw;
        if (xx < 0 || xx >= p.w) continue;
        sum += to_float(in[yy * p.w + xx]);
        any = true;
      }
    }
    y[i] = from_float<T>(any ? sum / pool_divisor(p, oy, ox) : 0.f);
  }
}

// A thread per pixel adds dy/divisor of the windows that contain it, in their order.
template <class T> DEVICE void avgpool_grad(const T *dy, T *dx, const Pool &p) {
  int64_t n = p.planes * p.h * p.w;
  for (int64_t i = first_index(); i < n; i += index_stride()) {
    int64_t plane = i / (p.h * p.w);
    int at = (int)(i - plane * (p.h * p.w)), yy = at / p.w, xx = at - yy * p.w;
    const T *in = dy + plane * p.oh * p.ow;
    float sum = 0.f;
    for (int a = p.kh - 1; a >= 0; a--) {
      int v = yy + p.top - a * p.dh, oy = v / p.sh;
      if (v < 0 || v % p.sh || oy >= p.oh) continue;
      for (int b = p.kw - 1; b >= 0; b--) {
        int u = xx + p.left - b * p.dw, ox = u / p.sw;
        if (u < 0 || u % p.sw || ox >= p.ow) continue;
        sum += to_float(in[oy * p.ow + ox]) / pool_divisor(p, oy, ox);
      }
    }
    dx[i] = from_float<T>(sum);
  }
}

#define POOL(suffix, T)                                                                                                  \
  KERNEL(maxpool_##suffix, POOL_THREADS, (const T *x, T *y, int *index, Pool p)) { maxpool<T>(x, y, index, p); }         \
  KERNEL(maxpool_grad_##suffix, POOL_THREADS, (const T *dy, const int *index, float *dx, int64_t planes, int windows,    \
                                               int pixels)) {                                                            \
    maxpool_grad<T>(dy, index, dx, planes, windows, pixels);                                                             \
  }                                                                                                                      \
  KERNEL(avgpool_##suffix, POOL_THREADS, (const T *x, T *y, Pool p)) { avgpool<T>(x, y, p); }                            \
  KERNEL(avgpool_grad_##suffix, POOL_THREADS, (const T *dy, T *dx, Pool p)) { avgpool_grad<T>(dy, dx, p); }
POOL(f32, float)
POOL(bf16, bf16)
