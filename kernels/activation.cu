// Gradients of activations, and the gated activation. The plain version is activation.go.
#include "activation.cuh"

#define ACTIVATION_THREADS 256

struct ReluGrad { // y may be relu's input or its output
  static DEVICE_MEMBER float f(float y, float dy) { return y > 0.f ? dy : 0.f; }
};
struct GeluGrad {
  static DEVICE_MEMBER float f(float x, float dy) { return gelu_erf_grad(x) * dy; }
};
struct GeluTanhGrad {
  static DEVICE_MEMBER float f(float x, float dy) { return gelu_tanh_grad(x) * dy; }
};
struct SiluGrad {
  static DEVICE_MEMBER float f(float x, float dy) { return silu_grad(x) * dy; }
};

// dx = f(x, dy), n elements; dx may be x or dy.
template <class T, class F> DEVICE void activation_grad(const T *x, const T *dy, T *dx, int64_t n) {
  const int width = Pack<T>::n;
  int64_t packs = n / width;
  for (int64_t i = first_index(); i < packs; i += index_stride()) {
    Pack<T> a = load_pack(x + i * width), b = load_pack(dy + i * width);
#pragma unroll
    for (int k = 0; k < width; k++) a.v[k] = from_float<T>(F::f(to_float(a.v[k]), to_float(b.v[k])));
    store_pack(dx + i * width, a);
  }
  int64_t i = packs * width + first_index();
  if (i < n) dx[i] = from_float<T>(F::f(to_float(x[i]), to_float(dy[i])));
}

#define ACTIVATION_GRAD(op, F)                                                                                      \
  KERNEL(op##_f32, ACTIVATION_THREADS, (const float *x, const float *dy, float *dx, int64_t n)) {                   \
    activation_grad<float, F>(x, dy, dx, n);                                                                        \
  }                                                                                                                 \
  KERNEL(op##_bf16, ACTIVATION_THREADS, (const bf16 *x, const bf16 *dy, bf16 *dx, int64_t n)) {                     \
    activation_grad<bf16, F>(x, dy, dx, n);                                                                         \
  }
ACTIVATION_GRAD(relu_grad, ReluGrad)
ACTIVATION_GRAD(gelu_grad, GeluGrad)
ACTIVATION_GRAD(gelu_tanh_grad, GeluTanhGrad)
ACTIVATION_GRAD(silu_grad, SiluGrad)

// One element of swiglu: y = silu(gate)·up; and backward: dgate = silu'(gate)·up·dy, dup = silu(gate)·dy.
DEVICE float swiglu_of(float gate, float up) { return gate * sigmoid(gate) * up; }

// Places are the row and the column, of (rows, cols), that a thread of a grid-stride loop comes to. Dividing once before the
// loop, not in it, saves some hundred instructions a turn.
struct Places {
  int64_t row, col, rows, cols, row_step, col_step;
  DEVICE_MEMBER Places(int64_t rows, int64_t cols) : rows(rows), cols(cols) {
    row = first_index() / cols, col = first_index() - row * cols;
    row_step = index_stride() / cols, col_step = index_stride() - row_step * cols;
  }
  DEVICE_MEMBER bool more() const { return row < rows; }
  DEVICE_MEMBER void next() {
    row += row_step, col += col_step;
    if (col >= cols) row++, col -= cols;
  }
};

// x (rows, gate|up), each f wide → y (rows, f). Whole packs where f allows.
template <class T, int width> DEVICE void swiglu(const T *x, T *y, int64_t rows, int64_t f) {
  for (Places p(rows, f / width); p.more(); p.next()) {
    int64_t to = p.row * f + p.col * width, at = to + p.row * f;
    if (width == 1) {
      y[to] = from_float<T>(swiglu_of(to_float(x[at]), to_float(x[at + f])));
    } else {
      Pack<T> gate = load_pack(x + at), up = load_pack(x + at + f);
#pragma unroll
      for (int k = 0; k < Pack<T>::n; k++) gate.v[k] = from_float<T>(swiglu_of(to_float(gate.v[k]), to_float(up.v[k])));
      store_pack(y + to, gate);
    }
  }
}

// dx may be x: a thread reads what it writes.
template <class T, int width> DEVICE void swiglu_grad(const T *x, const T *dy, T *dx, int64_t rows, int64_t f) {
  for (Places p(rows, f / width); p.more(); p.next()) {
    int64_t from = p.row * f + p.col * width, at = from + p.row * f;
    if (width == 1) {
      float gate = to_float(x[at]), up = to_float(x[at + f]), d = to_float(dy[from]);
      dx[at] = from_float<T>(silu_grad(gate) * up * d);
      dx[at + f] = from_float<T>(gate * sigmoid(gate) * d);
    } else {
      Pack<T> gate = load_pack(x + at), up = load_pack(x + at + f), d = load_pack(dy + from);
#pragma unroll
      for (int k = 0; k < Pack<T>::n; k++) {
        float g = to_float(gate.v[k]), u = to_float(up.v[k]), e = to_float(d.v[k]);
        gate.v[k] = from_float<T>(silu_grad(g) * u * e);
        up.v[k] = from_float<T>(g * sigmoid(g) * e);
      }
      store_pack(dx + at, gate);
      store_pack(dx + at + f, up);
    }
  }
}

#define SWIGLU(suffix, T)                                                                                           \
  KERNEL(swiglu_##suffix, ACTIVATION_THREADS, (const T *x, T *y, int64_t rows, int64_t f)) {                        \
    if (f % Pack<T>::n)                                                                                             \
      swiglu<T, 1>(x, y, rows, f);                                                                                  \
    else                                                                                                            \
      swiglu<T, Pack<T>::n>(x, y, rows, f);                                                                         \
  }                                                                                                                 \
  KERNEL(swiglu_grad_##suffix, ACTIVATION_THREADS, (const T *x, const T *dy, T *dx, int64_t rows, int64_t f)) {     \
    if (f % Pack<T>::n)                                                                                             \
      swiglu_grad<T, 1>(x, dy, dx, rows, f);                                                                        \
    else                                                                                                            \
      swiglu_grad<T, Pack<T>::n>(x, dy, dx, rows, f);                                                               \
  }
SWIGLU(f32, float)
SWIGLU(bf16, bf16)
