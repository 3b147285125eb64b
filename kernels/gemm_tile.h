// Between the files of the matrix product: a kind of microkernel, and what the driver needs from it.
//
// Both factors are packed into strips: `mr` rows of op(A), or `nr` columns of op(B), over a stretch of k, in the order in
// which the microkernel reads them. Rows and columns past the matrix, and k past a multiple of kunit, are packed as zeros.
#pragma once
#include "gemm.h"

// One factor as the packers see it: `len` rows of op(A) or columns of op(B), each k long.
typedef struct {
  const void *at;
  long ld, len;
  int bf16;
  int along_k; // neighbours in memory are neighbours along k (A as stored, B transposed)
} rg_side;

// A kind computes tiles of mr×nr. A packed strip takes bytes·width per k.
typedef struct {
  long mr, nr, kunit;
  long bytes;  // of one element in a packed strip
  long kpack;  // k packed at a time, at most
  long kinner; // k between two visits of a tile: what keeps a strip in the first-level cache
  int exact;   // 0: infinities come out as NaN, so that tiles which are not finite are computed again
  // pack_a, pack_b write `strips` strips from row or column i0, over k0…k0+kc−1, to dst.
  void (*pack_a)(const rg_side *s, long i0, long strips, long k0, long kc, void *dst);
  void (*pack_b)(const rg_side *s, long i0, long strips, long k0, long kc, void *dst);
  // micro sets or adds (acc) tile (mr,nr) = a·b over kc, a multiple of kunit. Only rows×cols of it matter.
  void (*micro)(long kc, const void *a, const void *b, float *tile, int acc, long rows, long cols);
  // write copies rows of a tile, of full width, to C where the epilogue has nothing to do. May be NULL.
  void (*write)(const float *tile, void *c, long ldc, int c_bf16, long rows);
  // enter, leave: on each thread, around calls of micro. May be NULL.
  void (*enter)(void);
  void (*leave)(void);
} rg_kind;

const rg_kind *rg_kind_fma(void);   // f32 multiply-add at the level in use
const rg_kind *rg_kind_bf16(void);  // AMX on factors rounded to bf16; NULL without AMX
const rg_kind *rg_kind_split(void); // AMX on factors split in three bf16 parts: as accurate as f32; NULL without AMX

// rg_gemm_epilogue writes rows×cols of C from (i0,j0): the sums lie in tile, ldt apart. g is one product, not a batch.
void rg_gemm_epilogue(const rg_gemm *g, const float *tile, long ldt, long i0, long rows, long j0, long cols);

// rg_gemm_end_of returns what rg_gemm_epilogue does for a product without update.
typedef void (*rg_gemm_end)(const rg_gemm *g, const float *tile, long ldt, long i0, long rows, long j0, long cols);
rg_gemm_end rg_gemm_end_of(const rg_gemm *g);

// rg_gemm_plain writes the sums of rows×cols of C from (i0,j0), in the order of k by f32 multiply-add, to tile.
void rg_gemm_plain(const rg_gemm *g, long i0, long rows, long j0, long cols, float *tile, long ldt);

// A driver gets rg_parallel, or a function that runs the tasks one after the other.
typedef void (*rg_parallel_fn)(long n, void (*fn)(void *, long), void *ctx);

// rg_gemm_beside computes a product whose packing and ends run beside AMX, or returns 0 where g is not one of those. parallel runs
// its tasks. Like all choices it follows from g alone.
int rg_gemm_beside(const rg_gemm *g, rg_parallel_fn parallel, int threads);

// rg_gemm_is_beside says whether it would.
int rg_gemm_is_beside(const rg_gemm *g);

// rg_gemm_finite reports whether none of n numbers is infinite or NaN.
int rg_gemm_finite(const float *tile, long n);

// rg_gemm_skinny computes a product with m ≤ RG_SKINNY: one pass over B, nothing packed. parallel runs its tasks.
enum { RG_SKINNY = 4 };
void rg_gemm_skinny(const rg_gemm *g, rg_parallel_fn parallel);

// rg_gemm_narrow computes a product of f32 with one short side, or returns 0 where g is none of those. parallel runs its tasks.
int rg_gemm_narrow(const rg_gemm *g, rg_parallel_fn parallel);
