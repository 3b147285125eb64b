// The sum of exponentials of a line in one sweep (Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018).
#pragma once
#include "reduce.cuh"
#include "runs.cuh"

#define SOFTMAX_THREADS 256

// LogSum holds m = max x and s = Σ e^(x−m); log Σ e^x = m + log s. Of nothing it is (−∞, 0).
struct LogSum {
  float max, sum;
  static DEVICE_MEMBER LogSum identity() {
    LogSum l = {-INFINITY, 0.f};
    return l;
  }
  // scale is e^(from−to), 1 where both are −∞; a NaN stays.
  static DEVICE_MEMBER float scale(float from, float to) { return from == to ? 1.f : expf(from - to); }
  DEVICE_MEMBER void add(float x) {
    float m = Max::join(max, x);
    sum = sum * scale(max, m) + (x == -INFINITY ? 0.f : scale(x, m));
    max = m;
  }
  // add_run joins W numbers at the price of one change of scale.
  template <int W> DEVICE_MEMBER void add_run(const float v[W]) {
    float m = max, s = 0.f;
#pragma unroll
    for (int k = 0; k < W; k++) m = Max::join(m, v[k]);
#pragma unroll
    for (int k = 0; k < W; k++) s += v[k] == -INFINITY ? 0.f : scale(v[k], m);
    sum = sum * scale(max, m) + s;
    max = m;
  }
};

DEVICE LogSum join(LogSum a, LogSum b) {
  float m = Max::join(a.max, b.max);
  LogSum l = {m, a.sum * LogSum::scale(a.max, m) + b.sum * LogSum::scale(b.max, m)};
  return l;
}

// log_sum_row gives every thread of a one-dimensional block the result over a row. scratch is MAX_WARPS floats of shared memory.
template <class T> DEVICE LogSum log_sum_row(const T *row, int cols, float *scratch) {
  LogSum l = LogSum::identity();
  const int W = Pack<T>::n;
  RowRuns<T> r(row, cols);
  int rest = cols - r.packs * W, t = threadIdx.x;
  if (t < rest) l.add(to_float(row[t < r.head ? t : t + r.packs * W]));
  for (int p = t; p < r.packs; p += blockDim.x) {
    float v[W];
    load_run<W>(v, row + r.head + p * W);
    l.add_run<W>(v);
  }
  float m = block_max(l.max, scratch);
  l.sum = block_sum(l.sum * LogSum::scale(l.max, m), scratch);
  l.max = m;
  return l;
}
