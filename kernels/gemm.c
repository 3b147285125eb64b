//go:build cgo

// Matrix products: choice of microkernel, blocking, threads.
//
// One factor, the smaller, is packed as a whole: by all threads into memory that all share or, where that is little work, by
// each thread for itself, which saves fetching it from other cores. Of the other, each thread packs a panel
// that fits its second-level cache, and multiplies it with the first. The order of every sum over k follows from k and
// the kind alone; how C is cut into tasks follows from the number of threads too, but changes no sum.
#include "gemm_bf16.h"
#include "gemm_blocks.h"
#include "gemm_pass.h"
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

typedef void (*task_fn)(void *, long);

static void serially(long n, task_fn fn, void *ctx) {
  for (long i = 0; i < n; i++) fn(ctx, i);
}

enum {
  SHARED_BYTES = 8 << 20,   // of the shared factor packed at a time
  PANEL_BYTES = 640 << 10,  // of a thread's own panel: a third of a 2 MiB second-level cache
  BLOCK_BYTES = 800 << 10,  // of the shared factor that a task goes through for every strip of its panel
  TILES_BYTES = 256 << 10,  // of sums that a task keeps between stretches of k
  PARTIAL_BYTES = 16 << 20, // of sums kept between packings, where k is long
  TASKS_PER_THREAD = 3,     // so that a thread that is held up costs little
};

// --- choice -------------------------------------------------------------------------------------------------------
static int f32_path = -2; // 0: multiply-add, 1: AMX where there is one, -1: by shape, -2: the environment was not asked yet

void rg_gemm_f32_path(int path) { f32_path = path; }

// AMX works on 32×32 tiles and 32 k: what does not fill them is left to multiply-add.
static int fills_tiles(const rg_gemm *g) { return g->m >= 8 && g->n >= 8 && g->k >= 16 && g->m * g->n * g->k >= 32 * 32 * 32; }

static int path(void) {
  if (f32_path == -2) {
    const char *name = getenv("RINGO_F32");
    f32_path = !name ? -1 : strcmp(name, "fma") == 0 ? 0 : strcmp(name, "amx") == 0 ? 1 : -1;
  }
  return f32_path;
}

static const rg_kind *choose(const rg_gemm *g) {
  const rg_kind *bf16 = rg_kind_bf16(), *split = rg_kind_split();
  int exact = g->a_bf16 && g->b_bf16; // products of bf16 are exact in f32
  if (bf16 && (g->precision == RG_GEMM_BF16 || (exact && path() != 0)) && fills_tiles(g)) return bf16;
  if (split && (path() == 1 || (path() == -1 && fills_tiles(g)))) return split;
  return rg_kind_fma();
}

// --- one product --------------------------------------------------------------------------------------------------
static _Atomic uint64_t passes;

// cut chooses the tasks of a pass: panels of own that fit the second-level cache, blocks of shared that do too, or whose
// tiles do where those are kept.
static void cut(rg_pass *s, int threads) {
  long tasks = threads > 1 ? threads * TASKS_PER_THREAD : 1;
  long fit = rg_max(1, PANEL_BYTES / rg_strip_bytes(s, s->own_width));
  long even = rg_max(1, s->own_strips / tasks);
  s->panel = rg_min(fit, even);
  s->panel = rg_ceil_div(s->own_strips, rg_ceil_div(s->own_strips, s->panel));
  long panels = rg_ceil_div(s->own_strips, s->panel);
  long most = s->keep ? TILES_BYTES / (s->panel * s->kind->mr * s->kind->nr * (long)sizeof(float))
                      : BLOCK_BYTES / rg_strip_bytes(s, s->shared_width);
  s->block = rg_min(rg_max(1, most), rg_max(1, s->shared_strips / rg_ceil_div(tasks, panels)));
  s->block = rg_ceil_div(s->shared_strips, rg_ceil_div(s->shared_strips, s->block));
  s->group = rg_max(1, s->shared_strips / tasks);
}

