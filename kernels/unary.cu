// Element-wise functions of one tensor: y = f(x). The plain version is unary.go.
#include "activation.cuh"

#define UNARY_THREADS 256

// Each functor is one op. p and q are its attributes where it has any.
#define UNARY(Name, expression)                                         \
  struct Name {                                                         \
    static DEVICE_MEMBER float f(float x, float p, float q) {           \
      (void)p, (void)q;                                                 \
      return expression;                                                \
    }                                                                   \
  };

UNARY(Neg, -x)
UNARY(Abs, fabsf(x))
UNARY(Sqrt, sqrtf(x))
UNARY(Rsqrt, 1.f / sqrtf(x))
UNARY(Exp, expf(x))
UNARY(Log, logf(x))
UNARY(Relu, x < 0.f ? 0.f : x) // a NaN passes
UNARY(Silu, x *sigmoid(x))
UNARY(Tanh, tanhf(x))
UNARY(Sigmoid, sigmoid(x))
UNARY(Erf, erff(x))
UNARY(Square, x *x)
UNARY(Sign, x > 0.f ? 1.f : x < 0.f ? -1.f : x)
UNARY(Floor, floorf(x))
UNARY(Ceil, ceilf(x))
UNARY(Round, rintf(x))
UNARY(Reciprocal, 1.f / x)
UNARY(Softplus, fmaxf(x, 0.f) + log1pf(expf(-fabsf(x))))
UNARY(GeluErf, gelu_erf(x))
UNARY(GeluTanh, gelu_tanh(x))
UNARY(Clip, x < p ? p : x > q ? q : x) // p ≤ q; a NaN passes

// x, y (n); y may be x.
template <class T, class F> DEVICE void unary(const T *x, T *y, int64_t n, float p, float q) {
  const int width = Pack<T>::n;
  int64_t packs = n / width;
  for (int64_t i = first_index(); i < packs; i += index_stride()) {
    Pack<T> v = load_pack(x + i * width);
#pragma unroll
    for (int k = 0; k < width; k++) v.v[k] = from_float<T>(F::f(to_float(v.v[k]), p, q));
    store_pack(y + i * width, v);
  }
  int64_t i = packs * width + first_index(); // fewer than width are left
  if (i < n) y[i] = from_float<T>(F::f(to_float(x[i]), p, q));
}

#define UNARY_KERNELS(op, F)                                                                           \
  KERNEL(op##_f32, UNARY_THREADS, (const float *x, float *y, int64_t n, float p, float q)) {           \
    unary<float, F>(x, y, n, p, q);                                                                    \
  }                                                                                                    \
  KERNEL(op##_bf16, UNARY_THREADS, (const bf16 *x, bf16 *y, int64_t n, float p, float q)) {            \
    unary<bf16, F>(x, y, n, p, q);                                                                     \
  }

UNARY_KERNELS(neg, Neg)
UNARY_KERNELS(abs, Abs)
UNARY_KERNELS(sqrt, Sqrt)
UNARY_KERNELS(rsqrt, Rsqrt)
UNARY_KERNELS(exp, Exp)
UNARY_KERNELS(log, Log)
UNARY_KERNELS(relu, Relu)
UNARY_KERNELS(silu, Silu)
UNARY_KERNELS(tanh, Tanh)
UNARY_KERNELS(sigmoid, Sigmoid)
UNARY_KERNELS(erf, Erf)
UNARY_KERNELS(square, Square)
UNARY_KERNELS(sign, Sign)
UNARY_KERNELS(floor, Floor)
UNARY_KERNELS(ceil, Ceil)
UNARY_KERNELS(round, Round)
UNARY_KERNELS(reciprocal, Reciprocal)
UNARY_KERNELS(softplus, Softplus)
UNARY_KERNELS(gelu, GeluErf)
UNARY_KERNELS(gelu_tanh, GeluTanh)
UNARY_KERNELS(clip, Clip)

// The functions that 32-bit integers have; they wrap around. p and q are there so that all launches look alike.
#define UNARY_I32(op, expression)                                                                      \
  KERNEL(op##_i32, UNARY_THREADS, (const int *in, int *y, int64_t n, float p, float q)) {              \
    (void)p, (void)q;                                                                                  \
    for (int64_t i = first_index(); i < n; i += index_stride()) {                                      \
      int x = in[i];                                                                                   \
      y[i] = expression;                                                                               \
    }                                                                                                  \
  }

UNARY_I32(neg, (int)(0u - (unsigned)x))
UNARY_I32(abs, x < 0 ? (int)(0u - (unsigned)x) : x)
UNARY_I32(relu, x < 0 ? 0 : x)
UNARY_I32(square, (int)((unsigned)x * (unsigned)x))
UNARY_I32(sign, (x > 0) - (x < 0))
