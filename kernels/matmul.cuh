// What the kernels of products share: their arguments, which tile a block has, and where it stores it.
#pragma once
#include "broadcast.cuh"
#include "epilogue.cuh"

// MatMulArgs is laid out as matmulArgs of matmul_cuda.go. C (m,n) = op(A)·op(B) per batch entry, lines of lda and ldb elements.
// With splits > 1, block z sums stretch z%splits of k, each of `stretch`, into partial (batch, splits, m, n).
struct MatMulArgs {
  const void *a, *b;
  float *partial; // null: the epilogue follows at once
  int64_t lda, ldb;
  Epilogue end;
  int m, n, k, splits, stretch;
  int first; // batch entry of block z = 0
  int packed_a, packed_b; // lines start on 16 bytes
  Broadcast<2> batch;
};

// BlockTile is a block's place: first row and column, batch entry, range of k. Tiles are numbered down columns of 8 rows of tiles,
// so that blocks that run together share panels in the second-level cache.
struct BlockTile {
  int row, col, from, to;
  int64_t a, b, c; // first elements of the factors and of the result
  int64_t partial;
};

DEVICE BlockTile block_tile(const MatMulArgs &p, int bm, int bn) {
  BlockTile t;
  int rows = (p.m + bm - 1) / bm, cols = (p.n + bn - 1) / bn, id = blockIdx.x;
  int group = id / (8 * cols), first = group * 8, high = min(rows - first, 8);
  t.row = (first + id % (8 * cols) % high) * bm;
  t.col = id % (8 * cols) / high * bn;
  int entry = p.first + blockIdx.z / p.splits, split = blockIdx.z % p.splits;
  t.from = split * p.stretch;
  t.to = min(p.k, t.from + p.stretch);
  int64_t at[2];
  offsets<unsigned, 2>(p.batch, entry, at);
  t.a = at[0], t.b = at[1];
  t.c = (int64_t)entry * p.m * p.n;
  t.partial = ((int64_t)entry * p.splits + split) * p.m * p.n;
  return t;
}

// store_sums hands W sums of a row to the epilogue, or to the partial sums.
template <class T, int W> DEVICE void store_sums(const MatMulArgs &p, const BlockTile &t, const float v[W], int row, int col) {
  if (row >= p.m || col >= p.n) return;
  if (!p.partial) {
    finish<T, W>(p.end, v, t.c, row, col, p.n);
    return;
  }
  float *out = p.partial + t.partial + (int64_t)row * p.n + col;
#pragma unroll
  for (int i = 0; i < W; i++)
    if (col + i < p.n) out[i] = v[i];
}