static void run_pass(rg_pass *s, rg_parallel_fn parallel, int threads) {
  cut(s, threads);
  s->number = atomic_fetch_add(&passes, 1) + 1;
  if (s->packed) parallel(rg_ceil_div(s->shared_strips, s->group), rg_pass_pack, s);
  parallel(rg_ceil_div(s->own_strips, s->panel) * rg_ceil_div(s->shared_strips, s->block), rg_pass_multiply, s);
}

static long even_chunk(long len, long most, long unit) { // a multiple of unit, all chunks about as long
  most = rg_max(unit, most / unit * unit);
  return rg_ceil_div(rg_ceil_div(len, rg_ceil_div(len, most)), unit) * unit;
}

static void product(const rg_gemm *g, rg_parallel_fn parallel, int threads) {
  if (g->b_blocks) {
    rg_blocks_run(g, parallel, threads);
    return;
  }
  if (g->m <= RG_SKINNY && g->n > 0) {
    rg_gemm_skinny(g, parallel);
    return;
  }
  if (path() != 1 && rg_gemm_narrow(g, parallel)) return;
  const rg_kind *kind = choose(g);
  if (kind == rg_kind_bf16() && rg_gemm_bf16(g, parallel, threads)) return;
  if (kind == rg_kind_split() && rg_gemm_beside(g, parallel, threads)) return;
  rg_side a = {g->a, g->lda, g->m, g->a_bf16, !g->ta}, b = {g->b, g->ldb, g->n, g->b_bf16, g->tb};
  rg_pass s = {.g = g, .kind = kind, .shares_a = g->m <= g->n && !g->update}; // a task that moves a parameter wants whole rows
  s.bare = !g->bias && !g->pre && !g->act && !g->dact_pre && !g->residual && g->beta == 0 && !g->update;
  s.shared = s.shares_a ? a : b, s.own = s.shares_a ? b : a;
  s.shared_width = s.shares_a ? kind->mr : kind->nr, s.own_width = s.shares_a ? kind->nr : kind->mr;
  long kc = even_chunk(g->k, kind->kpack, kind->kunit);
  long chunk = even_chunk(s.shared.len, SHARED_BYTES / (kc * kind->bytes), s.shared_width), own_chunk = s.own.len;
  if (kc < g->k) own_chunk = even_chunk(s.own.len, PARTIAL_BYTES / (long)sizeof(float) / chunk, s.own_width);
  // Packing takes less time than fetching what another core has packed: worth doing again where it is little work.
  int alone = chunk * threads <= 4 * own_chunk;
  s.packed = alone ? NULL : rg_scratch(0, (size_t)(chunk * kc * kind->bytes));
  if (kc < g->k)
    s.partial = rg_scratch(2, (size_t)(chunk * rg_ceil_div(own_chunk, s.own_width) * s.own_width) * sizeof(float));
  for (s.shared0 = 0; s.shared0 < s.shared.len; s.shared0 += chunk)
    for (s.own0 = 0; s.own0 < s.own.len; s.own0 += own_chunk) {
      s.shared_strips = rg_ceil_div(rg_min(chunk, s.shared.len - s.shared0), s.shared_width);
      s.own_strips = rg_ceil_div(rg_min(own_chunk, s.own.len - s.own0), s.own_width);
      for (s.k0 = 0; s.k0 < g->k; s.k0 += kc) {
        s.kc = rg_min(kc, g->k - s.k0), s.kpad = rg_ceil_div(s.kc, kind->kunit) * kind->kunit;
        s.keep = s.partial || s.kpad > kind->kinner;
        s.first = s.k0 == 0, s.last = s.k0 + kc >= g->k;
        run_pass(&s, parallel, threads);
      }
    }
}

int rg_gemm_adds_rows(const rg_gemm *g) {
  return g->ta && g->m > RG_SKINNY && g->batch <= 1 && choose(g) == rg_kind_split() && rg_gemm_is_beside(g);
}

