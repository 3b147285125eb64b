// Batch and group norm of x (n, channels, plane); the formulas are at the ops' rows in the graph package.
#pragma once

typedef struct {
  long n, channels, plane;
  long groups; // of group norm
  float eps;
  const float *x, *gain, *bias; // gain, bias (channels)
  float *y;
  float *mean, *var; // batch norm: (channels); group norm: (n, groups), var holding 1/√(variance + eps)
  const float *dy;
  float *dx, *dgain, *dbias; // dx may be dy or x
} rg_bnorm;

void rg_batchnorm(const rg_bnorm *a);
void rg_batchnorm_infer(const rg_bnorm *a);
void rg_batchnorm_grad(const rg_bnorm *a);
void rg_groupnorm(const rg_bnorm *a);
void rg_groupnorm_grad(const rg_bnorm *a);
