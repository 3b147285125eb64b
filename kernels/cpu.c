//go:build cgo

// CPU detection, the thread pool and scratch memory behind rg.h.
#include "rg.h"

int rg_isa = RG_GENERIC;
void rg_init(int max_isa, int threads) { (void)max_isa; (void)threads; }
int rg_threads(void) { return 1; }
void rg_parallel(long n, void (*fn)(void *, long), void *ctx) { for (long i = 0; i < n; i++) fn(ctx, i); }
void *rg_scratch(int slot, size_t bytes) { (void)slot; (void)bytes; return 0; }
