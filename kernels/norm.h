// Layer and RMS norm over the last axis of x (rows, cols); the formulas are at the ops' rows in the graph package.
#pragma once

typedef struct {
  long rows, cols;
  float eps;
  const float *x, *res;      // (rows, cols); res NULL, or what is added to x first
  const float *gain, *bias;  // (cols); bias NULL for RMS norm
  float *sum;                // (rows, cols); x + res where res is given
  void *y;                   // (rows, cols), f32, or bf16 where y_bf16
  int y_bf16;
  float *mean, *rstd;        // (rows), written by the forward and read by the gradient; mean NULL for RMS norm
  const float *dy, *dres;    // (rows, cols); dres NULL, or what is added to dx
  float *dx, *dgain, *dbias; // dx may be dy, x or dres; dbias NULL for RMS norm
} rg_norm;

void rg_norm_forward(const rg_norm *a);
void rg_norm_grad(const rg_norm *a);
