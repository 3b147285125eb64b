// Attention and its gradients for f32, and for bf16 with head sizes that the tensor-core kernels do not take: any head size, in
// full f32 arithmetic. Tiles of 64 rows by 64, 16×16 threads of 4×4 each. The plain version is attention.go.
//
// 8 floats read from shared memory per 16 multiply-adds: bound by shared memory at about half of the f32 peak.
#include "attention.cuh"

#define PLAIN_THREADS 256
#define PLAIN_TILE 64
#define PLAIN_DEPTH 16 // of a head per step of scores, rows of values per step of sums
#define PLAIN_LD (PLAIN_TILE + 4)

struct PlainShared {
  float x[PLAIN_DEPTH][PLAIN_LD], y[PLAIN_DEPTH][PLAIN_LD]; // two operands of scores, along the head
  float w[PLAIN_TILE][PLAIN_LD];                            // weights, transposed
};

// Rows of one head: row i is at x + i·row; `rows` exist.
template <class T> struct PlainRows {
  const T *x;
  int64_t row;
  int rows;
  DEVICE_MEMBER float at(int i, int d, int dim) const { return i < rows && d < dim ? to_float(x[i * row + d]) : 0.f; }
};

// plain_scores: thread (ty,tx) gets s[i][j] = x[x0+4ty+i] · y[y0+4tx+j] over a head of dim.
template <class T>
DEVICE void plain_scores(float s[4][4], PlainShared *sh, const PlainRows<T> &x, int x0, const PlainRows<T> &y, int y0, int dim) {
#pragma unroll
  for (int i = 0; i < 4; i++)
#pragma unroll
    for (int j = 0; j < 4; j++) s[i][j] = 0.f;
  int tx = threadIdx.x % 16, ty = threadIdx.x / 16;
  for (int d = 0; d < dim; d += PLAIN_DEPTH) {
    __syncthreads();
#pragma unroll
    for (int r = ty; r < PLAIN_TILE; r += 16) {
      sh->x[tx][r] = x.at(x0 + r, d + tx, dim);
      sh->y[tx][r] = y.at(y0 + r, d + tx, dim);
    }
    __syncthreads();
#pragma unroll
    for (int k = 0; k < PLAIN_DEPTH; k++) {
      Pack<float> a = load_pack(&sh->x[k][4 * ty]), b = load_pack(&sh->y[k][4 * tx]);
#pragma unroll
      for (int i = 0; i < 4; i++)
#pragma unroll
        for (int j = 0; j < 4; j++) s[i][j] = fmaf(a.v[i], b.v[j], s[i][j]);
    }
  }
}

// plain_keep writes weights to shared memory, transposed: w[col][row].
DEVICE void plain_keep(PlainShared *sh, const float s[4][4]) {
  int tx = threadIdx.x % 16, ty = threadIdx.x / 16;
#pragma unroll
  for (int j = 0; j < 4; j++) {
    Pack<float> v;
#pragma unroll
    for (int i = 0; i < 4; i++) v.v[i] = s[i][j];
    store_pack(&sh->w[4 * tx + j][4 * ty], v);
  }
}

// plain_gather: out[i][·] += Σ_k w[k][4ty+i] · y[y0+k], columns 4tx.. of each 64 from col0 on. values is shared memory of
// PLAIN_DEPTH rows of 64·C.
template <class T, int C>
DEVICE void plain_gather(float out[4][4 * C], PlainShared *sh, float (*values)[64 * C], const PlainRows<T> &y, int y0, int col0, int dim) {
  int tx = threadIdx.x % 16, ty = threadIdx.x / 16;
  for (int k0 = 0; k0 < PLAIN_TILE; k0 += PLAIN_DEPTH) {
    __syncthreads();
    for (int i = threadIdx.x; i < PLAIN_DEPTH * 64 * C; i += PLAIN_THREADS)
      values[i / (64 * C)][i % (64 * C)] = y.at(y0 + k0 + i / (64 * C), col0 + i % (64 * C), dim);
    __syncthreads();
#pragma unroll
    for (int k = 0; k < PLAIN_DEPTH; k++) {
      Pack<float> a = load_pack(&sh->w[k0 + k][4 * ty]);
#pragma unroll
      for (int c = 0; c < C; c++) {
        Pack<float> b = load_pack(&values[k][64 * c + 4 * tx]);
#pragma unroll
        for (int i = 0; i < 4; i++)
#pragma unroll
          for (int j = 0; j < 4; j++) out[i][4 * c + j] = fmaf(a.v[i], b.v[j], out[i][4 * c + j]);
      }
    }
  }
}

