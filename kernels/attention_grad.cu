// Gradients of attention over bf16 on tensor cores (Dao, "FlashAttention-2", 2023, algorithm 2), in two kernels without
// atomics: one sums dk and dv over queries, one dq over keys; both compute the scores again. With P = exp(S − lse) and
// δ = rowsum(dy∘y) − dlse:
//
//   dv = Pᵀ·dy, dS = P∘(dy·vᵀ − δ), dq = scale·dS·k, dk = scale·dSᵀ·q
//
// 14·D FLOP per pair of query and key (five products, two of them twice); bound by tensor cores. The plain version is
// attention.go.
#include "attention_mma.cuh"
#include "runs.cuh"

// delta (B,H,T): eight lanes per row of a head, by whole packs where the head has them (W).
#define DELTA_LANES 8
template <class T, int W> DEVICE void attention_delta(const AttentionArgs &p) {
  int64_t rows = (int64_t)p.batch * p.heads * p.queries, step = index_stride() / DELTA_LANES;
  int lane = threadIdx.x % DELTA_LANES;
  for (int64_t first = (first_index() & ~31) / DELTA_LANES; first < rows; first += step) { // whole warps
    int64_t i = first + threadIdx.x % 32 / DELTA_LANES;
    float s = 0.f;
    if (i < rows) {
      int t = (int)(i % p.queries), h = (int)(i / p.queries % p.heads), b = (int)(i / p.queries / p.heads);
      const T *y = head_rows<const T>(p.y, p.y_row, p.queries, p.dim, b, h) + t * p.y_row;
      const T *dy = head_rows<const T>(p.dy, p.y_row, p.queries, p.dim, b, h) + t * p.y_row;
      for (int d = lane * W; d < p.dim; d += DELTA_LANES * W) {
        float u[W], v[W];
        load_run<W>(u, y + d);
        load_run<W>(v, dy + d);
#pragma unroll
        for (int k = 0; k < W; k++) s += u[k] * v[k];
      }
    }
#pragma unroll
    for (int o = DELTA_LANES / 2; o > 0; o >>= 1) s += __shfl_xor_sync(ALL_LANES, s, o);
    if (lane == 0 && i < rows) p.delta[i] = p.dlse ? s - p.dlse[i] : s;
  }
}

