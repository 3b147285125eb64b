// Rotary embedding: turns pairs of a head's elements by angles that grow with the position.
#pragma once
#include "rg.h"

typedef struct {
  long rows, T, turn, heads, D; // rows of `heads` heads of D elements; the first `turn` heads are turned
  long interleaved;             // pairs (2i, 2i+1), otherwise (i, i+D/2)
  double sign;                  // +1, or −1 to turn back
  const int32_t *pos;           // one for all (row t stands at pos + t), or one per row, or null: row t stands at t
  long pos_step;                // 0 or 1
} rg_rope_args;

// rg_rope writes y, which may be x. table (T, 2, D/2) holds cos and signed sin per position; with positions
// it is null and freq (D/2) holds radians per position.
void rg_rope(float *y, const float *x, const rg_rope_args *a, const float *table, const double *freq);
