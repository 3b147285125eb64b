// Attention over bf16 on tensor cores, without storing scores (Dao, "FlashAttention-2", 2023, algorithm 1):
// y = softmax(scale·q·kᵀ)·v and lse, for scale > 0. The plain version is attention.go; other types and head sizes: attention_plain.cu.
//
// 4·D FLOP per pair of query and key; a block of 128 queries reads each key once: 2·128 FLOP per byte of k and v, so it is
// bound by tensor cores and exponentials (one per 4·D FLOP), not by memory. Work on 32 rows per warp halves the
// reads of shared memory per product.
#include "attention_mma.cuh"

// One block per tile of 64·MT queries, head and sequence; keys pass by in tiles of BC. Long rows of a causal mask go first.
template <int D, int MT, int BC> DEVICE void attend(const AttentionArgs &p) {
  typedef HeadRows<D> Rows;
  const int BR = 64 * MT, NT = BC / 8, tile = BC * Rows::pitch;
  DYN_SHARED(uint4, qs);
  uint4 *ks = qs + BR * Rows::pitch, *vs = ks + 2 * tile;
  int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, g = lane / 4, t = lane % 4;
  int h = blockIdx.y, b = blockIdx.z, t0 = (gridDim.x - 1 - blockIdx.x) * BR, row0 = t0 + warp * 16 * MT + g;
  int group = h / (p.heads / p.kv_heads), first = first_of(p, b);
  const bf16 *k = head_rows<const bf16>(p.k, p.kv_row, p.keys, p.dim, b, group);
  const bf16 *v = head_rows<const bf16>(p.v, p.kv_row, p.keys, p.dim, b, group);
  int most = seen_by(p, first, min(t0 + BR, p.queries) - 1), least = seen_by(p, first, t0);
  HeadCopy<D> copy_k(k, p.kv_row, p.dim), copy_v(v, p.kv_row, p.dim);
  shared_at to_k = shared_address(ks), to_v = shared_address(vs), lane_q = Rows::lane_a(qs) + warp * 16 * MT * Rows::pitch * 16;
  shared_at lane_k = Rows::lane_b(ks), lane_v = Rows::lane_a(vs);
  HeadCopy<D>(head_rows<const bf16>(p.q, p.q_row, p.queries, p.dim, b, h), p.q_row, p.dim).template start<BR>(shared_address(qs), t0, p.queries);
  copy_k.template start<BC>(to_k, 0, most);
  copy_v.template start<BC>(to_v, 0, most);
  copy_async_commit();

  float out[MT][D / 8][4], top[MT][2], sum[MT][2], scale = p.scale * LOG2_E;
  zero(out);
#pragma unroll
  for (int i = 0; i < MT; i++)
#pragma unroll
    for (int r = 0; r < 2; r++) top[i][r] = -INFINITY, sum[i][r] = 0.f;
  for (int from = 0, at = 0; from < most; from += BC, at ^= tile * 16) {
    copy_async_wait<0>();
    __syncthreads(); // this tile is there; the other one has been read by all
    if (from + BC < most) {
      copy_k.template start<BC>(to_k + (at ^ tile * 16), from + BC, most);
      copy_v.template start<BC>(to_v + (at ^ tile * 16), from + BC, most);
    }
    copy_async_commit();
    float s[MT][NT][4];
    scores<D, MT, NT>(s, lane_q, lane_k + at);
    if (from + BC > least) { // one branch: what is on both sides of it cannot be mixed
#pragma unroll
      for (int i = 0; i < MT; i++)
#pragma unroll
        for (int r = 0; r < 2; r++) {
          int seen = seen_by(p, first, row0 + 16 * i + 8 * r) - from - 2 * t;
#pragma unroll
          for (int j = 0; j < NT; j++)
#pragma unroll
            for (int c = 0; c < 2; c++)
              if (8 * j + c >= seen) s[i][j][2 * r + c] = -INFINITY;
        }
    }
#pragma unroll
    for (int i = 0; i < MT; i++)
#pragma unroll
      for (int r = 0; r < 2; r++) {
        // One row of scores lies in the four lanes of a quad.
        float m = top[i][r]; // of bare scores; a NaN among them still spoils the sum
#pragma unroll
        for (int j = 0; j < NT; j++) m = fmaxf(m, fmaxf(s[i][j][2 * r], s[i][j][2 * r + 1]));
        m = fmaxf(m, __shfl_xor_sync(ALL_LANES, m, 1));
        m = fmaxf(m, __shfl_xor_sync(ALL_LANES, m, 2));
        float shrink = exp2_approx((top[i][r] - m) * scale), total = 0.f, high = m * scale;
        top[i][r] = m;
#pragma unroll
        for (int j = 0; j < NT; j++)
#pragma unroll
          for (int c = 0; c < 2; c++) total += s[i][j][2 * r + c] = exp2_approx(fmaf(s[i][j][2 * r + c], scale, -high));
        sum[i][r] = sum[i][r] * shrink + total;
#pragma unroll
        for (int j = 0; j < D / 8; j++) out[i][j][2 * r] *= shrink, out[i][j][2 * r + 1] *= shrink;
      }
    gather<D, MT, NT>(out, s, lane_v + at);
  }

#pragma unroll
  for (int i = 0; i < MT; i++)
#pragma unroll
    for (int r = 0; r < 2; r++) {
      float l = sum[i][r];
      l += __shfl_xor_sync(ALL_LANES, l, 1);
      l += __shfl_xor_sync(ALL_LANES, l, 2);
      int at = row0 + 16 * i + 8 * r;
      if (p.lse && t == 0 && at < p.queries) p.lse[((int64_t)b * p.heads + h) * p.queries + at] = (top[i][r] * scale + log2f(l)) * LN_2;
      sum[i][r] = 1.f / l;
    }
  put<D, MT>(out, sum, qs, warp * 16 * MT, head_rows<bf16>(p.y, p.y_row, p.queries, p.dim, b, h), p.y_row, t0, p.queries, p.dim);
}

// The tiles are those of deviceAttention in attention_cuda.go.
KERNEL(attention_bf16_32, ATTENTION_THREADS, (AttentionArgs p)) { attend<32, 2, 64>(p); }
KERNEL(attention_bf16_64, ATTENTION_THREADS, (AttentionArgs p)) { attend<64, 2, 64>(p); }
KERNEL(attention_bf16_80, ATTENTION_THREADS, (AttentionArgs p)) { attend<80, 2, 32>(p); }
KERNEL(attention_bf16_96, ATTENTION_THREADS, (AttentionArgs p)) { attend<96, 2, 32>(p); }
KERNEL(attention_bf16_128, ATTENTION_THREADS, (AttentionArgs p)) { attend<128, 2, 32>(p); }
