// Normally distributed numbers, to the bits of Philox.FillNormal of runtime/tensor on amd64.
#pragma once
#include <stdint.h>
// y[0…n) = mean + std·z, z from the blocks of Philox under this key from this counter on, whose first word does not overflow.
void rg_normal(float *y, const uint32_t key[2], const uint32_t counter[4], float mean, float std, long n);
