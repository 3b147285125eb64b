//go:build cgo

// Matrix products of two bf16 factors on AMX.
//
// Each thread computes a part of C by itself: no barrier, nothing shared. Its columns are cut into panels, long sums into
// chunks; a stage multiplies all its rows with one panel's chunk of B. Packed B of a stage lies in the second-level cache, a strip
// of 32 rows of A over at most L1_K in the first. A is loaded as tiles where it lies, unless its layout forbids. While a
// strip is multiplied, the next one is asked for and finished tiles become C (gemm_bf16_tile.h); B is packed between stages. Sums go through k in order, 32 at a time, whatever the number of threads.
#include "gemm_bf16.h"
#include <stdatomic.h>

#ifndef __x86_64__
int rg_gemm_bf16(const rg_gemm *g, rg_parallel_fn parallel, int threads) { return (void)g, (void)parallel, (void)threads, 0; }
#else
#include "gemm_bf16_tile.h"

#ifndef TUNE
enum {
  L1_K = 512,              // of a strip of A: 32 KiB of the first-level cache's 48,
  WHOLE_K = 768,           // unless this spares storing and loading sums
  STAGE_K = 1024,          // of a stage, where k is longer than
  WHOLE_STAGE_K = 2304,    // this, and half as much
  FEW_SUMS = 512 << 10,    // where the sums of a part take less than this: they are cheaply visited again
  STAGE_BYTES = 900 << 10, // of packed B in a stage: less than half of a 2 MiB second-level cache
  SUMS_BYTES = 1 << 20,    // of sums kept between chunks
  KEPT_BYTES = 512 << 10,  // of packed A that is kept from panel to panel
  NEAR_BYTES = 512 << 10,  // of an A that stays in the second-level cache
  GROUP = 4,               // strips of A that are packed together where they lie beside each other
  PIECES = 3,              // of a part that a thread does one by one,
  PIECE_ROWS = 256,        // of at least so many rows
};
#endif

typedef struct {
  const rg_gemm *g;
  const rg_kind *kind; // for its packers
  rg_side a, b;
  int in_place;    // whole strips of A are loaded where they lie
  int near;        // A lies in the second-level cache
  int bare;        // C is bf16 and the product and nothing else
  long rows, cols; // of a thread's part of C
  long across;     // parts beside each other
  long panel, kc;  // columns and k of a stage
  long panels;     // of a part
  long pieces, piece; // of a part's rows, and how many rows each has
  uint64_t number; // of this product, in the process
} plan;

// A task multiplies a piece of a part's rows with one of its panels.
typedef struct {
  const plan *p;
  long i0, m; // rows
  int keep_a; // packed strips of A stay for all panels,
  int have_a; // and are there
  uint16_t *packed_a, *packed_b;
  float *tiles;
  beside w;
} part;

// A stage: all rows of a task times a chunk of B, columns j… and k….
typedef struct { long j, n, k, kc; } stage;

// What lies packed in this thread's buffers: it stays good for other tasks of the product.
static _Thread_local struct { uint64_t number; long i, j, k; } packed;
static _Atomic uint64_t products;

static long steps_of(long k) { return rg_ceil_div(k, KSTEP); }

// strip_at returns the strip of A at row i, packed where it does not lie well.
static strip strip_at(const part *t, const stage *x, long i, long rows) {
  const plan *p = t->p;
  const rg_gemm *g = p->g;
  if (p->in_place && rows == STRIP) {
    const uint16_t *a = (const uint16_t *)g->a + i * g->lda + x->k;
    return (strip){a, a + 16 * g->lda, g->lda * 2, KSTEP};
  }
  long r = (i - t->i0) / STRIP, group = g->ta ? GROUP : 1, bytes = steps_of(x->kc) * BLOCK;
  uint16_t *a = t->packed_a + (t->keep_a ? r : r % group) * bytes;
  if (!t->have_a && r % group == 0)
    p->kind->pack_a(&p->a, i, rg_min(group, rg_ceil_div(t->m, STRIP) - r), x->k, x->kc, a);
  return (strip){a, a + HALF, LINE, BLOCK};
}

