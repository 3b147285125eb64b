// Products of a warpgroup (sm_90a): four warps, 128 threads, the first a multiple of four, multiply tiles of shared memory or of
// registers by tiles of shared memory while they do something else. PTX ISA, "Asynchronous Warpgroup Level Matrix
// Multiply-Accumulate Instructions". The twins of the software device are in wgmma_soft.h.
//
// The order that the instructions want, and that the software device checks:
//
//   copy_async_wait, fence_async, __syncthreads    what was copied is there, for wgmma and for all threads
//   wgmma_fence                                     sums and factors in registers are in place
//   wgmma_rows, wgmma_columns …, wgmma_commit       products are under way: their registers and their memory are not to be touched
//   wgmma_wait<n>(sums)                             at most n groups are under way; these sums may be read
#pragma once
#include "mma.cuh"

#define WARPGROUP 128

// A matrix of bf16 in shared memory as wgmma reads it: rows of 64 elements, 128 bytes, whose chunks of 16 bytes are swizzled: chunk c
// of row r lies at c ^ r%8 (HeadRows<64>). Eight rows are a pattern of 1024 bytes and start on a multiple of that. A matrix with more
// columns is several such panels, `panel` bytes apart.
//
// The descriptor: address/16 in bits 0–13, bytes/16 from panel to panel in 16–29, from eight rows to the next eight in 32–45, and in 62–63
// the kind of swizzle, 1 for 128 bytes. rows_at is for wgmma_rows, which does not look at panels and wants 1 there, columns_at for
// wgmma_columns. Adding bytes/16 moves one: by 16 elements along the rows (k of wgmma_rows), by 16 rows (k of wgmma_columns), by panels.
typedef uint64_t wgmma_matrix;
DEVICE wgmma_matrix columns_at(shared_at at, int panel) {
  return (uint64_t)((at & 0x3ffff) >> 4) | (uint64_t)(panel >> 4) << 16 | (uint64_t)(1024 >> 4) << 32 | (uint64_t)1 << 62;
}
DEVICE wgmma_matrix rows_at(shared_at at) { return columns_at(at, 16); }

#ifdef SOFTCUDA
#include "wgmma_soft.h"
#else

// fence_async makes what this thread wrote to shared memory, copy_async16 and waited for included, visible to wgmma, which reads by another
// path ("proxy"). A barrier after it makes it so for other threads' products.
DEVICE void fence_async() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

// wgmma_fence comes after registers that a product reads or adds to were written otherwise, and before that product.
DEVICE void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }

// wgmma_commit ends a group of products.
DEVICE void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }

// wgmma_wait waits until at most n groups are under way. The sums that are ready then are named, so that the compiler reads them only
// after it.
template <int N> DEVICE void wgmma_ready(float (&c)[N]) {
#pragma unroll
  for (int i = 0; i < N; i++) asm volatile("" : "+f"(c[i])::"memory");
}
template <int n, class... Sums> DEVICE void wgmma_wait(Sums &...sums) {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(n) : "memory");
  (wgmma_ready(sums), ...);
}

// c (64,N) += A (64,16) · B (16,N), or = where add is false, in f32. Warp w of the group holds rows 16w…16w+15: with g = lane/4 and
// t = lane%4, c[4j], c[4j+1] = C[g][8j+2t..], c[4j+2], c[4j+3] = C[g+8][8j+2t..], as mma_bf16, and A in registers likewise.
//   wgmma_rows:    C = X·Yᵀ of matrices with 64 and N rows, 16 columns of each; X may be in registers
//   wgmma_columns: A is in registers, B has 16 rows of N columns
template <int N> struct Wgmma;
template <int N> DEVICE void wgmma_rows(float (&c)[N / 2], wgmma_matrix a, wgmma_matrix b, bool add) { Wgmma<N>::shared(c, a, b, add); }
template <int N> DEVICE void wgmma_rows(float (&c)[N / 2], const unsigned (&a)[4], wgmma_matrix b, bool add) { Wgmma<N>::template registers<0>(c, a, b, add); }
template <int N> DEVICE void wgmma_columns(float (&c)[N / 2], const unsigned (&a)[4], wgmma_matrix b) { Wgmma<N>::template registers<1>(c, a, b, true); }

#define SUMS4(c, i) "+f"(c[i]), "+f"(c[i + 1]), "+f"(c[i + 2]), "+f"(c[i + 3])
#define SUMS16(c, i) SUMS4(c, i), SUMS4(c, i + 4), SUMS4(c, i + 8), SUMS4(c, i + 12)
#define NAMES16 "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15"
#define NAMES32 NAMES16 ",%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31"
#define NAMES64 NAMES32 ",%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47" \
  ",%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63"

#define SUMS32(c) SUMS16(c, 0), SUMS16(c, 16)
#define SUMS64(c) SUMS32(c), SUMS16(c, 32), SUMS16(c, 48)

// N columns, N/2 sums per thread: their names, and the names of the operands after them.
#define WGMMA(N, NAMES, SUMS, X0, X1, X2, X3, X4, X5, X6)                                                            \
  template <> struct Wgmma<N> {                                                                                      \
    static DEVICE_MEMBER void shared(float (&c)[N / 2], wgmma_matrix a, wgmma_matrix b, bool add) {                  \
      asm volatile("{.reg .pred p; setp.ne.s32 p, " X2 ", 0;\n"                                                      \
                   "wgmma.mma_async.sync.aligned.m64n" #N "k16.f32.bf16.bf16 {" NAMES "}, "                          \
                   X0 ", " X1 ", p, 1, 1, 0, 0;}"                                                                    \
                   : SUMS                                                                                            \
                   : "l"(a), "l"(b), "r"((int)add)                                                                   \
                   : "memory");                                                                                      \
    }                                                                                                                \
    template <int down> static DEVICE_MEMBER void registers(float (&c)[N / 2], const unsigned (&a)[4], wgmma_matrix b, bool add) { \
      asm volatile("{.reg .pred p; setp.ne.s32 p, " X5 ", 0;\n"                                                      \
                   "wgmma.mma_async.sync.aligned.m64n" #N "k16.f32.bf16.bf16 {" NAMES "}, "                          \
                   "{" X0 "," X1 "," X2 "," X3 "}, " X4 ", p, 1, 1, " X6 ";}"                                        \
                   : SUMS                                                                                            \
                   : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"((int)add), "n"(down)                    \
                   : "memory");                                                                                      \
    }                                                                                                                \
  };
WGMMA(32, NAMES16, SUMS16(c, 0), "%16", "%17", "%18", "%19", "%20", "%21", "%22")
WGMMA(64, NAMES32, SUMS32(c), "%32", "%33", "%34", "%35", "%36", "%37", "%38")
WGMMA(128, NAMES64, SUMS64(c), "%64", "%65", "%66", "%67", "%68", "%69", "%70")

#endif