// plain_put stores out times a factor per row.
template <class T, int C>
DEVICE void plain_put(const float out[4][4 * C], const float factor[4], T *x, int64_t row, int from, int limit, int col0, int dim) {
  int tx = threadIdx.x % 16, ty = threadIdx.x / 16;
#pragma unroll
  for (int i = 0; i < 4; i++) {
    int r = from + 4 * ty + i;
    if (r < limit) {
#pragma unroll
      for (int j = 0; j < 4 * C; j++) {
        int d = col0 + j / 4 * 64 + 4 * tx + j % 4;
        if (d < dim) x[r * row + d] = from_float<T>(out[i][j] * factor[i]);
      }
    }
  }
}

// What a block of these kernels works on: blockIdx.y is a head, blockIdx.z a sequence and a stretch of 64·C columns.
template <class T> struct PlainHead {
  PlainRows<T> q, k, v, dy;
  int b, h, col0, first;
  DEVICE_MEMBER PlainHead(const AttentionArgs &p, int h_, int group, int columns) {
    int cuts = (p.dim + columns - 1) / columns;
    b = blockIdx.z / cuts, h = h_, col0 = blockIdx.z % cuts * columns, first = first_of(p, b);
    q.x = head_rows<const T>(p.q, p.q_row, p.queries, p.dim, b, h), q.row = p.q_row, q.rows = p.queries;
    dy.x = head_rows<const T>(p.dy, p.y_row, p.queries, p.dim, b, h), dy.row = p.y_row, dy.rows = p.queries;
    k.x = head_rows<const T>(p.k, p.kv_row, p.keys, p.dim, b, group), k.row = p.kv_row, k.rows = p.keys;
    v.x = head_rows<const T>(p.v, p.kv_row, p.keys, p.dim, b, group), v.row = p.kv_row, v.rows = p.keys;
  }
};

template <int C> DEVICE void plain_clear(float out[4][4 * C]) {
#pragma unroll
  for (int i = 0; i < 4; i++)
#pragma unroll
    for (int j = 0; j < 4 * C; j++) out[i][j] = 0.f;
}

template <class T, int C> DEVICE void attend_plain(const AttentionArgs &p) {
  __shared__ PlainShared sh;
  __shared__ float values[PLAIN_DEPTH][64 * C];
  PlainHead<T> x(p, blockIdx.y, blockIdx.y / (p.heads / p.kv_heads), 64 * C);
  int tx = threadIdx.x % 16, ty = threadIdx.x / 16, t0 = blockIdx.x * PLAIN_TILE;
  int most = seen_by(p, x.first, min(t0 + PLAIN_TILE, p.queries) - 1);
  float out[4][4 * C], top[4], sum[4];
  plain_clear<C>(out);
#pragma unroll
  for (int i = 0; i < 4; i++) top[i] = -INFINITY, sum[i] = 0.f;
  for (int from = 0; from < most; from += PLAIN_TILE) {
    float s[4][4];
    plain_scores<T>(s, &sh, x.q, t0, x.k, from, p.dim);
#pragma unroll
    for (int i = 0; i < 4; i++) { // a row of scores lies in 16 lanes
      int seen = seen_by(p, x.first, t0 + 4 * ty + i) - from - 4 * tx;
      float m = top[i];
#pragma unroll
      for (int j = 0; j < 4; j++) m = Max::join(m, s[i][j] = j < seen ? s[i][j] * p.scale * LOG2_E : -INFINITY);
#pragma unroll
      for (int o = 8; o > 0; o >>= 1) m = Max::join(m, __shfl_xor_sync(ALL_LANES, m, o));
      float shrink = weight(top[i], m), total = 0.f;
      top[i] = m;
#pragma unroll
      for (int j = 0; j < 4; j++) total += s[i][j] = weight(s[i][j], m);
#pragma unroll
      for (int o = 8; o > 0; o >>= 1) total += __shfl_xor_sync(ALL_LANES, total, o);
      sum[i] = sum[i] * shrink + total;
#pragma unroll
      for (int j = 0; j < 4 * C; j++) out[i][j] *= shrink;
    }
    plain_keep(&sh, s); // the barriers of plain_scores are after the last reads
    plain_gather<T, C>(out, &sh, values, x.v, from, x.col0, p.dim);
  }
#pragma unroll
  for (int i = 0; i < 4; i++) {
    int t = t0 + 4 * ty + i;
    if (p.lse && tx == 0 && x.col0 == 0 && t < p.queries)
      p.lse[((int64_t)x.b * p.heads + x.h) * p.queries + t] = (top[i] + log2f(sum[i])) * LN_2;
    sum[i] = 1.f / sum[i];
  }
  plain_put<T, C>(out, sum, head_rows<T>(p.y, p.y_row, p.queries, p.dim, x.b, x.h), p.y_row, t0, p.queries, x.col0, p.dim);
}