// --- batches ------------------------------------------------------------------------------------------------------
static const void *moved(const void *p, long elements, int bf16) {
  return p ? (const char *)p + elements * (bf16 ? 2 : 4) : NULL;
}

static rg_gemm item_of(const rg_gemm *g, long i) {
  rg_gemm one = *g;
  long c = i * g->stride_c;
  one.batch = 1;
  one.a = moved(g->a, g->a_off ? g->a_off[i] : i * g->stride_a, g->a_bf16);
  one.b = moved(g->b, g->b_off ? g->b_off[i] : i * g->stride_b, g->b_bf16);
  one.c = (void *)moved(g->c, c, g->c_bf16);
  one.pre = (void *)moved(g->pre, c, g->c_bf16);
  one.dact_pre = moved(g->dact_pre, c, g->c_bf16);
  one.residual = moved(g->residual, c, g->c_bf16);
  return one;
}

// A product over no k at all is the epilogue of zeros.
static void empty(const rg_gemm *g) {
  float zeros[64] = {0};
  for (long i = 0; i < g->m; i++)
    for (long j = 0; j < g->n; j += 64) rg_gemm_epilogue(g, zeros, 64, i, 1, j, rg_min(64, g->n - j));
}

static void one_item(const rg_gemm *g, long i, rg_parallel_fn parallel, int threads) {
  rg_gemm one = item_of(g, i);
  if (g->k == 0) empty(&one);
  else product(&one, parallel, threads);
}

static void item_task(void *ctx, long i) { one_item(ctx, i, serially, 1); }

void rg_gemm_serial(const rg_gemm *g) {
  if (g->m <= 0 || g->n <= 0) return;
  for (long i = 0; i < rg_max(1, g->batch); i++) one_item(g, i, serially, 1);
}

void rg_gemm_run(const rg_gemm *g) {
  enum { SMALL = 1 << 17 }; // multiplications that take no longer than handing out tasks
  int threads = rg_threads();
  if (threads == 1 || g->m * g->n * g->k * rg_max(1, g->batch) < SMALL) rg_gemm_serial(g);
  else if (g->m <= 0 || g->n <= 0) return;
  else if (g->batch >= 2 * threads) rg_parallel(g->batch, item_task, (void *)g);
  else
    for (long i = 0; i < rg_max(1, g->batch); i++) one_item(g, i, rg_parallel, threads);
}

// --- peak ---------------------------------------------------------------------------------------------------------
typedef struct { const rg_kind *kind; long kc, repeats; } peak;

static void peak_task(void *ctx, long i) {
  const peak *p = ctx;
  long a = p->kc * p->kind->mr * p->kind->bytes, b = p->kc * p->kind->nr * p->kind->bytes;
  char *panels = rg_scratch(1, (size_t)(a + b + 64));
  float *tile = rg_scratch(3, (size_t)(p->kind->mr * p->kind->nr) * sizeof(float));
  rg_pass_forget(); // the scratch is ours now
  // Numbers of ordinary size: on zeros the CPU clocks AMX a fifth higher than any real product lets it.
  for (long n = 0; n < (a + b + 64) / 2; n++) ((uint16_t *)panels)[n] = (uint16_t)(0x3f00 + n * 37 % 256);
  (void)i;
  if (p->kind->enter) p->kind->enter();
  for (long r = 0; r < p->repeats; r++) p->kind->micro(p->kc, panels, panels + (a + 63) / 64 * 64, tile, 0, p->kind->mr, p->kind->nr);
  if (p->kind->leave) p->kind->leave();
}

double rg_gemm_peak_work(int precision, long repeats) {
  const rg_gemm g = {.m = 1024, .n = 1024, .k = 1024, .precision = precision};
  const rg_kind *kind = choose(&g);
  peak p = {kind, rg_min(128, kind->kinner), repeats};
  rg_parallel(rg_threads(), peak_task, &p);
  return 2.0 * kind->mr * kind->nr * p.kc * repeats * rg_threads();
}
