// Dropout with Philox4x32-10; key and counter are at the op's row in the graph package.
#pragma once
#include <stdint.h>
// y = x·scale where a word is at least threshold, else 0; rng is seed, step, lane. y may be x.
void rg_dropout(float *y, const float *x, const int64_t *rng, uint32_t key, uint32_t threshold, float scale, long n);
