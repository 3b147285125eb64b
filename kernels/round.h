// Stochastic rounding to bf16; key and counter are at the op's row in the graph package.
#pragma once
#include <stdint.h>
// y = bf16 of x plus 16 random bits, cut; rng is seed, step, lane.
void rg_round_stochastic(uint16_t *y, const float *x, const int64_t *rng, uint32_t key, long n);