// plain_weights turns scores of (queries, keys), or transposed, into P, and dp into dS = P∘(dp − δ).
template <bool transposed>
DEVICE void plain_weights(float s[4][4], float dp[4][4], const AttentionArgs &p, int first, int64_t head, int t0, int s0) {
  int tx = threadIdx.x % 16, ty = threadIdx.x / 16;
#pragma unroll
  for (int i = 0; i < 4; i++)
#pragma unroll
    for (int j = 0; j < 4; j++) {
      int t = t0 + (transposed ? 4 * tx + j : 4 * ty + i), key = s0 + (transposed ? 4 * ty + i : 4 * tx + j);
      bool there = t < p.queries && key < seen_by(p, first, t);
      s[i][j] = there ? weight(s[i][j] * p.scale * LOG2_E, p.lse[head + t] * LOG2_E) : 0.f;
      dp[i][j] = there ? s[i][j] * (dp[i][j] - p.delta[head + t]) : 0.f;
    }
}

template <class T, int C> DEVICE void attend_dq_plain(const AttentionArgs &p) {
  __shared__ PlainShared sh;
  __shared__ float values[PLAIN_DEPTH][64 * C];
  PlainHead<T> x(p, blockIdx.y, blockIdx.y / (p.heads / p.kv_heads), 64 * C);
  int t0 = blockIdx.x * PLAIN_TILE, most = seen_by(p, x.first, min(t0 + PLAIN_TILE, p.queries) - 1);
  int64_t head = ((int64_t)x.b * p.heads + x.h) * p.queries;
  float dq[4][4 * C], s[4][4], dp[4][4];
  plain_clear<C>(dq);
  for (int from = 0; from < most; from += PLAIN_TILE) {
    plain_scores<T>(s, &sh, x.q, t0, x.k, from, p.dim);
    plain_scores<T>(dp, &sh, x.dy, t0, x.v, from, p.dim);
    plain_weights<false>(s, dp, p, x.first, head, t0, from);
    plain_keep(&sh, dp);
    plain_gather<T, C>(dq, &sh, values, x.k, from, x.col0, p.dim);
  }
  float scaled[4] = {p.scale, p.scale, p.scale, p.scale};
  plain_put<T, C>(dq, scaled, head_rows<T>(p.dq, p.q_row, p.queries, p.dim, x.b, x.h), p.q_row, t0, p.queries, x.col0, p.dim);
}

// blockIdx.y is a key head: the gradients of k and v sum over its query heads.
template <class T, int C> DEVICE void attend_dkv_plain(const AttentionArgs &p) {
  __shared__ PlainShared sh;
  __shared__ float values[PLAIN_DEPTH][64 * C];
  int heads = p.heads / p.kv_heads, group = blockIdx.y, s0 = blockIdx.x * PLAIN_TILE;
  float dk[4][4 * C], dv[4][4 * C], s[4][4], dp[4][4];
  plain_clear<C>(dk);
  plain_clear<C>(dv);
  for (int h = group * heads; h < (group + 1) * heads; h++) {
    PlainHead<T> x(p, h, group, 64 * C);
    int64_t head = ((int64_t)x.b * p.heads + h) * p.queries;
    for (int t0 = max(0, s0 - x.first) / PLAIN_TILE * PLAIN_TILE; t0 < p.queries; t0 += PLAIN_TILE) {
      plain_scores<T>(s, &sh, x.k, s0, x.q, t0, p.dim);
      plain_scores<T>(dp, &sh, x.v, s0, x.dy, t0, p.dim);
      plain_weights<true>(s, dp, p, x.first, head, t0, s0);
      plain_keep(&sh, s);
      plain_gather<T, C>(dv, &sh, values, x.dy, t0, x.col0, p.dim);
      __syncthreads(); // all have read the weights
      plain_keep(&sh, dp);
      plain_gather<T, C>(dk, &sh, values, x.q, t0, x.col0, p.dim);
    }
  }
  PlainHead<T> x(p, group, group, 64 * C);
  float one[4] = {1.f, 1.f, 1.f, 1.f}, scaled[4] = {p.scale, p.scale, p.scale, p.scale};
  plain_put<T, C>(dk, scaled, head_rows<T>(p.dk, p.kv_row, p.keys, p.dim, x.b, group), p.kv_row, s0, p.keys, x.col0, p.dim);
  plain_put<T, C>(dv, one, head_rows<T>(p.dv, p.kv_row, p.keys, p.dim, x.b, group), p.kv_row, s0, p.keys, x.col0, p.dim);
}

#define PLAIN_KERNELS(suffix, T, C)                                                                             \
  KERNEL(attention_plain##suffix, PLAIN_THREADS, (AttentionArgs p)) { attend_plain<T, C>(p); }                  \
  KERNEL(attention_dq_plain##suffix, PLAIN_THREADS, (AttentionArgs p)) { attend_dq_plain<T, C>(p); }            \
  KERNEL(attention_dkv_plain##suffix, PLAIN_THREADS, (AttentionArgs p)) { attend_dkv_plain<T, C>(p); }

PLAIN_KERNELS(64_f32, float, 1)
PLAIN_KERNELS(128_f32, float, 2)
PLAIN_KERNELS(64_bf16, bf16, 1)
PLAIN_KERNELS(128_bf16, bf16, 2)