// One block per tile of 64·MT keys, key head and sequence; the queries of all heads that read it pass by in tiles of BR, multiplied STEP
// at a time. Scores are transposed, (keys, queries), so that both sums find their weights in registers.
template <int D, int MT, int BR, int STEP> DEVICE void attend_dkv(const AttentionArgs &p) {
  typedef HeadRows<D> Rows;
  const int BC = 64 * MT, NT = STEP / 8, tile = BR * Rows::pitch;
  DYN_SHARED(uint4, ks);
  uint4 *vs = ks + BC * Rows::pitch, *qs = vs + BC * Rows::pitch, *dys = qs + 2 * tile;
  float *lse = (float *)(dys + 2 * tile), *delta = lse + 2 * BR;
  int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, g = lane / 4, t = lane % 4;
  int s0 = blockIdx.x * BC, group = blockIdx.y, b = blockIdx.z, heads = p.heads / p.kv_heads;
  // Query t sees keys up to t + first: the first query that sees this tile.
  int start = max(0, s0 - p.first) / BR * BR, tiles = max(0, (p.queries - start + BR - 1) / BR), total = tiles * heads;
  HeadCopy<D>(head_rows<const bf16>(p.k, p.kv_row, p.keys, p.dim, b, group), p.kv_row, p.dim).template start<BC>(shared_address(ks), s0, p.keys);
  HeadCopy<D>(head_rows<const bf16>(p.v, p.kv_row, p.keys, p.dim, b, group), p.kv_row, p.dim).template start<BC>(shared_address(vs), s0, p.keys);
  shared_at to_q = shared_address(qs), to_dy = shared_address(dys), warp_rows = warp * 16 * MT * Rows::pitch * 16;
  shared_at lane_k = Rows::lane_a(ks) + warp_rows, lane_v = Rows::lane_a(vs) + warp_rows;
  shared_at q_along = Rows::lane_b(qs), q_down = Rows::lane_a(qs), dy_along = Rows::lane_b(dys), dy_down = Rows::lane_a(dys);
  int head = group * heads; // of the tile that is brought next, which starts at query `coming`
  int coming = start;
  HeadCopy<D> copy_q(head_rows<const bf16>(p.q, p.q_row, p.queries, p.dim, b, head), p.q_row, p.dim);
  HeadCopy<D> copy_dy(head_rows<const bf16>(p.dy, p.y_row, p.queries, p.dim, b, head), p.y_row, p.dim);
  const float *of_lse = p.lse + ((int64_t)b * p.heads + head) * p.queries, *of_delta = p.delta + ((int64_t)b * p.heads + head) * p.queries;

  // BRING starts copies of the next tile of the queries to stage i, and reads its statistics.
#define BRING(i)                                                                                    \
  do {                                                                                              \
    copy_q.template start<BR>(to_q + (i) * tile * 16, coming, p.queries);                           \
    copy_dy.template start<BR>(to_dy + (i) * tile * 16, coming, p.queries);                         \
    if (threadIdx.x < BR) {                                                                         \
      int t_ = coming + threadIdx.x;                                                                \
      lse[(i) * BR + threadIdx.x] = t_ < p.queries ? of_lse[t_] * LOG2_E : 0.f;                     \
      delta[(i) * BR + threadIdx.x] = t_ < p.queries ? of_delta[t_] : 0.f;                          \
    }                                                                                               \
    coming += BR;                                                                                   \
    if (coming >= p.queries) { /* on to the next head */                                            \
      coming = start;                                                                               \
      copy_q.x += p.dim, copy_dy.x += p.dim, of_lse += p.queries, of_delta += p.queries;            \
    }                                                                                               \
  } while (0)

  if (total > 0) BRING(0);
  copy_async_commit();
  float dk[MT][D / 8][4], dv[MT][D / 8][4], scale = p.scale * LOG2_E;
  zero(dk);
  zero(dv);
  for (int i = 0, t0 = start; i < total; i++, t0 = t0 + BR < p.queries ? t0 + BR : start) {
    copy_async_wait<0>();
    __syncthreads(); // tile i is there; the other one has been read by all
    if (i + 1 < total) BRING((i + 1) & 1);
    copy_async_commit();
    const shared_at stage = (i & 1) * tile * 16;
    bool masked = t0 + BR > p.queries || seen_by(p, p.first, t0) < s0 + BC;
#pragma unroll
    for (int part = 0; part < BR; part += STEP) {
      const float *l = lse + (i & 1) * BR + part, *d = delta + (i & 1) * BR + part;
      float s[MT][NT][4], dp[MT][NT][4];
      scores<D, MT, NT>(s, lane_k, Rows::at(q_along + stage, part, 0));
#pragma unroll
      for (int j = 0; j < NT; j++)
#pragma unroll
        for (int c = 0; c < 2; c++) {
          float high = l[8 * j + 2 * t + c];
#pragma unroll
          for (int m = 0; m < MT; m++)
#pragma unroll
            for (int r = 0; r < 2; r++) s[m][j][2 * r + c] = exp2_approx(fmaf(s[m][j][2 * r + c], scale, -high));
        }
      if (masked) { // one branch: what is on both sides of it cannot be mixed
#pragma unroll
        for (int j = 0; j < NT; j++)
#pragma unroll
          for (int c = 0; c < 2; c++) {
            int query = t0 + part + 8 * j + 2 * t + c;
            int seen = query < p.queries ? seen_by(p, p.first, query) - s0 - warp * 16 * MT - g : -BC;
#pragma unroll
            for (int m = 0; m < MT; m++)
#pragma unroll
              for (int r = 0; r < 2; r++)
                if (16 * m + 8 * r >= seen) s[m][j][2 * r + c] = 0.f;
          }
      }
      gather<D, MT, NT>(dv, s, Rows::at(dy_down + stage, part, 0));
      scores<D, MT, NT>(dp, lane_v, Rows::at(dy_along + stage, part, 0));
#pragma unroll
      for (int j = 0; j < NT; j++)
#pragma unroll
        for (int c = 0; c < 4; c++)
#pragma unroll
          for (int m = 0; m < MT; m++) s[m][j][c] *= dp[m][j][c] - d[8 * j + 2 * t + c % 2];
      gather<D, MT, NT>(dk, s, Rows::at(q_down + stage, part, 0));
    }
  }
#undef BRING
  copy_async_wait<0>();
  __syncthreads(); // where there was no query, the copies of k and v are still on their way into what put uses
  float one[MT][2], scaled[MT][2];
#pragma unroll
  for (int m = 0; m < MT; m++) one[m][0] = one[m][1] = 1.f, scaled[m][0] = scaled[m][1] = p.scale;
  put<D, MT>(dk, scaled, ks, warp * 16 * MT, head_rows<bf16>(p.dk, p.kv_row, p.keys, p.dim, b, group), p.kv_row, s0, p.keys, p.dim);
  put<D, MT>(dv, one, vs, warp * 16 * MT, head_rows<bf16>(p.dv, p.kv_row, p.keys, p.dim, b, group), p.kv_row, s0, p.keys, p.dim);
}

