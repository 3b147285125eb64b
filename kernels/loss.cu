// Cross-entropy of logits (N,V) with targets (N), and its gradient in place over the logits. The plain version is loss.go.
//
// Bound by memory: a row is read once, into shared memory where it fits, and its gradient written once; 100 KB for 50,304 words
// of bf16, so that two blocks share a multiprocessor of an H100 and one computes while the other moves. A second read would not
// find the row in the second-level cache: all blocks' rows together are larger.
#include "mma.cuh"
#include "softmax.cuh"

#define LOSS_THREADS 1024
#define LOG2_E 1.4426950408889634f

// Rows are pitch long and have cols classes; what is behind them is filler. They are rows first, first+1, … of those that targets
// has, over all of which the mean goes. smoothing mixes the target with the uniform
// distribution; has_ignore says that `ignore` is a target to leave out.
struct LossArgs {
  int cols, pitch, first, ignore, has_ignore;
  float smoothing;
};

template <class I> DEVICE bool is_ignored(I target, LossArgs a) { return a.has_ignore && (int64_t)target == a.ignore; }

// One block counts the rows that are not ignored.
template <class I> DEVICE void count_targets(const I *targets, int *count, int rows, LossArgs a) {
  __shared__ float scratch[MAX_WARPS];
  float n = 0.f; // whole numbers up to 2²⁴ are exact
  for (int i = threadIdx.x; i < rows; i += blockDim.x) n += is_ignored(targets[i], a) ? 0.f : 1.f;
  n = block_sum(n, scratch);
  if (threadIdx.x == 0) *count = (int)n;
}

// LogitGrad is scale·(e^(x−lse) − s/V − (1−s)·onehot), 0 where the target is ignored, NaN where it is out of range.
template <class I> struct LogitGrad {
  int hit_at; // −1 where no column is the target
  bool out, inside;
  float scale, log_sum, uniform, hit;
  DEVICE_MEMBER LogitGrad(I t, LossArgs a, float scale, float log_sum)
      : out(is_ignored(t, a)), inside(t >= 0 && t < a.cols), scale(scale), log_sum(log_sum), uniform(a.smoothing / a.cols),
        hit(1.f - a.smoothing) {
    hit_at = inside ? (int)t : -1;
  }
  DEVICE_MEMBER float operator()(float x, int i) const {
    float d = scale * (exp2_approx((x - log_sum) * LOG2_E) - uniform - (i == hit_at ? hit : 0.f));
    return out ? 0.f : inside ? d : NAN;
  }
};

// The gradient of filler is 0: products sum over it.
template <class T> DEVICE void clear_filler(T *row, LossArgs a) {
  for (int i = a.cols + threadIdx.x; i < a.pitch; i += blockDim.x) row[i] = from_float<T>(0.f);
}

// stage copies a row of whole packs to shared memory.
template <class T> DEVICE void stage(T *to, const T *row, int pitch) {
  for (int i = threadIdx.x * Pack<T>::n; i < pitch; i += blockDim.x * Pack<T>::n) copy_async16(to + i, row + i, true);
  copy_async_commit();
  copy_async_wait<0>();
  __syncthreads();
}

// log_sum_staged is log Σ e^x of a staged row, in two sweeps: its maximum, which a NaN does not change, then the sum, which it spoils.
template <class T> DEVICE float log_sum_staged(const T *row, int cols, float *scratch) {
  const int W = Pack<T>::n;
  float m = -INFINITY, s = 0.f;
  int packs = cols / W, last = packs * W + threadIdx.x;
  for (int p = threadIdx.x; p < packs; p += blockDim.x) {
    float v[W];
    load_run<W>(v, row + p * W);
#pragma unroll
    for (int k = 0; k < W; k++) m = fmaxf(m, v[k]);
  }
  if (last < cols) m = fmaxf(m, to_float(row[last]));
  m = block_max(m, scratch);
  float base = fabsf(m) == INFINITY ? 0.f : m, high = base * LOG2_E;
  for (int p = threadIdx.x; p < packs; p += blockDim.x) {
    float v[W];
    load_run<W>(v, row + p * W);
#pragma unroll
    for (int k = 0; k < W; k++) s += exp2_approx(fmaf(v[k], LOG2_E, -high));
  }
  if (last < cols) s += exp2_approx(fmaf(to_float(row[last]), LOG2_E, -high));
  return base + logf(block_sum(s, scratch));
}

