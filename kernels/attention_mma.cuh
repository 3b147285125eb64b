// Tiles of attention on tensor cores: rows of bf16 heads in shared memory, and products of them per warp.
#pragma once
#include "attention.cuh"
#include "mma.cuh"

#define ATTENTION_THREADS 128 // 4 warps

// Rows of D bf16 as chunks of 16 bytes. Eight rows at one chunk, what ldmatrix reads at a time, fall on different banks: by
// a swizzle where a row is 4, 8 or 16 chunks, else by an odd number of chunks from row to row.
template <int D> struct HeadRows {
  static const int chunks = D / 8;
  static const int pitch = chunks == 4 || chunks % 8 == 0 ? chunks : chunks | 1;

  static DEVICE_MEMBER int slot(int r, int c) {
    if (chunks == 4) return r * pitch + (c ^ (r >> 1 & 3));
    if (chunks % 8 == 0) return r * pitch + (c ^ (r & 7));
    return r * pitch + c;
  }

  // load starts copies of `rows` rows from row `from` on; rows from `limit` and elements from `dim` on are zeros.
  static DEVICE_MEMBER void load(uint4 *to, const bf16 *x, int64_t row, int from, int rows, int limit, int dim) {
    for (int i = threadIdx.x; i < rows * chunks; i += ATTENTION_THREADS) {
      int r = i / chunks, c = i % chunks;
      bool valid = from + r < limit && c * 8 < dim;
      copy_async16(to + slot(r, c), valid ? x + (from + r) * row + c * 8 : x, valid);
    }
  }

  // Fragments of rows r..r+15: as A, or as two tiles of B, with k along the row; as B with k down the rows (transposed).
  static DEVICE_MEMBER void a(unsigned f[4], const uint4 *x, int r, int k) {
    int l = threadIdx.x & 31;
    load_matrix_x4<false>(f, x + slot(r + l % 16, k / 8 + l / 16));
  }
  static DEVICE_MEMBER void b(unsigned f[4], const uint4 *x, int r, int k) {
    int l = threadIdx.x & 31;
    load_matrix_x4<false>(f, x + slot(r + l / 16 * 8 + l % 8, k / 8 + l / 8 % 2));
  }
  static DEVICE_MEMBER void b_down(unsigned f[4], const uint4 *x, int k, int col) {
    int l = threadIdx.x & 31;
    load_matrix_x4<true>(f, x + slot(k + l % 16, col / 8 + l / 16));
  }
};

template <int MT, int NT> DEVICE void zero(float (&c)[MT][NT][4]) {
#pragma unroll
  for (int i = 0; i < MT; i++)
#pragma unroll
    for (int j = 0; j < NT; j++)
#pragma unroll
      for (int k = 0; k < 4; k++) c[i][j][k] = 0.f;
}

// scores: c (16·MT, 8·NT) = rows x[r..] · rows y[at..]ᵀ.
template <int D, int MT, int NT> DEVICE void scores(float (&c)[MT][NT][4], const uint4 *x, int r, const uint4 *y, int at = 0) {
  zero(c);
#pragma unroll
  for (int k = 0; k < D; k += 16) {
    unsigned fa[MT][4];
#pragma unroll
    for (int i = 0; i < MT; i++) HeadRows<D>::a(fa[i], x, r + 16 * i, k);
#pragma unroll
    for (int j = 0; j < NT; j += 2) {
      unsigned fb[4];
      HeadRows<D>::b(fb, y, at + 8 * j, k);
#pragma unroll
      for (int i = 0; i < MT; i++) mma_bf16(c[i][j], fa[i], fb), mma_bf16(c[i][j + 1], fa[i], fb + 2);
    }
  }
}

// gather: out (16·MT, D) += weights (16·MT, 8·NT), rounded to bf16, · rows y[at..]. The accumulators of one product
// have the layout of the next one's A fragments.
template <int D, int MT, int NT> DEVICE void gather(float (&out)[MT][D / 8][4], const float (&w)[MT][NT][4], const uint4 *y, int at = 0) {
#pragma unroll
  for (int k = 0; k < NT; k += 2) {
    unsigned fa[MT][4];
#pragma unroll
    for (int i = 0; i < MT; i++)
#pragma unroll
      for (int h = 0; h < 4; h++) fa[i][h] = pack_bf16(w[i][k + h / 2][h % 2 * 2], w[i][k + h / 2][h % 2 * 2 + 1]);
#pragma unroll
    for (int j = 0; j < D / 8; j += 2) {
      unsigned fb[4];
      HeadRows<D>::b_down(fb, y, at + 8 * k, 8 * j);
#pragma unroll
      for (int i = 0; i < MT; i++) mma_bf16(out[i][j], fa[i], fb), mma_bf16(out[i][j + 1], fa[i], fb + 2);
    }
  }
}

// put stores a warp's sums (16·MT, D), times a factor per row, as bf16 rows of x: through shared memory that only this warp
// uses, rows r.. of `tile`, so that whole chunks are written. factors holds those of rows 16i+g and 16i+g+8.
template <int D, int MT>
DEVICE void put(const float (&c)[MT][D / 8][4], const float (&factors)[MT][2], uint4 *tile, int r, bf16 *x, int64_t row, int from, int limit, int dim) {
  int lane = threadIdx.x & 31, g = lane / 4, t = lane % 4;
  __syncwarp();
#pragma unroll
  for (int i = 0; i < MT; i++)
#pragma unroll
    for (int h = 0; h < 2; h++)
#pragma unroll
      for (int j = 0; j < D / 8; j++)
        ((unsigned *)(tile + HeadRows<D>::slot(r + 16 * i + 8 * h + g, j)))[t] =
            pack_bf16(c[i][j][2 * h] * factors[i][h], c[i][j][2 * h + 1] * factors[i][h]);
  __syncwarp();
  for (int i = lane; i < 16 * MT * (D / 8); i += 32) {
    int at = from + r + i / (D / 8), chunk = i % (D / 8);
    if (at < limit && chunk * 8 < dim) *(uint4 *)(x + at * row + chunk * 8) = tile[HeadRows<D>::slot(r + i / (D / 8), chunk)];
  }
}
