// Tiles of attention for warpgroups: rows of bf16 heads in panels that wgmma reads, and products of them.
#pragma once
#include "attention.cuh"
#include "wgmma.cuh"

#define HOPPER_THREADS 256 // 2 warpgroups

// Panels of 64 columns of a tile of R rows with D columns, in the layout of wgmma_matrix; tiles start on 1024 bytes.
template <int D, int R> struct Panels {
  static const int panel = R * 128, bytes = D / 64 * panel;

  // Byte of 16-byte chunk c of row r.
  static DEVICE_MEMBER int slot(int r, int c) { return c / 8 * panel + r * 128 + ((c ^ r) & 7) * 16; }

  // The tile from row r on, for products along its rows or down its columns; along and down move it there.
  static DEVICE_MEMBER wgmma_matrix rows(shared_at tile, int r) { return rows_at(tile + r * 128); }
  static DEVICE_MEMBER wgmma_matrix columns(shared_at tile, int r) { return columns_at(tile + r * 128, panel); }
  static DEVICE_MEMBER int along(int k) { return (k / 64 * panel + k % 64 * 2) / 16; }
  static DEVICE_MEMBER int down(int k) { return k * 128 / 16; }
};

// The block's dynamic shared memory from its first multiple of 1024 bytes on: launches ask for that much more.
DEVICE unsigned char *panel_memory(unsigned char *dynamic) { return dynamic + (-shared_address(dynamic) & 1023); }

// PanelCopy starts copies of tiles of one head's rows, one tile after another; rows from `limit` and elements from `dim` on are zeros.
template <int D> struct PanelCopy {
  static const int chunks = D / 8, lines = HOPPER_THREADS / chunks;
  const bf16 *x; // this thread's chunk of its first row of the next tile
  int row, left; // elements from row to row; rows from x to the limit

  DEVICE_MEMBER PanelCopy(const bf16 *head, int64_t row_, int dim, int from, int limit) : row((int)row_) { seek(head, dim, from, limit); }
  DEVICE_MEMBER void seek(const bf16 *head, int dim, int from, int limit) {
    int first = from + threadIdx.x / chunks, c = threadIdx.x % chunks * 8;
    x = head + (int64_t)first * row + c;
    left = c < dim ? limit - first : 0;
  }
  // start copies the next R rows to a tile. A thread's rows are `lines` apart, a multiple of 8: the swizzle of all is that of the first.
  template <int R> DEVICE_MEMBER void start(shared_at to) {
    to += Panels<D, R>::slot(threadIdx.x / chunks, threadIdx.x % chunks);
#pragma unroll
    for (int j = 0; j < R; j += lines, x += lines * row) copy_async16(to + j * 128, x, j < left);
    left -= R;
  }
  // Of two operands that are alike and `apart` elements apart, the second to a tile `step` bytes on.
  template <int R> DEVICE_MEMBER void start(shared_at to, int64_t apart, int step) {
    to += Panels<D, R>::slot(threadIdx.x / chunks, threadIdx.x % chunks);
#pragma unroll
    for (int j = 0; j < R; j += lines, x += lines * row) {
      copy_async16(to + j * 128, x, j < left);
      copy_async16(to + step + j * 128, x + apart, j < left);
    }
    left -= R;
  }
};

template <int N> DEVICE void zero(float (&c)[N]) {
#pragma unroll
  for (int i = 0; i < N; i++) c[i] = 0.f;
}

// scores starts c (64,N) = rows of x · rows of yᵀ, from tiles of X and Y rows.
template <int D, int N, int X, int Y> DEVICE void scores(float (&c)[N / 2], wgmma_matrix x, wgmma_matrix y) {
#pragma unroll
  for (int k = 0; k < D; k += 16) wgmma_rows<N>(c, x + Panels<D, X>::along(k), y + Panels<D, Y>::along(k), k > 0);
}

// Where the rows are in registers: hold reads those of a warp, r on, from a tile.
template <int D, int R> DEVICE void hold(unsigned (*x)[4], shared_at tile, int r) {
#pragma unroll
  for (int k = 0; k < D / 16; k++) load_matrix_x4<false>(x[k], tile + Panels<D, R>::slot(r + threadIdx.x % 16, 2 * k + threadIdx.x % 32 / 16));
}
template <int D, int N, int Y> DEVICE void scores(float (&c)[N / 2], const unsigned (*x)[4], wgmma_matrix y) {
#pragma unroll
  for (int k = 0; k < D; k += 16) wgmma_rows<N>(c, x[k / 16], y + Panels<D, Y>::along(k), k > 0);
}

// factors rounds weights (64,N) to fragments of A: sums of one product have the layout of the next one's factors.
template <int N> DEVICE void factors(unsigned (*a)[4], const float *w) {
#pragma unroll
  for (int i = 0; i < N / 16; i++)
#pragma unroll
    for (int h = 0; h < 4; h++) a[i][h] = pack_bf16(w[8 * i + 2 * h], w[8 * i + 2 * h + 1]);
}

// gather starts out (64,D) += weights (64,N) · N rows of y.
template <int D, int N, int Y> DEVICE void gather(float (&out)[D / 2], const unsigned (*w)[4], wgmma_matrix y) {
#pragma unroll
  for (int k = 0; k < N; k += 16) wgmma_columns<D>(out, w[k / 16], y + Panels<D, Y>::down(k));
}

// put stores a warp's sums (16,D), times a factor for rows g and one for rows g+8, as bf16 rows of x, through rows r.. of a tile that no
// product reads any more and only this warp writes, so that whole chunks are written.
template <int D, int R>
DEVICE void put(const float (&c)[D / 2], float low, float high, unsigned char *tile, int r, bf16 *x, int64_t row, int from, int limit, int dim) {
  int lane = threadIdx.x & 31, g = lane / 4, t = lane % 4;
#pragma unroll
  for (int h = 0; h < 2; h++)
#pragma unroll
    for (int j = 0; j < D / 8; j++)
      ((unsigned *)(tile + Panels<D, R>::slot(r + 8 * h + g, j)))[t] = pack_bf16(c[4 * j + 2 * h] * (h ? high : low), c[4 * j + 2 * h + 1] * (h ? high : low));
  __syncwarp();
#pragma unroll
  for (int i = lane; i < 16 * (D / 8); i += 32) {
    int at = r + i / (D / 8), chunk = i % (D / 8);
    if (from + at < limit && chunk * 8 < dim) *(uint4 *)(x + (int64_t)(from + at) * row + chunk * 8) = *(const uint4 *)(tile + Panels<D, R>::slot(at, chunk));
  }
}

// warpgroup is which of the block's warpgroups this thread is in, the same number in all lanes for the compiler to see.
DEVICE int warpgroup() { return __shfl_sync(ALL_LANES, (int)threadIdx.x / WARPGROUP, 0); }

// hide sets what rows row0 and row0+8 have for the BC keys from `from` on that they do not see. The branch to it is one: what is on
// both sides of a branch cannot be mixed.
template <int BC> DEVICE void hide(float (&s)[BC / 2], const AttentionArgs &p, int row0, int from, float value) {
  int t = threadIdx.x & 3;
#pragma unroll
  for (int r = 0; r < 2; r++) {
    int seen = seen_by(p, p.first, row0 + 8 * r) - from - 2 * t;
#pragma unroll
    for (int j = 0; j < BC / 8; j++)
#pragma unroll
      for (int c = 0; c < 2; c++)
        if (8 * j + c >= seen) s[4 * j + 2 * r + c] = value;
  }
}
