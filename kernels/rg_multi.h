// Compiles the body of a kernel file once per instruction-set level, with no -march flag.
//
// A kernel file F.c reads:
//
//   //go:build cgo
//   #ifndef RG_BODY
//   #include "rg.h"
//   #define RG_SELF "F.c"
//   #include "rg_multi.h"           // includes the part below once per level
//   void rg_thing(...) { RG_DISPATCH(thing)(...); }
//   #else
//   static void RG_NAME(thing)(...) { plain loops that the compiler vectorises, or vector extensions }
//   #endif
//
// RG_WIDTH is the number of floats in one vector at the level being compiled.
#ifdef __x86_64__
#include <immintrin.h>
#endif
#define RG_BODY 1
#pragma GCC push_options
#pragma GCC optimize("O3", "no-math-errno", "no-trapping-math")

#define RG_NAME(x) x##_generic
#define RG_WIDTH 4
#define RG_LEVEL RG_GENERIC
#include RG_SELF
#undef RG_NAME
#undef RG_WIDTH
#undef RG_LEVEL

#ifdef __x86_64__
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c")
#define RG_NAME(x) x##_avx2
#define RG_WIDTH 8
#define RG_LEVEL RG_AVX2
#include RG_SELF
#undef RG_NAME
#undef RG_WIDTH
#undef RG_LEVEL
#pragma GCC pop_options

#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512cd,prefer-vector-width=512")
#define RG_NAME(x) x##_avx512
#define RG_WIDTH 16
#define RG_LEVEL RG_AVX512
#include RG_SELF
#undef RG_NAME
#undef RG_WIDTH
#undef RG_LEVEL
#pragma GCC pop_options
#define RG_DISPATCH(x) (rg_isa >= RG_AVX512 ? x##_avx512 : rg_isa == RG_AVX2 ? x##_avx2 : x##_generic)
#else
#define RG_DISPATCH(x) x##_generic
#endif

#pragma GCC pop_options
#undef RG_BODY
