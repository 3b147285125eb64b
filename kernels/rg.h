// What every C kernel of ringo builds on: the instruction-set level, the thread pool, scratch memory.
#pragma once
#include <stddef.h>
#include <stdint.h>

// Instruction-set levels, each including those below. rg_isa is set once by rg_init.
enum { RG_GENERIC = 0, RG_AVX2 = 1, RG_AVX512 = 2, RG_AMX = 3 };
extern int rg_isa;

// rg_init detects the CPU (never above max_isa) and starts a pool of `threads` threads, the caller counted in.
// Called again it resizes the pool; no kernel may be running then.
void rg_init(int max_isa, int threads);
int rg_threads(void);

// rg_parallel calls fn(ctx, i) once for every i in [0,n), on the pool's threads and the caller, and returns
// when all are done. Each thread begins with its own equal stretch of [0,n), the same in every call, so that neighbouring
// i find their data in one cache; then it helps others, so results must not depend on which thread runs which i. Nested calls and
// calls while another caller holds the pool run serially on the caller.
void rg_parallel(long n, void (*fn)(void *ctx, long i), void *ctx);

// rg_scratch returns at least `bytes` bytes, 64-byte aligned, private to the calling thread and slot (0…7),
// kept between calls and grown when needed. Slots 0–3 belong to GEMM, 4–7 to the kernel that calls it.
void *rg_scratch(int slot, size_t bytes);

// Forced inline: plain inline functions are not inlined into bodies compiled with other options (rg_multi.h).
#define RG_SMALL static inline __attribute__((always_inline))
RG_SMALL long rg_min(long a, long b) { return a < b ? a : b; }
RG_SMALL long rg_max(long a, long b) { return a > b ? a : b; }
RG_SMALL long rg_ceil_div(long a, long b) { return (a + b - 1) / b; }

RG_SMALL float rg_from_bf16(uint16_t h) {
  union { uint32_t u; float f; } v = {(uint32_t)h << 16};
  return v.f;
}
// Round to nearest, ties to even; NaN stays NaN.
RG_SMALL uint16_t rg_to_bf16(float f) {
  union { float f; uint32_t u; } v = {f};
  uint32_t r = (v.u + 0x7fff + (v.u >> 16 & 1)) >> 16, nan = v.u >> 16 | 0x40;
  return (uint16_t)((v.u & 0x7fffffff) > 0x7f800000 ? nan : r);
}
