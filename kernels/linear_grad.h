// Both gradients of a linear layer's parameters.
#pragma once
#include "gemm.h"

// dw = xᵀ·dy, and the sums of dy's rows to db.
typedef struct {
  rg_gemm gemm;
  float *db;
} rg_linear_grad_args;
void rg_linear_grad(const rg_linear_grad_args *a);
