// Weights in the form in which AMX multiplies bf16: blocks of 32 rows × 32 columns, 2 KiB each, column of blocks by column of
// blocks. A block is two tiles, of columns 0–15 and 16–31; row r of a tile holds 16 pairs of rows 2r and 2r+1. What lies past the matrix
// is zero. Numbers are rounded to nearest even. As B = W a strip of 32 columns is what the microkernel reads; Wᵀ takes a
// regrouping in registers. Needs AMX.
#pragma once
#include "gemm_tile.h"

enum { RG_BLOCK = 32, RG_BLOCK_SIZE = RG_BLOCK * RG_BLOCK };

typedef struct {
  const float *x; // (rows, cols)
  uint16_t *blocks;
  long rows, cols;
} rg_blocks_args;

// rg_blocks_pack writes all blocks of a matrix.
void rg_blocks_pack(const rg_blocks_args *a);
// rg_blocks_put writes what changed in rows i0… and columns j0… of x (ld apart, of rows×cols in all).
void rg_blocks_put(uint16_t *blocks, const float *x, long ld, long rows, long cols, long i0, long n_rows, long j0, long n_cols);
// rg_blocks_run computes a product with b_blocks; parallel runs its tasks.
void rg_blocks_run(const rg_gemm *g, rg_parallel_fn parallel, int threads);
