// Attention of a few queries over a cache, and writing to the cache. The plain versions are in attention.go; many queries at a
// time (a prompt) run through the kernels of attention.cu and attention_plain.cu.
//
// Every key and value is read once per query head for 4·D FLOP: bound by memory (1 FLOP per byte in bf16). The cache is cut into
// stretches so that one sequence keeps many multiprocessors busy; heads of a group read the same rows at about the same
// time, from the second-level cache.
#include "attention.cuh"

#define CACHED_THREADS 128
#define CACHED_KEYS 256 // keys of a stretch
#define KEY_LANES 8     // lanes that share a key's dot product

// One block per stretch of keys, head, and query of a sequence. partial (B·T, H, stretches, D + 2) gets the weighted sum
// of values, the largest score m (times log2 e) and the sum of weights 2^(score − m). Shared memory: the query as float, then
// CACHED_THREADS·n or D floats, n elements per pack.
template <class T> DEVICE void attend_stretch(const AttentionArgs &p, float *partial, int packed) {
  __shared__ float weights[CACHED_KEYS], scratch[MAX_WARPS];
  DYN_SHARED(float, query);
  const int width = Pack<T>::n;
  int b = blockIdx.z / p.queries, t = blockIdx.z % p.queries, h = blockIdx.y, group = h / (p.heads / p.kv_heads);
  int from = blockIdx.x * CACHED_KEYS, count = min(CACHED_KEYS, seen_by(p, first_of(p, b), t) - from);
  if (count <= 0) return;
  const T *q = head_rows<const T>(p.q, p.q_row, p.queries, p.dim, b, h) + t * p.q_row;
  const T *k = head_rows<const T>(p.k, p.kv_row, p.keys, p.dim, b, group) + from * p.kv_row;
  const T *v = head_rows<const T>(p.v, p.kv_row, p.keys, p.dim, b, group) + from * p.kv_row;
  for (int d = threadIdx.x; d < p.dim; d += CACHED_THREADS) query[d] = to_float(q[d]) * p.scale * LOG2_E;
  __syncthreads();

  int lane = threadIdx.x % KEY_LANES;
  float top = -INFINITY;
#pragma unroll 4
  for (int i = threadIdx.x / KEY_LANES; i < CACHED_KEYS; i += CACHED_THREADS / KEY_LANES) {
    float s = 0.f;
    if (i < count && packed) {
      for (int d = lane * width; d < p.dim; d += KEY_LANES * width) {
        Pack<T> x = load_pack(k + i * p.kv_row + d);
#pragma unroll
        for (int j = 0; j < width; j++) s = fmaf(to_float(x.v[j]), query[d + j], s);
      }
    } else if (i < count) {
      for (int d = lane; d < p.dim; d += KEY_LANES) s = fmaf(to_float(k[i * p.kv_row + d]), query[d], s);
    }
#pragma unroll
    for (int o = KEY_LANES / 2; o > 0; o >>= 1) s += __shfl_xor_sync(ALL_LANES, s, o);
    s = i < count ? s : -INFINITY;
    if (lane == 0) weights[i] = s;
    top = Max::join(top, s);
  }
  top = block_max(top, scratch);
  __syncthreads();
  float sum = 0.f;
  for (int i = threadIdx.x; i < CACHED_KEYS; i += CACHED_THREADS) sum += weights[i] = weight(weights[i], top);
  sum = block_sum(sum, scratch);
  __syncthreads();

  // Threads share out columns, and where there are fewer than threads, keys too.
  float *sums = query + (p.dim + 3) / 4 * 4;
  int step = packed ? width : 1, columns = (p.dim + step - 1) / step, across = 1;
  while (across < columns && across < CACHED_THREADS) across *= 2;
  int line = threadIdx.x / across, lines = CACHED_THREADS / across;
  for (int c = threadIdx.x % across; c < columns; c += across) {
    float acc[Pack<T>::n];
#pragma unroll
    for (int j = 0; j < width; j++) acc[j] = 0.f;
    for (int i = line; i < count; i += lines) {
      float w = weights[i];
      if (packed) {
        Pack<T> x = load_pack(v + i * p.kv_row + c * width);
#pragma unroll
        for (int j = 0; j < width; j++) acc[j] = fmaf(w, to_float(x.v[j]), acc[j]);
      } else {
        acc[0] = fmaf(w, to_float(v[i * p.kv_row + c]), acc[0]);
      }
    }
#pragma unroll
    for (int j = 0; j < width; j++)
      if (j < step) sums[line * p.dim + c * step + j] = acc[j];
  }
  __syncthreads();
  float *out = partial + (((int64_t)blockIdx.z * p.heads + h) * gridDim.x + blockIdx.x) * (p.dim + 2);
  for (int d = threadIdx.x; d < p.dim; d += CACHED_THREADS) {
    float s = 0.f;
    for (int l = 0; l < lines; l++) s += sums[l * p.dim + d];
    out[d] = s;
  }
  if (threadIdx.x == 0) out[p.dim] = top, out[p.dim + 1] = sum;
}

