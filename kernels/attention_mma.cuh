// Tiles of attention on tensor cores: rows of bf16 heads in shared memory, and products of them per warp.
#pragma once
#include "attention.cuh"
#include "mma.cuh"

#define ATTENTION_THREADS 128 // 4 warps

// Rows of D bf16 as chunks of 16 bytes. Eight rows at one chunk, what ldmatrix reads at a time, fall on different banks: by
// a swizzle where a row is 4, 8 or 16 chunks, else by an odd number of chunks from row to row. Tiles start on 128 bytes.
//
// These kernels are bound by how many instructions a warp issues, so addresses are found once: a lane's place in a tile,
// and from there by constants. 16 rows on, the swizzle is the same; 16 elements on, it changes bits that at() changes.
template <int D> struct HeadRows {
  static const int chunks = D / 8;
  static const int pitch = chunks == 4 || chunks % 8 == 0 ? chunks : chunks | 1;
  static const int mixed = chunks == 4 ? 2 : chunks % 8 == 0 ? 6 : 0; // bits of an even chunk that are part of the swizzle

  static DEVICE_MEMBER int slot(int r, int c) {
    if (chunks == 4) return r * pitch + (c ^ (r >> 1 & 3));
    if (chunks % 8 == 0) return r * pitch + (c ^ (r & 7));
    return r * pitch + c;
  }

  // A lane's place in rows 0..15 of a tile: for fragments of A, or of B with k down the rows; for two tiles of B with k along the row.
  static DEVICE_MEMBER shared_at lane_a(const uint4 *x) { return shared_address(x + slot(threadIdx.x % 16, (threadIdx.x & 31) / 16)); }
  static DEVICE_MEMBER shared_at lane_b(const uint4 *x) {
    int l = threadIdx.x & 31;
    return shared_address(x + slot(l / 16 * 8 + l % 8, l / 8 % 2));
  }
  // at moves a lane's place by r rows and k elements, multiples of 16.
  static DEVICE_MEMBER shared_at at(shared_at lane, int r, int k) { return (lane ^ (k / 8 & mixed) * 16) + (r * pitch + (k / 8 & ~mixed)) * 16; }
};

// HeadCopy starts copies of tiles of one head's rows; rows from `limit` and elements from `dim` on are zeros.
template <int D> struct HeadCopy {
  static const int chunks = D / 8, lines = ATTENTION_THREADS / chunks;
  const bf16 *x; // this thread's chunk of row `line`, or the head's first
  int row, line, dim;
  shared_at slot;

  DEVICE_MEMBER HeadCopy(const bf16 *head, int64_t row_, int dim_) : x(head), row((int)row_), line(0), dim(dim_), slot(0) {
    if (ATTENTION_THREADS % chunks) return;
    int c = threadIdx.x % chunks;
    line = threadIdx.x / chunks;
    slot = HeadRows<D>::slot(line, c) * 16;
    x += (int64_t)line * row + c * 8;
    if (c * 8 >= dim) line = 1 << 30; // beyond any limit
  }
  // start copies rows from.. to a tile of `rows`. Where chunks divide the block, a thread's rows are `lines` apart, and the swizzle of
  // all is that of the first.
  template <int rows> DEVICE_MEMBER void start(shared_at to, int from, int limit) const {
    if (ATTENTION_THREADS % chunks) {
      for (int i = threadIdx.x; i < rows * chunks; i += ATTENTION_THREADS) {
        int r = i / chunks, c = i % chunks;
        copy_async16(to + HeadRows<D>::slot(r, c) * 16, x + (int64_t)(from + r) * row + c * 8, from + r < limit && c * 8 < dim);
      }
      return;
    }
    const bf16 *p = x + (int64_t)from * row;
    int left = limit - from - line;
    to += slot;
#pragma unroll
    for (int j = 0; j < rows; j += lines, p += (int64_t)lines * row) copy_async16(to + j * HeadRows<D>::pitch * 16, p, j < left);
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

// scores: c (16·MT, 8·NT) = rows from lane place x on · rows from y onᵀ.
template <int D, int MT, int NT> DEVICE void scores(float (&c)[MT][NT][4], shared_at x, shared_at y) {
  zero(c);
#pragma unroll
  for (int k = 0; k < D; k += 16) {
    unsigned fa[MT][4];
#pragma unroll
    for (int i = 0; i < MT; i++) load_matrix_x4<false>(fa[i], HeadRows<D>::at(x, 16 * i, k));
#pragma unroll
    for (int j = 0; j < NT; j += 2) {
      unsigned fb[4];
      load_matrix_x4<false>(fb, HeadRows<D>::at(y, 8 * j, k));
#pragma unroll
      for (int i = 0; i < MT; i++) mma_bf16(c[i][j], fa[i], fb), mma_bf16(c[i][j + 1], fa[i], fb + 2);
    }
  }
}

// gather: out (16·MT, D) += weights (16·MT, 8·NT), rounded to bf16, · rows from lane place y on. The accumulators of one product
// have the layout of the next one's A fragments.
template <int D, int MT, int NT> DEVICE void gather(float (&out)[MT][D / 8][4], const float (&w)[MT][NT][4], shared_at y) {
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
      load_matrix_x4<true>(fb, HeadRows<D>::at(y, 8 * k, 8 * j));
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
