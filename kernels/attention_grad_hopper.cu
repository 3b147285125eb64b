// Gradients of attention over bf16 by wgmma, for compute capability 9.0: the algorithm and the contract of attention_grad.cu, which
// also computes delta. Per pair of query and key a multiprocessor takes 7·D/2048 cycles for products and 2/16 for exponentials, on
// other units.
#include "attention_wgmma.cuh"

// One block per tile of 128 keys, 64 per warpgroup, key head and sequence; the queries of all heads that read it pass by in tiles of
// BR, multiplied STEP at a time. Scores are transposed, (keys, queries), so that both sums find their weights in registers.
template <int D, int BR, int STEP> DEVICE void attend_dkv(const AttentionArgs &p) {
  const int BC = 128;
  typedef Panels<D, BC> Keys;
  typedef Panels<D, BR> Queries;
  DYN_SHARED(unsigned char, dynamic);
  unsigned char *memory = panel_memory(dynamic);
  const shared_at k_tile = shared_address(memory), v_tile = k_tile + Keys::bytes, stages = v_tile + Keys::bytes;
  float *lse = (float *)(memory + 2 * Keys::bytes + 4 * Queries::bytes), *delta = lse + 2 * BR;
  int lane = threadIdx.x & 31, g = lane / 4, t = lane % 4, group = warpgroup(), r0 = threadIdx.x / 32 * 16;
  int s0 = blockIdx.x * BC, kv = blockIdx.y, b = blockIdx.z, heads = p.heads / p.kv_heads;
  // Query t sees keys up to t + first: the first query that sees this tile.
  int start = max(0, s0 - p.first) / BR * BR, total = max(0, (p.queries - start + BR - 1) / BR) * heads;
  PanelCopy<D>(head_rows<const bf16>(p.k, p.kv_row, p.keys, p.dim, b, kv), p.kv_row, p.dim, s0, p.keys).template start<BC>(k_tile);
  PanelCopy<D>(head_rows<const bf16>(p.v, p.kv_row, p.keys, p.dim, b, kv), p.kv_row, p.dim, s0, p.keys).template start<BC>(v_tile);
  const wgmma_matrix k = Keys::rows(k_tile, 64 * group), v = Keys::rows(v_tile, 64 * group);
  int head = kv * heads, coming = start; // of the tile that is brought next
  PanelCopy<D> copy_q(head_rows<const bf16>(p.q, p.q_row, p.queries, p.dim, b, head), p.q_row, p.dim, start, p.queries);
  PanelCopy<D> copy_dy(head_rows<const bf16>(p.dy, p.y_row, p.queries, p.dim, b, head), p.y_row, p.dim, start, p.queries);

  // BRING starts copies of the next tile of the queries to stage i, and reads its statistics.
#define BRING(i)                                                                                             \
  do {                                                                                                       \
    copy_q.template start<BR>(stages + (i) * 2 * Queries::bytes);                                            \
    copy_dy.template start<BR>(stages + (i) * 2 * Queries::bytes + Queries::bytes);                          \
    if (threadIdx.x < BR) {                                                                                  \
      int t_ = coming + threadIdx.x;                                                                         \
      int64_t at_ = ((int64_t)b * p.heads + head) * p.queries + t_;                                          \
      lse[(i) * BR + threadIdx.x] = t_ < p.queries ? p.lse[at_] * LOG2_E : 0.f;                              \
      delta[(i) * BR + threadIdx.x] = t_ < p.queries ? p.delta[at_] : 0.f;                                   \
    }                                                                                                        \
    coming += BR;                                                                                            \
    if (coming >= p.queries && ++head < p.heads) { /* on to the next head */                                 \
      coming = start;                                                                                        \
      copy_q.seek(head_rows<const bf16>(p.q, p.q_row, p.queries, p.dim, b, head), p.dim, start, p.queries);  \
      copy_dy.seek(head_rows<const bf16>(p.dy, p.y_row, p.queries, p.dim, b, head), p.dim, start, p.queries); \
    }                                                                                                        \
  } while (0)

  if (total > 0) BRING(0);
  copy_async_commit();
  float dk[D / 2], dv[D / 2], s[STEP / 2], dp[STEP / 2], scale = p.scale * LOG2_E;
  unsigned w[STEP / 16][4], u[STEP / 16][4];
  zero(dk);
  zero(dv);
  for (int i = 0, t0 = start; i < total; i++, t0 = t0 + BR < p.queries ? t0 + BR : start) {
    copy_async_wait<0>();
    fence_async();
    __syncthreads(); // tile i is there; the other one has been read by all
    if (i + 1 < total) BRING((i + 1) & 1);
    copy_async_commit();
    if (seen_by(p, p.first, min(t0 + BR, p.queries) - 1) <= s0 + 64 * group) continue; // masked for all of this warpgroup
    const shared_at stage = stages + (i & 1) * 2 * Queries::bytes;
    bool masked = t0 + BR > p.queries || seen_by(p, p.first, t0) < s0 + 64 * group + 64;
#pragma unroll
    for (int part = 0; part < BR; part += STEP) {
      const float *l = lse + (i & 1) * BR + part, *d = delta + (i & 1) * BR + part;
      const wgmma_matrix q = Queries::rows(stage, part), dy = Queries::rows(stage + Queries::bytes, part);
      wgmma_fence();
      scores<D, STEP, BC, BR>(s, k, q);
      wgmma_commit();
      scores<D, STEP, BC, BR>(dp, v, dy);
      wgmma_commit();
      wgmma_wait<1>(s);
#pragma unroll
      for (int j = 0; j < STEP / 8; j++) {
        const float2 high = *(const float2 *)(l + 8 * j + 2 * t); // of two queries
#pragma unroll
        for (int c = 0; c < 4; c++) s[4 * j + c] = exp2_approx(fmaf(s[4 * j + c], scale, c % 2 ? -high.y : -high.x));
      }
      if (masked) { // one branch: what is on both sides of it cannot be mixed
#pragma unroll
        for (int j = 0; j < STEP / 8; j++)
#pragma unroll
          for (int c = 0; c < 2; c++) {
            int query = t0 + part + 8 * j + 2 * t + c;
            int seen = (query < p.queries ? query + p.first + 1 : 0) - s0 - r0 - g; // keys beyond the last are not stored
#pragma unroll
            for (int r = 0; r < 2; r++)
              if (8 * r >= seen) s[4 * j + 2 * r + c] = 0.f;
          }
      }
      factors<STEP>(w, s);
      wgmma_fence();
      gather<D, STEP, BR>(dv, w, Queries::columns(stage + Queries::bytes, part));
      wgmma_commit();
      wgmma_wait<1>(dp);
#pragma unroll
      for (int j = 0; j < STEP / 8; j++) {
        const float2 less = *(const float2 *)(d + 8 * j + 2 * t);
#pragma unroll
        for (int c = 0; c < 4; c++) s[4 * j + c] *= dp[4 * j + c] - (c % 2 ? less.y : less.x);
      }
      factors<STEP>(u, s);
      wgmma_fence();
      gather<D, STEP, BR>(dk, u, Queries::columns(stage, part));
      wgmma_commit();
      wgmma_wait<0>(dk, dv);
    }
  }
#undef BRING
  copy_async_wait<0>();
  __syncthreads(); // where there was no query, the copies of k and v are still on their way into what put uses
  put<D, BC>(dk, p.scale, p.scale, memory, r0, head_rows<bf16>(p.dk, p.kv_row, p.keys, p.dim, b, kv), p.kv_row, s0, p.keys, p.dim);
  put<D, BC>(dv, 1.f, 1.f, memory + Keys::bytes, r0, head_rows<bf16>(p.dv, p.kv_row, p.keys, p.dim, b, kv), p.kv_row, s0, p.keys, p.dim);
}

