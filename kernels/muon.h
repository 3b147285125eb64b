// Muon's update of one matrix; the formulas are at the op's row in the graph package.
#pragma once

typedef struct {
  long rows, cols;
  float *param, *mom; // (rows, cols)
  const float *grad;
  const float *hyper, *norm; // norm NULL, or grad_norm's output
  float momentum, decay, scale; // scale: √max(1, out/in)
  float a, b, c, eps;           // the iteration's coefficients; eps is added to ‖u‖
  int nesterov, steps, precision; // precision: RG_GEMM_*
} rg_muon;

void rg_muon_step(const rg_muon *m);
