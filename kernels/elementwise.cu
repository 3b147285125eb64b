// Arithmetic of two tensors with broadcasting: y = f(a, b). The plain version is elementwise.go.
#include "broadcast.cuh"

#define BINARY_THREADS 256

// Each functor is one op on floats and on integers, which wrap around: they are added as unsigned ones.
template <class T> struct Unsigned;
template <> struct Unsigned<int> { typedef unsigned type; };
template <> struct Unsigned<int64_t> { typedef uint64_t type; };

#define ARITHMETIC(Name, floats, integers)                                                     \
  struct Name {                                                                                \
    static DEVICE_MEMBER float of(float a, float b) { return floats; }                         \
    static DEVICE_MEMBER float f(float a, float b) { return of(a, b); }                        \
    static DEVICE_MEMBER bf16 f(bf16 a, bf16 b) { return float_to_bf16(of(to_float(a), to_float(b))); } \
    template <class I> static DEVICE_MEMBER I f(I a, I b) {                                    \
      typedef typename Unsigned<I>::type U;                                                    \
      return (I)(integers);                                                                    \
    }                                                                                          \
  };

// Division truncates; by zero it gives 0, and by −1 it negates, as the smallest integer has no quotient there.
ARITHMETIC(Add, a + b, (U)a + (U)b)
ARITHMETIC(Sub, a - b, (U)a - (U)b)
ARITHMETIC(Mul, a *b, (U)a * (U)b)
ARITHMETIC(Div, a / b, b == 0 ? (U)0 : b == -1 ? (U)0 - (U)a : (U)(a / b))
ARITHMETIC(Maximum, a > b || a != a ? a : b, (U)(a > b ? a : b)) // a NaN of either side stays
ARITHMETIC(Minimum, a < b || a != a ? a : b, (U)(a < b ? a : b))

#define BINARY_KERNEL(name, T, F) \
  KERNEL(name, BINARY_THREADS, (const T *a, const T *b, T *y, Broadcast<2> p)) { binary<T, F>(a, b, y, p); }
#define BINARY_KERNELS(op, F)          \
  BINARY_KERNEL(op##_f32, float, F)    \
  BINARY_KERNEL(op##_bf16, bf16, F)    \
  BINARY_KERNEL(op##_i32, int, F)      \
  BINARY_KERNEL(op##_i64, int64_t, F)

BINARY_KERNELS(add, Add)
BINARY_KERNELS(sub, Sub)
BINARY_KERNELS(mul, Mul)
BINARY_KERNELS(div, Div)
BINARY_KERNELS(maximum, Maximum)
BINARY_KERNELS(minimum, Minimum)
