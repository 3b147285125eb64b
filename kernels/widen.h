// Lets a kernel written for f32 serve bf16 storage: inputs are widened into scratch, the result is rounded at the end.
// With bf16 = 0 nothing is copied.
#pragma once
#include "rg.h"

// rg_in returns n elements of p as f32: p itself, or a copy in the calling thread's scratch slot.
const float *rg_in(int slot, const void *p, long n, int bf16);

// rg_out returns where a kernel shall write n elements of f32 that rg_done then stores at p.
float *rg_out(int slot, void *p, long n, int bf16);
void rg_done(void *p, const float *y, long n, int bf16);
