// Softmax, log-softmax and their gradients along one axis. The plain version is softmax.go.
#include "softmax.cuh"

// A line is n elements `inner` apart; lines are (outer, inner). Lines along the last axis get a block each; others a
// thread each, neighbours side by side, so that a warp's accesses meet.
struct Line {
  int n;
  int64_t inner;
};

DEVICE int64_t line_start(int64_t line, Line l) { return line / l.inner * l.n * l.inner + line % l.inner; }

// Each op is a first sweep over a line, which gives two numbers, and a second that writes.
//   y = e^(x−m)/s and y = x − m − log s, with m = max x and s = Σ e^(x−m)
struct SoftmaxEnd {
  static DEVICE_MEMBER float f(float x, float m, float s) { return expf(x - m) / s; }
};
struct LogSoftmaxEnd {
  static DEVICE_MEMBER float f(float x, float m, float s) { return x - m - logf(s); }
};
//   dx = y·(dy − Σ dy·y) and dx = dy − e^y·Σ dy
struct SoftmaxGrad {
  static DEVICE_MEMBER float term(float y, float dy) { return y * dy; }
  static DEVICE_MEMBER float f(float y, float dy, float s) { return y * (dy - s); }
};
struct LogSoftmaxGrad {
  static DEVICE_MEMBER float term(float, float dy) { return dy; }
  static DEVICE_MEMBER float f(float y, float dy, float s) { return dy - expf(y) * s; }
};

template <class End> struct EndOf {
  float max, sum;
  DEVICE_MEMBER float operator()(float x, int) const { return End::f(x, max, sum); }
};

template <class T, class End> DEVICE void softmax_rows(const T *x, T *y, int cols) {
  __shared__ float scratch[MAX_WARPS];
  const T *row = x + (int64_t)blockIdx.x * cols;
  LogSum l = log_sum_row(row, cols, scratch);
  EndOf<End> end = {l.max, l.sum};
  each_in_row(row, y + (int64_t)blockIdx.x * cols, cols, end);
}

template <class T, class End> DEVICE void softmax_lines(const T *x, T *y, Line l, int64_t lines) {
  for (int64_t k = first_index(); k < lines; k += index_stride()) {
    int64_t at = line_start(k, l);
    LogSum s = LogSum::identity();
    for (int i = 0; i < l.n; i++) s.add(to_float(x[at + i * l.inner]));
    for (int i = 0; i < l.n; i++) y[at + i * l.inner] = from_float<T>(End::f(to_float(x[at + i * l.inner]), s.max, s.sum));
  }
}

template <class T, class G> DEVICE void softmax_grad_rows(const T *y, const T *dy, T *dx, int cols) {
  __shared__ float scratch[MAX_WARPS];
  int64_t at = (int64_t)blockIdx.x * cols;
  float s = 0.f;
  for (int i = threadIdx.x; i < cols; i += blockDim.x) s += G::term(to_float(y[at + i]), to_float(dy[at + i]));
  s = block_sum(s, scratch);
  for (int i = threadIdx.x; i < cols; i += blockDim.x) dx[at + i] = from_float<T>(G::f(to_float(y[at + i]), to_float(dy[at + i]), s));
}

template <class T, class G> DEVICE void softmax_grad_lines(const T *y, const T *dy, T *dx, Line l, int64_t lines) {
  for (int64_t k = first_index(); k < lines; k += index_stride()) {
    int64_t at = line_start(k, l);
    float s = 0.f;
    for (int i = 0; i < l.n; i++) s += G::term(to_float(y[at + i * l.inner]), to_float(dy[at + i * l.inner]));
    for (int i = 0; i < l.n; i++) {
      int64_t j = at + i * l.inner;
      dx[j] = from_float<T>(G::f(to_float(y[j]), to_float(dy[j]), s));
    }
  }
}

#define SOFTMAX_KERNELS(op, End, Grad, suffix, T)                                                                   \
  KERNEL(op##_rows_##suffix, SOFTMAX_THREADS, (const T *x, T *y, int cols)) { softmax_rows<T, End>(x, y, cols); }   \
  KERNEL(op##_lines_##suffix, SOFTMAX_THREADS, (const T *x, T *y, Line l, int64_t lines)) {                         \
    softmax_lines<T, End>(x, y, l, lines);                                                                          \
  }                                                                                                                 \
  KERNEL(op##_grad_rows_##suffix, SOFTMAX_THREADS, (const T *y, const T *dy, T *dx, int cols)) {                    \
    softmax_grad_rows<T, Grad>(y, dy, dx, cols);                                                                    \
  }                                                                                                                 \
  KERNEL(op##_grad_lines_##suffix, SOFTMAX_THREADS, (const T *y, const T *dy, T *dx, Line l, int64_t lines)) {      \
    softmax_grad_lines<T, Grad>(y, dy, dx, l, lines);                                                               \
  }

SOFTMAX_KERNELS(softmax, SoftmaxEnd, SoftmaxGrad, f32, float)
SOFTMAX_KERNELS(softmax, SoftmaxEnd, SoftmaxGrad, bf16, bf16)
SOFTMAX_KERNELS(log_softmax, LogSoftmaxEnd, LogSoftmaxGrad, f32, float)
SOFTMAX_KERNELS(log_softmax, LogSoftmaxEnd, LogSoftmaxGrad, bf16, bf16)
