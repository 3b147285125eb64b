// Cross-entropy of logits (rows, v) against class numbers; the formulas are at the ops' rows in the graph package.
#pragma once
#include <stdint.h>

typedef struct {
  const float *logits;    // (rows, v)
  const int32_t *targets; // (total)
  long rows, v;
  long first, total; // the rows are first, first+1, … of total, over which the mean goes
  float smoothing;
  int64_t ignore;
  int has_ignore;
  float *loss;        // one number
  float *lse;         // (rows), for rg_cross_entropy to write and rg_cross_entropy_grad to read
  const float *dloss; // one number, for rg_cross_entropy_grad
  float seed;         // dloss of rg_cross_entropy_fused
  float *dlogits;     // (rows, v), may be logits
} rg_loss;

void rg_cross_entropy(const rg_loss *a);
void rg_cross_entropy_grad(const rg_loss *a);
void rg_cross_entropy_fused(const rg_loss *a);
