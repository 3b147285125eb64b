//go:build cgo

// The gradients of a linear layer's weight and bias: dy is read once where the product can add its rows up while it packs them.
#include "linear_grad.h"
#include "reduce.h"

void rg_linear_grad(const rg_linear_grad_args *a) {
  rg_gemm g = a->gemm;
  if (rg_gemm_adds_rows(&g)) g.b_sums = a->db;
  rg_gemm_run(&g);
  if (!g.b_sums) rg_reduce(RG_R_SUM, g.b, a->db, 1, g.k, g.n, 1, 1);
}