// ask_for makes `steps` steps fetch the strip of A at row i into the second-level cache. (Where rows are k, one line of each, that
// gains nothing.)
static void ask_for(part *t, const stage *x, long i, long steps) {
  const rg_gemm *g = t->p->g;
  t->w.lines = 0;
  if (g->ta || t->p->near || t->have_a || i + STRIP > g->m || steps <= 0) return;
  t->w.ask = (const char *)((const uint16_t *)g->a + i * g->lda + x->k);
  t->w.at = 0, t->w.width = x->kc * 2, t->w.next = g->lda * 2;
  t->w.lines = rg_ceil_div(STRIP * rg_ceil_div(x->kc * 2, LINE), steps);
}

// finish takes the complete sums of a tile to C: beside the next tile's products if they only need rounding.
static void finish(part *t, const float *tile, long i, long rows, long j, long cols) {
  const rg_gemm *g = t->p->g;
  if (!t->p->bare || cols < STRIP || rows < STRIP) rg_gemm_epilogue(g, tile, STRIP, i, rows, j, cols);
  else t->w.tile = tile, t->w.c = (uint16_t *)g->c + i * g->ldc + j, t->w.ldc = g->ldc;
}

// multiply_strip multiplies the strip of A at row i with a stage of B.
AMX static void multiply_strip(part *t, const stage *x, long i) {
  const plan *p = t->p;
  long k_all = p->g->k, rows = rg_min(STRIP, t->i0 + t->m - i), tiles = rg_ceil_div(x->n, STRIP), all = steps_of(x->kc);
  long cut = k_all <= WHOLE_K ? all : rg_ceil_div(all, rg_ceil_div(all * KSTEP, L1_K));
  strip a = strip_at(t, x, i, rows);
  ask_for(t, x, i + STRIP, tiles * (all - rg_ceil_div(all, cut)));
  float *sums = t->tiles + (p->kc < k_all ? (i - t->i0) * rg_ceil_div(p->panel, STRIP) * STRIP : 0);
  for (long k = 0; k < all; k += cut) {
    long steps = rg_min(cut, all - k);
    int first = x->k == 0 && k == 0, last = x->k + x->kc == k_all && k + steps == all;
    strip ak = {a.upper + k * a.step, a.lower + k * a.step, a.ld, a.step};
    for (long c = 0; c < tiles; c++) {
      float *tile = sums + (first && last ? 0 : c * STRIP * STRIP);
      multiply(steps, ak, t->packed_b + (c * all + k) * BLOCK, tile, !first, &t->w);
      if (last) finish(t, tile, i, rows, x->j + c * STRIP, rg_min(STRIP, x->n - c * STRIP));
    }
  }
}

AMX static void run_task(void *ctx, long task) {
  const plan *p = ctx;
  const rg_gemm *g = p->g;
  long each = p->panels * p->pieces, part_i = task / each / p->across * p->rows, part_j = task / each % p->across * p->cols;
  long i = part_i + task % p->pieces * p->piece, j = part_j + task / p->pieces % p->panels * p->panel;
  part t = {.p = p, .i0 = i, .m = rg_min(p->piece, rg_min(part_i + p->rows, g->m) - i)};
  stage x = {j, rg_min(p->panel, rg_min(part_j + p->cols, g->n) - j)};
  if (t.m <= 0 || x.n <= 0) return;
  long strips = rg_ceil_div(t.m, STRIP), wide = rg_ceil_div(p->panel, STRIP), bytes = steps_of(p->kc) * BLOCK * 2;
  int known = packed.number == p->number;
  t.keep_a = p->kc == g->k && strips * bytes <= KEPT_BYTES;
  t.have_a = t.keep_a && known && packed.i == i;
  t.packed_b = rg_scratch(0, (size_t)(wide * bytes));
  t.packed_a = rg_scratch(1, (size_t)((t.keep_a ? rg_ceil_div(p->piece, STRIP) : GROUP) * bytes));
  t.tiles = rg_scratch(2, (size_t)(wide * (p->kc < g->k ? strips : 1) * STRIP * STRIP) * sizeof(float));
  tiles_config();
  for (; x.k < g->k; x.k += p->kc) {
    x.kc = rg_min(p->kc, g->k - x.k);
    if (!known || packed.j != j || packed.k != x.k) p->kind->pack_b(&p->b, j, rg_ceil_div(x.n, STRIP), x.k, x.kc, t.packed_b);
    packed.number = p->number, packed.i = i, packed.j = j, packed.k = x.k, known = 1;
    for (long r = i; r < i + t.m; r += STRIP) multiply_strip(&t, &x, r);
  }
  convert_tile(&t.w);
  _tile_release();
}

