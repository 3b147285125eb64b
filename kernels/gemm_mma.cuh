// Tiles of a product on tensor cores: C (BM,128) += A (BM,32·steps) · B, by 256 threads as 2×4 warps of (BM/2,32),
// with mma.m16n8k16. Panels of A and B lie in shared memory in four stages, filled by asynchronous copies while
// earlier ones are multiplied. BM = 32·MT.
//
// Per 32 steps of k a block of 128×128 reads 16 KB and does 2·128·128·32 = 1.05 MFLOP: 64 FLOP per byte of L2 or memory,
// about twice what keeps tensor cores busy from L2. Per warp and k16: 6 ldmatrix for 16 mma.
#pragma once
#include "epilogue.cuh"
#include "mma.cuh"

#define GEMM_THREADS 256
#define GEMM_BN 128
#define MMA_BK 32
#define MMA_STAGES 4

// A panel holds R rows (of A, or columns of B) by 32 of k, as bf16 in chunks of 8. Stored along k it is [R][32], else
// [32][R]; chunks are swizzled so that the 8 rows of a matrix that ldmatrix reads fall on different banks.
template <int R, bool along_k> struct MmaPanel {
  static const int chunks = R * MMA_BK / 8, per_thread = chunks / GEMM_THREADS;

  // slot is the place of a chunk: of row r and k-chunk c, or of k r and row-chunk c.
  static DEVICE_MEMBER int slot(int r, int c) {
    return along_k ? r * (MMA_BK / 8) + (c ^ (r >> 1 & 3)) : r * (R / 8) + (c ^ (r & 7));
  }

  // Chunk i of a thread: line and position within it, in chunks.
  static DEVICE_MEMBER int line(int i) { return (threadIdx.x + i * GEMM_THREADS) / (along_k ? MMA_BK / 8 : R / 8); }
  static DEVICE_MEMBER int place(int i) { return (threadIdx.x + i * GEMM_THREADS) % (along_k ? MMA_BK / 8 : R / 8); }

  // a_fragment and b_fragment load rows r..r+15 at k..k+15 as the fragment of one A tile or of two B tiles.
  static DEVICE_MEMBER void a_fragment(unsigned f[4], const uint4 *panel, int r, int k) {
    int l = threadIdx.x & 31, half = l / 8 % 2, high = l / 16;
    if (along_k)
      load_matrix_x4<false>(f, panel + slot(r + half * 8 + l % 8, k / 8 + high));
    else
      load_matrix_x4<true>(f, panel + slot(k + high * 8 + l % 8, r / 8 + half));
  }
  static DEVICE_MEMBER void b_fragment(unsigned f[4], const uint4 *panel, int r, int k) {
    int l = threadIdx.x & 31, half = l / 8 % 2, high = l / 16;
    if (along_k)
      load_matrix_x4<false>(f, panel + slot(r + high * 8 + l % 8, k / 8 + half));
    else
      load_matrix_x4<true>(f, panel + slot(k + half * 8 + l % 8, r / 8 + high));
  }
};

template <int MT> struct MmaTile {
  static const int BM = 32 * MT;
  static const int stage = (BM + GEMM_BN) * MMA_BK / 8; // chunks of one stage: A's panel, then B's
  float acc[MT][4][4];

  DEVICE_MEMBER void clear() {
#pragma unroll
    for (int i = 0; i < MT; i++)
#pragma unroll
      for (int j = 0; j < 4; j++)
#pragma unroll
        for (int k = 0; k < 4; k++) acc[i][j][k] = 0.f;
  }

  // multiply adds the product of one stage's panels.
  template <class PanelA, class PanelB> DEVICE_MEMBER void multiply(const uint4 *a, const uint4 *b) {
    int warp = threadIdx.x >> 5, row = warp / 4 * (BM / 2), col = warp % 4 * 32;
#pragma unroll
    for (int k = 0; k < MMA_BK; k += 16) {
      unsigned fa[MT][4], fb[2][4];
#pragma unroll
      for (int i = 0; i < MT; i++) PanelA::a_fragment(fa[i], a, row + 16 * i, k);
#pragma unroll
      for (int j = 0; j < 2; j++) PanelB::b_fragment(fb[j], b, col + 16 * j, k);
#pragma unroll
      for (int i = 0; i < MT; i++)
#pragma unroll
        for (int j = 0; j < 4; j++) mma_bf16(acc[i][j], fa[i], fb[j / 2] + j % 2 * 2);
    }
  }

  // spill writes the sums to shared memory as float [BM][128], groups of 8 columns swizzled; row reads 8 of them. In
  // between is a barrier; so there is before spill, as the stages lie there.
  static DEVICE_MEMBER int at(int r, int c) { return r * GEMM_BN + (c ^ (r & 7) << 3); }
  DEVICE_MEMBER void spill(float *tile) const {
    int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, g = lane / 4, t = lane % 4;
    int row = warp / 4 * (BM / 2) + g, col = warp % 4 * 32 + 2 * t;
#pragma unroll
    for (int i = 0; i < MT; i++)
#pragma unroll
      for (int j = 0; j < 4; j++)
#pragma unroll
        for (int h = 0; h < 2; h++)
          *(float2 *)(tile + at(row + 16 * i + 8 * h, col + 8 * j)) = make_float2(acc[i][j][2 * h], acc[i][j][2 * h + 1]);
  }
};

// load8 reads 8 sums of a row of the spilled tile.
DEVICE void load8(float v[8], const float *p) {
#pragma unroll
  for (int h = 0; h < 8; h += 4) {
    Pack<float> x = load_pack(p + h);
#pragma unroll
    for (int i = 0; i < 4; i++) v[h + i] = x.v[i];
  }
}
