// A product that is a parameter's gradient, dw = xᵀ·dy, and moves the parameter while its tile is in the first-level cache:
// the gradient is neither written nor read again.
#pragma once
#include "gemm_tile.h"
#include "index.h"
#include "optim.h"

// The product's gemm has nothing else in its end, no batch, f32 c. rows (count,n) are added to the gradient's rows that ids
// name (the gradient of an embedding whose table is the product's parameter too); NULL for none.
typedef struct {
  rg_gemm gemm;
  rg_optim optim; // AdamW; param and grad are not read here
  const float *rows;
  const void *ids;
  int wide; // ids are int64
  long count;
  uint16_t *blocks; // NULL, or where the moved parameter is written in blocks too
} rg_matmul_adamw_args;

// Parameter −= AdamW's step for the product; m and v likewise. The same bits as the product followed by rg_adamw.
void rg_matmul_adamw(const rg_matmul_adamw_args *a);

// What a product with update does in its end.
struct rg_update {
  rg_adamw_set set;
  float *m, *v;
  const float *rows; // NULL, or what is added to some of the product's rows
  rg_places places;  // which
  uint16_t *blocks;
};

// rg_update_run is the whole product on AMX, in bf16, from the pool's threads: parameter, m and v are read from memory while
// tiles multiply. It returns 0, and has done nothing, where rg_gemm_run is to do it.
int rg_update_run(const rg_gemm *g);

// rg_gemm_update is the end of a product with update, for `rows` rows from i0 and `cols` columns from j0: their sums lie in tiles beside
// each other, each of width nr and `size` numbers. Whole rows of many tiles are best: three arrays come from memory.
void rg_gemm_update(const rg_gemm *g, const float *tiles, long nr, long size, long i0, long rows, long j0, long cols);
