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

// round_run makes of v what it reads back as after it was stored.
template <int W, class T> DEVICE void round_run(float v[W]) {
#pragma unroll
  for (int k = 0; k < W; k++) v[k] = to_float(from_float<T>(v[k]));
}