// One block per query of a sequence (x) and head (y): y = Σ 2^(m_s − m)·sum_s / Σ 2^(m_s − m)·l_s over the stretches, in order.
template <class T> DEVICE void attend_join(const AttentionArgs &p, const float *partial, int stretches) {
  int b = blockIdx.x / p.queries, t = blockIdx.x % p.queries, h = blockIdx.y, line = p.dim + 2;
  int used = (seen_by(p, first_of(p, b), t) + CACHED_KEYS - 1) / CACHED_KEYS;
  const float *x = partial + ((int64_t)blockIdx.x * p.heads + h) * stretches * line;
  float m = -INFINITY, l = 0.f;
  for (int s = 0; s < used; s++) m = Max::join(m, x[s * line + p.dim]);
  for (int s = 0; s < used; s++) l += weight(x[s * line + p.dim], m) * x[s * line + p.dim + 1];
  T *y = head_rows<T>(p.y, p.y_row, p.queries, p.dim, b, h) + t * p.y_row;
  for (int d = threadIdx.x; d < p.dim; d += CACHED_THREADS) {
    float sum = 0.f;
    for (int s = 0; s < used; s++) sum += weight(x[s * line + p.dim], m) * x[s * line + d];
    y[d] = from_float<T>(sum / l);
  }
}

// cache (B,S,row) gets x (B,T,row) at rows pos…pos+T−1; rows outside are dropped.
template <class T> DEVICE void kv_write(T *cache, const T *x, const int *pos, int pos_each, int batch, int rows, int keys, int row, int packed) {
  int step = packed ? Pack<T>::n : 1, units = row / step;
  int64_t count = (int64_t)batch * rows * units;
  for (int64_t i = first_index(); i < count; i += index_stride()) {
    int u = (int)(i % units) * step, t = (int)(i / units % rows), b = (int)(i / units / rows);
    int at = pos[pos_each ? b : 0] + t;
    if (at < 0 || at >= keys) continue;
    T *to = cache + ((int64_t)b * keys + at) * row + u;
    const T *from = x + ((int64_t)b * rows + t) * row + u;
    if (packed)
      store_pack(to, load_pack(from));
    else
      *to = *from;
  }
}

#define CACHED_KERNELS(suffix, T)                                                                                      \
  KERNEL(attention_stretch_##suffix, CACHED_THREADS, (AttentionArgs p, float *partial, int packed)) {                  \
    attend_stretch<T>(p, partial, packed);                                                                             \
  }                                                                                                                    \
  KERNEL(attention_join_##suffix, CACHED_THREADS, (AttentionArgs p, const float *partial, int stretches)) {            \
    attend_join<T>(p, partial, stretches);                                                                             \
  }                                                                                                                    \
  KERNEL(kv_write_##suffix, 256, (T *cache, const T *x, const int *pos, int pos_each, int batch, int rows, int keys,   \
                                  int row, int packed)) {                                                              \
    kv_write<T>(cache, x, pos, pos_each, batch, rows, keys, row, packed);                                              \
  }

CACHED_KERNELS(f32, float)
CACHED_KERNELS(bf16, bf16)
