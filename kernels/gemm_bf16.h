// Matrix products whose factors are both stored in bf16.
#pragma once
#include "gemm_tile.h"

// rg_gemm_bf16 computes a product (no batch) of bf16 factors stored in rows, and returns whether it did: it needs AMX. The same bits as
// the driver for all products. It uses scratch slots 0–2.
int rg_gemm_bf16(const rg_gemm *g, rg_parallel_fn parallel, int threads);
