// Padding with a value, the border repeated or mirrored, or going round; and its gradient. The plain version is shape.go.
#include "words.cuh"

#define PAD_THREADS 256
#define PAD_AXES 8

enum PadMode { kConstant, kEdge, kReflect, kWrap }; // numbered as padModes of pad_cuda.go

// Padding is padArgs of pad_cuda.go: sizes of x, of the padded tensor, and what comes before, per axis.
struct Padding {
  int64_t n; // elements of the output
  int axes, mode;
  int x[PAD_AXES], padded[PAD_AXES], before[PAD_AXES];
  int64_t strides[PAD_AXES]; // of the tensor that is read
};

// pad_source maps place i of the padded axis to x's, −1 where the value stands; as Pad.Index of runtime/graph/shape.go.
DEVICE int pad_source(int mode, int i, int before, int n) {
  i -= before;
  if (i >= 0 && i < n) return i;
  switch (mode) {
  case kEdge: return i < 0 ? 0 : n - 1;
  case kWrap: return (i % n + n) % n;
  case kReflect: {
    if (n == 1) return 0;
    int period = 2 * (n - 1);
    i = (i % period + period) % period;
    return i < period - i ? i : period - i;
  }
  }
  return -1;
}

template <class W> DEVICE void pad(const W *x, W *y, const Padding &p, uint64_t value) {
  for (int64_t i = first_index(); i < p.n; i += index_stride()) {
    int64_t rest = i, at = 0;
    bool inside = true;
    for (int a = p.axes - 1; a >= 0; a--) {
      int64_t q;
      int64_t r;
      split(rest, p.padded[a], q, r);
      rest = q;
      int from = pad_source(p.mode, (int)r, p.before[a], p.x[a]);
      inside = inside && from >= 0;
      at += from * p.strides[a];
    }
    y[i] = inside ? x[at] : fill_word<W>(value);
  }
}

// The places of a padded axis of size m that copy element t of an axis of size n, in order: pad_first, then pad_next until m.
DEVICE int pad_first(int mode, int t, int before, int n, int m) {
  switch (mode) {
  case kEdge:
    if (t == 0) return before >= 0 ? 0 : n == 1 ? 0 : m;
    break;
  case kWrap: return ((before + t) % n + n) % n;
  case kReflect: {
    if (n == 1) return 0;
    int period = 2 * (n - 1), a = ((before + t) % period + period) % period, b = ((before - t) % period + period) % period;
    return a < b ? a : b;
  }
  }
  int at = before + t;
  if (mode == kEdge && t == n - 1 && at < 0) return 0; // all that is left repeats the end
  return at >= 0 ? at : m;
}
DEVICE int pad_next(int mode, int at, int t, int before, int n, int m) {
  switch (mode) {
  case kEdge:
    at++;
    return (t == n - 1 && at >= before + t) || (t == 0 && at <= before) ? at : m;
  case kWrap: return at + n;
  case kReflect: {
    if (n == 1) return at + 1;
    int period = 2 * (n - 1), i = ((at - before) % period + period) % period;
    int step = i == t ? period - 2 * t : 2 * t;
    return at + (step ? step : period);
  }
  }
  return m;
}

// dx gets the sum of dy over the places that copy it, in their order; strides are dy's.
template <class T> DEVICE void pad_grad(const T *dy, T *dx, const Padding &p) {
  for (int64_t i = first_index(); i < p.n; i += index_stride()) {
    int own[PAD_AXES], at[PAD_AXES];
    int64_t rest = i;
    bool any = true;
    for (int a = p.axes - 1; a >= 0; a--) {
      own[a] = (int)(rest % p.x[a]);
      rest /= p.x[a];
      at[a] = pad_first(p.mode, own[a], p.before[a], p.x[a], p.padded[a]);
      any = any && at[a] < p.padded[a];
    }
    float sum = 0.f;
    while (any) {
      int64_t from = 0;
      for (int a = 0; a < p.axes; a++) from += at[a] * p.strides[a];
      sum += to_float(dy[from]);
      int a = p.axes - 1;
      for (; a >= 0; a--) { // the next combination, last axis fastest
        at[a] = pad_next(p.mode, at[a], own[a], p.before[a], p.x[a], p.padded[a]);
        if (at[a] < p.padded[a]) break;
        at[a] = pad_first(p.mode, own[a], p.before[a], p.x[a], p.padded[a]);
      }
      any = a >= 0;
    }
    dx[i] = from_float<T>(sum);
  }
}

#define PAD(size)                                                                                                     \
  KERNEL(pad_##size, PAD_THREADS, (const Word<size>::type *x, Word<size>::type *y, Padding p, uint64_t value)) {      \
    pad<Word<size>::type>(x, y, p, value);                                                                            \
  }
PAD(1) PAD(2) PAD(4) PAD(8)

KERNEL(pad_grad_f32, PAD_THREADS, (const float *dy, float *dx, Padding p)) { pad_grad<float>(dy, dx, p); }
KERNEL(pad_grad_bf16, PAD_THREADS, (const bf16 *dy, bf16 *dx, Padding p)) { pad_grad<bf16>(dy, dx, p); }