// One block per tile of 128 queries, 64 per warpgroup, head and sequence; keys pass by in tiles of BC.
template <int D, int BC> DEVICE void attend_dq(const AttentionArgs &p) {
  const int BR = 128;
  typedef Panels<D, BR> Queries;
  typedef Panels<D, BC> Keys;
  DYN_SHARED(unsigned char, dynamic);
  unsigned char *memory = panel_memory(dynamic);
  const shared_at q_tile = shared_address(memory), dy_tile = q_tile + Queries::bytes, k_tiles = dy_tile + Queries::bytes, v_tiles = k_tiles + 2 * Keys::bytes;
  int lane = threadIdx.x & 31, g = lane / 4, group = warpgroup(), r0 = threadIdx.x / 32 * 16;
  int h = blockIdx.y, b = blockIdx.z, t0 = (gridDim.x - 1 - blockIdx.x) * BR, row0 = t0 + r0 + g;
  int kv = h / (p.heads / p.kv_heads);
  // Keys that a query of the block sees, one of this warpgroup, and all of this warpgroup.
  int most = seen_by(p, p.first, min(t0 + BR, p.queries) - 1), mine = seen_by(p, p.first, min(t0 + 64 * group + 64, p.queries) - 1);
  int least = seen_by(p, p.first, t0 + 64 * group);
  PanelCopy<D>(head_rows<const bf16>(p.q, p.q_row, p.queries, p.dim, b, h), p.q_row, p.dim, t0, p.queries).template start<BR>(q_tile);
  PanelCopy<D>(head_rows<const bf16>(p.dy, p.y_row, p.queries, p.dim, b, h), p.y_row, p.dim, t0, p.queries).template start<BR>(dy_tile);
  PanelCopy<D> copy(head_rows<const bf16>(p.k, p.kv_row, p.keys, p.dim, b, kv), p.kv_row, p.dim, 0, most);
  const int64_t apart = (const bf16 *)p.v - (const bf16 *)p.k;
  copy.template start<BC>(k_tiles, apart, v_tiles - k_tiles);
  copy_async_commit();
  const wgmma_matrix q = Queries::rows(q_tile, 64 * group), dy = Queries::rows(dy_tile, 64 * group);
  float dq[D / 2], lse[2], delta[2], s[BC / 2], dp[BC / 2], scale = p.scale * LOG2_E;
  unsigned w[BC / 16][4];
  zero(dq);
#pragma unroll
  for (int r = 0; r < 2; r++) {
    int row = row0 + 8 * r;
    int64_t at = ((int64_t)b * p.heads + h) * p.queries + row;
    lse[r] = row < p.queries ? p.lse[at] * LOG2_E : 0.f;
    delta[r] = row < p.queries ? p.delta[at] : 0.f;
  }
  for (int from = 0, stage = 0; from < most; from += BC, stage ^= 1) {
    copy_async_wait<0>();
    fence_async();
    __syncthreads(); // this tile is there; the other one has been read by all
    if (from + BC < most) copy.template start<BC>(k_tiles + (stage ^ 1) * Keys::bytes, apart, v_tiles - k_tiles);
    copy_async_commit();
    if (from >= mine) continue; // masked for all of this warpgroup
    const wgmma_matrix k = Keys::rows(k_tiles + stage * Keys::bytes, 0), v = Keys::rows(v_tiles + stage * Keys::bytes, 0);
    wgmma_fence();
    scores<D, BC, BR, BC>(s, q, k);
    wgmma_commit();
    scores<D, BC, BR, BC>(dp, dy, v);
    wgmma_commit();
    wgmma_wait<1>(s);
#pragma unroll
    for (int j = 0; j < BC / 8; j++)
#pragma unroll
      for (int c = 0; c < 4; c++) s[4 * j + c] = exp2_approx(fmaf(s[4 * j + c], scale, -lse[c / 2]));
    if (from + BC > least) hide<BC>(s, p, row0, from, 0.f);
    wgmma_wait<0>(dp);
#pragma unroll
    for (int j = 0; j < BC / 8; j++)
#pragma unroll
      for (int c = 0; c < 4; c++) s[4 * j + c] *= dp[4 * j + c] - delta[c / 2];
    factors<BC>(w, s);
    wgmma_fence();
    gather<D, BC, BC>(dq, w, Keys::columns(k_tiles + stage * Keys::bytes, 0));
    wgmma_commit();
    wgmma_wait<0>(dq);
  }
  __syncthreads(); // the queries have been read by all
  put<D, BR>(dq, p.scale, p.scale, memory, r0, head_rows<bf16>(p.dq, p.q_row, p.queries, p.dim, b, h), p.q_row, t0, p.queries, p.dim);
}

// The tiles are those of hopperTiles in attention_cuda.go.
KERNEL_BLOCKS(attention_dkv_hopper_64, HOPPER_THREADS, 2, (AttentionArgs p)) { attend_dkv<64, 64, 32>(p); }
KERNEL_BLOCKS(attention_dkv_hopper_128, HOPPER_THREADS, 1, (AttentionArgs p)) { attend_dkv<128, 64, 64>(p); }
KERNEL_BLOCKS(attention_dq_hopper_64, HOPPER_THREADS, 2, (AttentionArgs p)) { attend_dq<64, 64>(p); }
KERNEL_BLOCKS(attention_dq_hopper_128, HOPPER_THREADS, 2, (AttentionArgs p)) { attend_dq<128, 32>(p); }
