// Attention over bf16 by wgmma, for compute capability 9.0: the algorithm and the contract of attention.cu. Per pair of query
// and key a multiprocessor takes D/1024 cycles for products and 1/16 for the exponential, on other units: at D = 64 both take the same, and what
// overlaps them is that two blocks of two warpgroups share a multiprocessor.
#include "attention_wgmma.cuh"

// One block per tile of 128 queries, head and sequence, 64 per warpgroup; keys pass by in tiles of BC. Long rows of a causal mask go
// first.
template <int D, int BC, int PIECE> DEVICE void attend(const AttentionArgs &p) {
  const int BR = 128;
  typedef Panels<D, BR> Queries;
  typedef Panels<D, BC> Keys;
  DYN_SHARED(unsigned char, dynamic);
  unsigned char *memory = panel_memory(dynamic);
  const shared_at q_tile = shared_address(memory), k_tiles = q_tile + Queries::bytes, v_tiles = k_tiles + 2 * Keys::bytes;
  int lane = threadIdx.x & 31, g = lane / 4, t = lane % 4, group = warpgroup(), r0 = threadIdx.x / 32 * 16;
  int h = blockIdx.y, b = blockIdx.z, t0 = (gridDim.x - 1 - blockIdx.x) * BR, row0 = t0 + r0 + g;
  int kv = h / (p.heads / p.kv_heads);
  // Keys that a query of the block sees, one of this warpgroup, and all of this warpgroup.
  int most = seen_by(p, p.first, min(t0 + BR, p.queries) - 1), mine = seen_by(p, p.first, min(t0 + 64 * group + 64, p.queries) - 1);
  int least = seen_by(p, p.first, t0 + 64 * group);
  PanelCopy<D>(head_rows<const bf16>(p.q, p.q_row, p.queries, p.dim, b, h), p.q_row, p.dim, t0, p.queries).template start<BR>(q_tile);
  copy_async_commit();
  PanelCopy<D> copy(head_rows<const bf16>(p.k, p.kv_row, p.keys, p.dim, b, kv), p.kv_row, p.dim, 0, most);
  const int64_t apart = (const bf16 *)p.v - (const bf16 *)p.k;
  copy.template start<BC>(k_tiles, apart, v_tiles - k_tiles);
  copy_async_commit();
  // The queries of a head of 64 stay in registers: a product that reads all it needs from shared memory is held up by it.
  const bool held = D == 64;
  const wgmma_matrix q = Queries::rows(q_tile, 64 * group);
  unsigned queries[D / 16][4];
  if (held) {
    copy_async_wait<1>();
    __syncthreads();
    hold<D, BR>(queries, q_tile, r0);
  }

  float out[D / 2], top[2] = {-INFINITY, -INFINITY}, sum[2] = {0.f, 0.f}, scale = p.scale * LOG2_E, s[BC / 2];
  unsigned w[BC / 16][4];
  zero(out);
  for (int from = 0; from < most; from += BC) {
    const int stage = from / BC % 2;
    copy_async_wait<0>();
    fence_async();
    __syncthreads(); // this tile is there; the other one has been read by all
    if (from + BC < most) copy.template start<BC>(k_tiles + (stage ^ 1) * Keys::bytes, apart, v_tiles - k_tiles);
    copy_async_commit();
    if (from >= mine) continue; // masked for all of this warpgroup
    wgmma_fence();
    const wgmma_matrix k = Keys::rows(k_tiles + stage * Keys::bytes, 0);
    if (held)
      scores<D, BC, BC>(s, queries, k);
    else
      scores<D, BC, BR, BC>(s, q, k);
    wgmma_commit();
    wgmma_wait<0>(s);
    if (from + BC > least) hide<BC>(s, p, row0, from, -INFINITY);
    float high[2];
#pragma unroll
    for (int r = 0; r < 2; r++) {
      // One row of scores lies in the four lanes of a quad.
      float m = top[r]; // of bare scores; a NaN among them still spoils the sum
#pragma unroll
      for (int j = 0; j < BC / 8; j++) m = fmaxf(m, fmaxf(s[4 * j + 2 * r], s[4 * j + 2 * r + 1]));
      m = fmaxf(m, __shfl_xor_sync(ALL_LANES, m, 1));
      m = fmaxf(m, __shfl_xor_sync(ALL_LANES, m, 2));
      float shrink = exp2_approx((top[r] - m) * scale);
      high[r] = m * scale;
      top[r] = m;
      sum[r] *= shrink;
#pragma unroll
      for (int j = 0; j < D / 8; j++) out[4 * j + 2 * r] *= shrink, out[4 * j + 2 * r + 1] *= shrink;
    }
    // Weights of one piece of the keys are multiplied while those of the next are computed.
    const wgmma_matrix v = Keys::columns(v_tiles + stage * Keys::bytes, 0);
#pragma unroll
    for (int piece = 0; piece < BC; piece += PIECE) {
#pragma unroll
      for (int j = piece / 2; j < (piece + PIECE) / 2; j++) sum[j / 2 % 2] += s[j] = exp2_approx(fmaf(s[j], scale, -high[j / 2 % 2]));
      factors<PIECE>(w + piece / 16, s + piece / 2);
      wgmma_fence();
      gather<D, PIECE, BC>(out, w + piece / 16, v + Keys::down(piece));
      wgmma_commit();
    }
    wgmma_wait<0>(out);
  }

#pragma unroll
  for (int r = 0; r < 2; r++) {
    float l = sum[r];
    l += __shfl_xor_sync(ALL_LANES, l, 1);
    l += __shfl_xor_sync(ALL_LANES, l, 2);
    int at = row0 + 8 * r;
    if (p.lse && t == 0 && at < p.queries) p.lse[((int64_t)b * p.heads + h) * p.queries + at] = (top[r] * scale + log2f(l)) * LN_2;
    sum[r] = 1.f / l;
  }
  __syncthreads(); // the queries have been read by all
  put<D, BR>(out, sum[0], sum[1], memory, r0, head_rows<bf16>(p.y, p.y_row, p.queries, p.dim, b, h), p.y_row, t0, p.queries, p.dim);
}

// The tiles are those of hopperTiles in attention_cuda.go.
KERNEL_BLOCKS(attention_hopper_64, HOPPER_THREADS, 2, (AttentionArgs p)) { attend<64, 64, 32>(p); }
KERNEL_BLOCKS(attention_hopper_128, HOPPER_THREADS, 2, (AttentionArgs p)) { attend<128, 64, 32>(p); }