// One block per tile of 64·MT queries, head and sequence; keys pass by in tiles of BC.
template <int D, int MT, int BC> DEVICE void attend_dq(const AttentionArgs &p) {
  typedef HeadRows<D> Rows;
  const int BR = 64 * MT, NT = BC / 8, tile = BC * Rows::pitch;
  DYN_SHARED(uint4, qs);
  uint4 *dys = qs + BR * Rows::pitch, *ks = dys + BR * Rows::pitch, *vs = ks + 2 * tile;
  int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, g = lane / 4, t = lane % 4;
  int h = blockIdx.y, b = blockIdx.z, t0 = (gridDim.x - 1 - blockIdx.x) * BR, row0 = t0 + warp * 16 * MT + g;
  int group = h / (p.heads / p.kv_heads);
  const bf16 *k = head_rows<const bf16>(p.k, p.kv_row, p.keys, p.dim, b, group);
  const bf16 *v = head_rows<const bf16>(p.v, p.kv_row, p.keys, p.dim, b, group);
  int most = seen_by(p, p.first, min(t0 + BR, p.queries) - 1), least = seen_by(p, p.first, t0);
  HeadCopy<D> copy_k(k, p.kv_row, p.dim), copy_v(v, p.kv_row, p.dim);
  shared_at to_k = shared_address(ks), to_v = shared_address(vs), warp_rows = warp * 16 * MT * Rows::pitch * 16;
  shared_at lane_q = Rows::lane_a(qs) + warp_rows, lane_dy = Rows::lane_a(dys) + warp_rows;
  shared_at k_along = Rows::lane_b(ks), k_down = Rows::lane_a(ks), v_along = Rows::lane_b(vs);
  HeadCopy<D>(head_rows<const bf16>(p.q, p.q_row, p.queries, p.dim, b, h), p.q_row, p.dim).template start<BR>(shared_address(qs), t0, p.queries);
  HeadCopy<D>(head_rows<const bf16>(p.dy, p.y_row, p.queries, p.dim, b, h), p.y_row, p.dim).template start<BR>(shared_address(dys), t0, p.queries);
  copy_k.template start<BC>(to_k, 0, most);
  copy_v.template start<BC>(to_v, 0, most);
  copy_async_commit();
  float dq[MT][D / 8][4], lse[MT][2], delta[MT][2], scale = p.scale * LOG2_E;
  zero(dq);
#pragma unroll
  for (int i = 0; i < MT; i++)
#pragma unroll
    for (int r = 0; r < 2; r++) {
      int row = row0 + 16 * i + 8 * r;
      int64_t at = ((int64_t)b * p.heads + h) * p.queries + row;
      lse[i][r] = row < p.queries ? p.lse[at] * LOG2_E : 0.f;
      delta[i][r] = row < p.queries ? p.delta[at] : 0.f;
    }
  for (int from = 0, at = 0; from < most; from += BC, at ^= tile * 16) {
    copy_async_wait<0>();
    __syncthreads(); // this tile is there; the other one has been read by all
    if (from + BC < most) {
      copy_k.template start<BC>(to_k + (at ^ tile * 16), from + BC, most);
      copy_v.template start<BC>(to_v + (at ^ tile * 16), from + BC, most);
    }
    copy_async_commit();
    float s[MT][NT][4], dp[MT][NT][4];
    scores<D, MT, NT>(s, lane_q, k_along + at);
    scores<D, MT, NT>(dp, lane_dy, v_along + at);
#pragma unroll
    for (int i = 0; i < MT; i++)
#pragma unroll
      for (int r = 0; r < 2; r++) {
#pragma unroll
        for (int j = 0; j < NT; j++)
#pragma unroll
          for (int c = 0; c < 2; c++)
            s[i][j][2 * r + c] = exp2_approx(fmaf(s[i][j][2 * r + c], scale, -lse[i][r])) * (dp[i][j][2 * r + c] - delta[i][r]);
      }
    if (from + BC > least) {
#pragma unroll
      for (int i = 0; i < MT; i++)
#pragma unroll
        for (int r = 0; r < 2; r++) {
          int seen = seen_by(p, p.first, row0 + 16 * i + 8 * r) - from - 2 * t;
#pragma unroll
          for (int j = 0; j < NT; j++)
#pragma unroll
            for (int c = 0; c < 2; c++)
              if (8 * j + c >= seen) s[i][j][2 * r + c] = 0.f;
        }
    }
    gather<D, MT, NT>(dq, s, k_down + at);
  }
  float scaled[MT][2];
#pragma unroll
  for (int i = 0; i < MT; i++) scaled[i][0] = scaled[i][1] = p.scale;
  put<D, MT>(dq, scaled, qs, warp * 16 * MT, head_rows<bf16>(p.dq, p.q_row, p.queries, p.dim, b, h), p.q_row, t0, p.queries, p.dim);
}

