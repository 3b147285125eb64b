// Runs of W consecutive elements as floats: whole packs of 16 bytes, or single elements where W is 1. W is 1 or the elements
// of a pack of the narrowest type that takes part; runs start on 16 bytes unless W is 1.
#pragma once
#include "device.cuh"

template <int W, class T> DEVICE void load_run(float v[W], const T *p) {
  if (W == 1) {
    v[0] = to_float(*p);
  } else {
#pragma unroll
    for (int h = 0; h < W; h += Pack<T>::n) {
      Pack<T> x = load_pack(p + h);
#pragma unroll
      for (int k = 0; k < Pack<T>::n && h + k < W; k++) v[h + k] = to_float(x.v[k]);
    }
  }
}

template <int W, class T> DEVICE void store_run(T *p, const float v[W]) {
  if (W == 1) {
    *p = from_float<T>(v[0]);
  } else {
#pragma unroll
    for (int h = 0; h < W; h += Pack<T>::n) {
      Pack<T> x;
#pragma unroll
      for (int k = 0; k < Pack<T>::n; k++) x.v[k] = from_float<T>(h + k < W ? v[h + k] : 0.f);
      store_pack(p + h, x);
    }
  }
}

// add_run adds W elements from p on to v.
template <int W, class T> DEVICE void add_run(float (&v)[W], const T *p) {
  float x[W];
  load_run<W>(x, p);
#pragma unroll
  for (int k = 0; k < W; k++) v[k] += x[k];
}

// round_run makes of v what it reads back as after it was stored.
template <int W, class T> DEVICE void round_run(float v[W]) {
#pragma unroll
  for (int k = 0; k < W; k++) v[k] = to_float(from_float<T>(v[k]));
}

// RowRuns cuts a row that may start anywhere into elements up to the first 16-byte boundary, whole packs, and the rest: for
// rows whose length is no multiple of a pack, such as the logits of 50257 words.
template <class T> struct RowRuns {
  int head, packs; // how many elements come before the packs, and how many packs
  DEVICE_MEMBER RowRuns(const T *row, int cols) {
    head = (int)((16 - ((uint64_t)row & 15)) & 15) / (int)sizeof(T);
    head = min(head, cols);
    packs = (cols - head) / Pack<T>::n;
  }
};

// each_in_row writes y[i] = f(x[i], i) for a block's threads; y may be x, and lies like x on 16-byte boundaries.
template <class T, class F> DEVICE void each_in_row(const T *x, T *y, int cols, const F &f) {
  const int W = Pack<T>::n;
  RowRuns<T> r(x, cols);
  for (int p = threadIdx.x; p < r.packs; p += blockDim.x) {
    int at = r.head + p * W;
    float v[W];
    load_run<W>(v, x + at);
#pragma unroll
    for (int k = 0; k < W; k++) v[k] = f(v[k], at + k);
    store_run<W>(y + at, v);
  }
  int rest = cols - r.packs * W; // head and tail are less than two packs: one element per thread
  int t = threadIdx.x, i = t < r.head ? t : t + r.packs * W;
  if (t < rest) y[i] = from_float<T>(f(to_float(x[i]), i));
}