// divide cuts C for threads: the fewest cycles of the largest part, by what a block of 32×32 takes to multiply, pack and load.
static void divide(plan *p, int threads) {
  enum { MULTIPLY = 64, PACK = 100, FETCH = 20 };
  long m = rg_ceil_div(p->g->m, STRIP), n = rg_ceil_div(p->g->n, STRIP), best = 0;
  for (long down = 1; down <= threads; down++) {
    long rows = rg_ceil_div(m, down), cols = rg_ceil_div(n, threads / down);
    long cycles = rows * cols * MULTIPLY + cols * PACK + rows * (p->in_place ? FETCH : PACK);
    if (best && cycles >= best) continue;
    best = cycles, p->rows = rows * STRIP, p->cols = cols * STRIP;
  }
}

static long even(long len, long most, long unit) { // parts of len, multiples of unit, all about as long
  most = rg_max(unit, most / unit * unit);
  return rg_ceil_div(rg_ceil_div(len, rg_ceil_div(len, most)), unit) * unit;
}

int rg_gemm_bf16(const rg_gemm *g, rg_parallel_fn parallel, int threads) {
  if (rg_isa < RG_AMX || !g->a_bf16 || !g->b_bf16 || g->b_blocks || g->update) return 0;
  plan p = {g, rg_kind_bf16(), {g->a, g->lda, g->m, 1, !g->ta}, {g->b, g->ldb, g->n, 1, g->tb}};
  // Tiles are loaded from rows that begin lines, and whose lines do not share few sets of the first-level cache.
  p.in_place = !g->ta && g->k % KSTEP == 0 && (uintptr_t)g->a % LINE == 0 && g->lda * 2 % LINE == 0 && g->lda * 2 % 2048 != 0;
  p.bare = g->c_bf16 && !g->bias && !g->pre && !g->act && !g->dact_pre && !g->residual && g->beta == 0;
  p.near = g->m * g->k * 2 <= NEAR_BYTES;
  divide(&p, threads);
  p.kc = g->k <= WHOLE_STAGE_K ? g->k : even(g->k, p.rows * p.cols * 4 <= FEW_SUMS ? STAGE_K / 2 : STAGE_K, KSTEP);
  if (p.kc < g->k) p.rows = rg_min(p.rows, rg_max(STRIP, SUMS_BYTES / (4 * STRIP * 4) / STRIP * STRIP));
  p.panel = even(p.cols, STAGE_BYTES / (p.kc * 2), STRIP);
  if (p.kc < g->k) p.panel = even(p.cols, rg_min(p.panel, SUMS_BYTES / (4 * p.rows)), STRIP);
  p.across = rg_ceil_div(g->n, p.cols), p.panels = rg_ceil_div(p.cols, p.panel);
  // Several tasks a thread, so that a thread that is held up costs little: panels, or else pieces of the rows.
  p.pieces = threads == 1 || p.panels >= PIECES || p.kc < g->k ? 1 : rg_max(1, rg_min(PIECES, p.rows / PIECE_ROWS));
  p.piece = even(p.rows, rg_ceil_div(p.rows, p.pieces), STRIP), p.pieces = rg_ceil_div(p.rows, p.piece);
  p.number = atomic_fetch_add(&products, 1) + 1;
  parallel(rg_ceil_div(g->m, p.rows) * p.across * p.panels * p.pieces, run_task, &p);
  return 1;
}
#endif