#define ATTENTION_DELTA(suffix, T)                              \
  KERNEL(attention_delta_##suffix, 256, (AttentionArgs p)) {    \
    if (p.dim % Pack<T>::n)                                     \
      attention_delta<T, 1>(p);                                 \
    else                                                        \
      attention_delta<T, Pack<T>::n>(p);                        \
  }
ATTENTION_DELTA(f32, float)
ATTENTION_DELTA(bf16, bf16)

// The tiles are those of attentionTiles in attention_cuda.go.
#define ATTENTION_GRAD(D, MT, BR, STEP, MQ, BC)                                                         \
  KERNEL(attention_dkv_bf16_##D, ATTENTION_THREADS, (AttentionArgs p)) { attend_dkv<D, MT, BR, STEP>(p); } \
  KERNEL(attention_dq_bf16_##D, ATTENTION_THREADS, (AttentionArgs p)) { attend_dq<D, MQ, BC>(p); }

ATTENTION_GRAD(32, 2, 32, 32, 2, 32)
ATTENTION_GRAD(64, 2, 32, 16, 2, 32)
ATTENTION_GRAD(80, 1, 32, 32, 2, 32)
ATTENTION_GRAD(96, 1, 32, 32, 2, 32)
ATTENTION_GRAD(128, 1, 32, 32, 1, 32)
