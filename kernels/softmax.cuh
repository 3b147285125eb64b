// The sum of exponentials of a line in one sweep (Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018).
#pragma once
#include "reduce.cuh"

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
};

DEVICE LogSum join(LogSum a, LogSum b) {
  float m = Max::join(a.max, b.max);
  LogSum l = {m, a.sum * LogSum::scale(a.max, m) + b.sum * LogSum::scale(b.max, m)};
  return l;
}

// log_sum_row gives every thread of a one-dimensional block the result over a row. scratch is MAX_WARPS floats of shared memory.
template <class T> DEVICE LogSum log_sum_row(const T *row, int cols, float *scratch) {
  LogSum l = LogSum::identity();
  for (int i = threadIdx.x; i < cols; i += blockDim.x) l.add(to_float(row[i]));
  float m = block_max(l.max, scratch);
  l.sum = block_sum(l.sum * LogSum::scale(l.max, m), scratch);
  l.max = m;
  return l;
}
