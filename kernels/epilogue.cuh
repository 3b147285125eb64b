// What happens to a product's sums before they are stored, in registers:
//
//   v = α·Σ + bias;  kept = v or act'(v);  y = act(v) · act'(pre) + β·residual
#pragma once
#include "activation.cuh"

// Epilogue is laid out as epilogueArgs of matmul_cuda.go. Null pointers are left out.
struct Epilogue {
  const void *bias, *pre, *residual; // bias (n), or (m) where bias_rows; pre and residual as y
  void *y, *kept;
  float alpha, beta;
  int act, act_grad; // Activation
  int bias_rows, slope; // slope: act' is kept
  int packed; // rows of y are whole packs
};

// Called, not copied: an epilogue is unrolled over a thread's elements, and a dozen activations each time are megabytes.
DEVICE_CALL float activate_once(int act, float x) { return activate(act, x); }
DEVICE_CALL float activate_grad_once(int act, float x) { return activate_grad(act, x); }

// apply is the epilogue of one element at (row, col), element `at` of y.
template <class T> DEVICE float apply(const Epilogue &e, float v, int row, int col, float pre, float residual, float *kept) {
  v *= e.alpha;
  if (e.bias) v += to_float(((const T *)e.bias)[e.bias_rows ? row : col]);
  *kept = v;
  if (e.act) {
    if (e.slope) *kept = activate_grad_once(e.act, v);
    v = activate_once(e.act, v);
  } else if (e.slope) {
    *kept = 1.f;
  }
  if (e.pre) v *= e.act_grad ? activate_grad_once(e.act_grad, pre) : 1.f;
  if (e.residual) v += e.beta * residual;
  return v;
}

// finish stores W consecutive elements of a row from column col on, of which those below n exist; base is the first
// element of y's matrix. W is a multiple of a pack.
template <class T, int W> DEVICE void finish(const Epilogue &e, const float v[W], int64_t base, int row, int col, int n) {
  const int width = Pack<T>::n;
  int64_t at = base + (int64_t)row * n + col;
  float kept;
  if (e.packed && col + W <= n) {
#pragma unroll
    for (int w = 0; w < W; w += width) {
      Pack<T> pre, residual, y, k;
      if (e.pre) pre = load_pack((const T *)e.pre + at + w);
      if (e.residual) residual = load_pack((const T *)e.residual + at + w);
#pragma unroll
      for (int i = 0; i < width; i++) {
        y.v[i] = from_float<T>(apply<T>(e, v[w + i], row, col + w + i, e.pre ? to_float(pre.v[i]) : 0.f,
                                        e.residual ? to_float(residual.v[i]) : 0.f, &kept));
        k.v[i] = from_float<T>(kept);
      }
      store_pack((T *)e.y + at + w, y);
      if (e.kept) store_pack((T *)e.kept + at + w, k);
    }
    return;
  }
#pragma unroll
  for (int i = 0; i < W; i++)
    if (col + i < n) {
      float y = apply<T>(e, v[i], row, col + i, e.pre ? to_float(((const T *)e.pre)[at + i]) : 0.f,
                         e.residual ? to_float(((const T *)e.residual)[at + i]) : 0.f, &kept);
      ((T *)e.y)[at + i] = from_float<T>(y);
      if (e.kept) ((T *)e.kept)[at + i] = from_float<T>(kept);
    }
}