// One block per row: its loss, lse − (1−s)·x[target] − s·mean(x); 0 where ignored, NaN where the target is out of range.
// lse may be null. Where dx is given it gets scale/count·(e^(x−lse) − (1−s)·onehot − s/V); dx may be x. Staged: rows are
// whole packs and fit shared memory.
template <class T, class I, bool Staged>
DEVICE void loss_row(const T *x, const I *targets, const int *count, float *losses, float *lse, T *dx, float scale, LossArgs a) {
  __shared__ float scratch[MAX_WARPS];
  DYN_SHARED(T, staged);
  int64_t n = blockIdx.x, at = n * a.pitch;
  const T *row = x + at;
  float log_sum;
  if (Staged) {
    stage(staged, row, a.pitch);
    row = staged;
    log_sum = log_sum_staged(row, a.cols, scratch);
  } else {
    LogSum l = log_sum_row(row, a.cols, scratch);
    log_sum = l.max == -INFINITY ? l.max : l.max + logf(l.sum);
  }
  I t = targets[a.first + n];
  bool out = is_ignored(t, a), inside = t >= 0 && t < a.cols;
  float mean = 0.f;
  if (a.smoothing > 0.f) {
    for (int i = threadIdx.x; i < a.cols; i += blockDim.x) mean += to_float(row[i]);
    mean = block_sum(mean, scratch) / a.cols;
  }
  if (threadIdx.x == 0) {
    losses[n] = out ? 0.f : inside ? log_sum - (1.f - a.smoothing) * to_float(row[t]) - a.smoothing * mean : NAN;
    if (lse) lse[n] = log_sum;
  }
  if (!dx) return;
  if (!Staged) __syncthreads(); // thread 0 has read row[t]
  LogitGrad<I> grad(t, a, scale / *count, log_sum);
  each_in_row(row, dx + at, a.cols, grad);
  clear_filler(dx + at, a);
}

// The gradient from a saved lse: one block per row.
template <class T, class I>
DEVICE void loss_grad_row(const float *dloss, const T *x, const I *targets, const float *lse, const int *count, T *dx, LossArgs a) {
  int64_t n = blockIdx.x, at = n * a.pitch;
  LogitGrad<I> grad(targets[a.first + n], a, *dloss / *count, lse[n]);
  each_in_row(x + at, dx + at, a.cols, grad);
  clear_filler(dx + at, a);
}

// One block: the sum of the rows' losses, added in a fixed order, by the number of all rows that count. None gives NaN.
KERNEL(loss_mean, LOSS_THREADS, (const float *losses, const int *count, float *loss, int rows)) {
  __shared__ double part[LOSS_THREADS];
  double s = 0;
  for (int i = threadIdx.x; i < rows; i += LOSS_THREADS) s += losses[i];
  part[threadIdx.x] = s;
  __syncthreads();
  for (int half = LOSS_THREADS / 2; half > 0; half /= 2) {
    if ((int)threadIdx.x < half) part[threadIdx.x] += part[threadIdx.x + half];
    __syncthreads();
  }
  if (threadIdx.x == 0) *loss = *count ? (float)(part[0] / *count) : NAN;
}

#define LOSS_COUNT(suffix, I) \
  KERNEL(loss_count_##suffix, LOSS_THREADS, (const I *targets, int *count, int rows, LossArgs a)) { count_targets<I>(targets, count, rows, a); }
LOSS_COUNT(i32, int)
LOSS_COUNT(i64, int64_t)

#define LOSS_KERNELS(suffix, T, I)                                                                                        \
  KERNEL(cross_entropy_##suffix, LOSS_THREADS, (const T *x, const I *targets, const int *count, float *losses, float *lse, \
                                                T *dx, float scale, LossArgs a, int staged)) {                            \
    if (staged)                                                                                                           \
      loss_row<T, I, true>(x, targets, count, losses, lse, dx, scale, a);                                                 \
    else                                                                                                                  \
      loss_row<T, I, false>(x, targets, count, losses, lse, dx, scale, a);                                                \
  }                                                                                                                       \
  KERNEL(cross_entropy_grad_##suffix, LOSS_THREADS, (const float *dloss, const T *x, const I *targets, const float *lse,   \
                                                     const int *count, T *dx, LossArgs a)) {                              \
    loss_grad_row<T, I>(dloss, x, targets, lse, count, dx, a);                                                            \
  }
LOSS_KERNELS(f32_i32, float, int)
LOSS_KERNELS(f32_i64, float, int64_t)
LOSS_KERNELS(bf16_i32, bf16, int)
LOSS_KERNELS(bf16_i64, bf16, int64_t)
