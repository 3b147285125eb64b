//go:build cgo

// One task of a matrix product: a panel is packed, then multiplied, then what it gave becomes C.
#include "gemm_pass.h"
#include <string.h>

enum {
  RUN = 16,        // tiles beside each other that become C together
  UPDATE_RUN = 64, // where C is a parameter: three arrays come from memory, which is fast along rows
  FINISH_ROWS = 8, // rows of them at a time,
  LONG_ROW = 160,  // where they are at least this long
};

// The panel that a thread has packed stays good for the other tasks of a pass; so does its copy of the shared chunk.
static _Thread_local struct { uint64_t pass; long panel; } packed_panel;
static _Thread_local uint64_t packed_copy; // number of the pass

static void pack_strips(const rg_pass *s, long t, long n, char *dst) {
  (s->shares_a ? s->kind->pack_a : s->kind->pack_b)(&s->shared, s->shared0 + t * s->shared_width, n, s->k0, s->kc,
                                                    dst + t * rg_strip_bytes(s, s->shared_width));
}
void rg_pass_pack(void *ctx, long task) {
  const rg_pass *s = ctx;
  long t = task * s->group;
  pack_strips(s, t, rg_min(s->group, s->shared_strips - t), s->packed);
}

// shared_chunk returns the packed shared chunk: the one of all threads, or this thread's.
static const char *shared_chunk(const rg_pass *s) {
  if (s->packed) return s->packed;
  char *copy = rg_scratch(0, (size_t)(s->shared_strips * rg_strip_bytes(s, s->shared_width)));
  if (packed_copy != s->number) pack_strips(s, 0, s->shared_strips, copy);
  packed_copy = s->number;
  return copy;
}

// The answer for tiles where a shortcut met infinities.
void rg_gemm_plain(const rg_gemm *g, long i0, long rows, long j0, long cols, float *tile, long ldt) {
  for (long i = 0; i < rows; i++) {
    float *c = tile + i * ldt;
    memset(c, 0, (size_t)cols * sizeof(float));
    for (long p = 0; p < g->k; p++) {
      long at = g->ta ? p * g->lda + i0 + i : (i0 + i) * g->lda + p, step = g->tb ? g->ldb : 1;
      float a = g->a_bf16 ? rg_from_bf16(((const uint16_t *)g->a)[at]) : ((const float *)g->a)[at];
      long b = g->tb ? j0 * g->ldb + p : p * g->ldb + j0;
      for (long j = 0; j < cols; j++)
        c[j] += a * (g->b_bf16 ? rg_from_bf16(((const uint16_t *)g->b)[b + j * step]) : ((const float *)g->b)[b + j * step]);
    }
  }
}

// repair computes tiles again in which a shortcut met infinities.
static void repair(const rg_pass *s, float *tile, long i0, long j0) {
  long nr = s->kind->nr, rows = rg_min(s->kind->mr, s->g->m - i0);
  if (!s->kind->exact && !rg_gemm_finite(tile, rows * nr)) rg_gemm_plain(s->g, i0, rows, j0, rg_min(nr, s->g->n - j0), tile, nr);
}

// finish turns a run of n tiles beside each other into C, a few rows at a time: the CPU fetches ahead along rows.
static void finish(const rg_pass *s, const float *tiles, long n, long i0, long j0) {
  const rg_gemm *g = s->g;
  long mr = s->kind->mr, nr = s->kind->nr, end = rg_min(mr, g->m - i0);
  long step = n * nr < LONG_ROW ? mr : FINISH_ROWS;
  if (g->update) {
    rg_gemm_update(g, tiles, nr, mr * nr, i0, end, j0, rg_min(n * nr, g->n - j0));
    return;
  }
  for (long i = 0; i < end; i += step)
    for (long t = 0; t < n; t++) {
      const float *tile = tiles + (t * mr + i) * nr;
      long j = j0 + t * nr, rows = rg_min(step, end - i), cols = rg_min(nr, g->n - j);
      if (s->kind->write && s->bare && cols == nr)
        s->kind->write(tile, (char *)g->c + ((i0 + i) * g->ldc + j) * (g->c_bf16 ? 2 : 4), g->ldc, g->c_bf16, rows);
      else rg_gemm_epilogue(g, tile, nr, i0 + i, rows, j, cols);
    }
}

static long run_of(const rg_gemm *g) { return g->update ? UPDATE_RUN : RUN; }

// A box is the part of C that one task computes: strips of A times strips of B, packed.
typedef struct {
  const char *a, *b;
  long a_bytes, b_bytes; // from one strip to the next
  long i0, j0, rows, cols; // rows and cols count strips
  float *tiles;
  long next_row; // tiles from one strip of A to the next
} box;

static void multiply_box(const rg_pass *s, const box *x) {
  const rg_kind *kind = s->kind;
  long size = kind->mr * kind->nr;
  long run = x->cols * kind->nr < LONG_ROW ? 1 : run_of(s->g); // a tile by itself is still in the first-level cache
  if (kind->enter) kind->enter();
  for (long k = 0; k < s->kpad; k += kind->kinner) {
    long kc = rg_min(kind->kinner, s->kpad - k);
    int start = s->first && k == 0, done = s->last && k + kc == s->kpad;
    for (long r = 0; r < x->rows; r++)
      for (long c0 = 0; c0 < x->cols; c0 += run) {
        float *tiles = x->tiles + (s->keep ? (r * x->next_row + c0) * size : 0);
        long n = rg_min(run, x->cols - c0), i = x->i0 + r * kind->mr, j = x->j0 + c0 * kind->nr;
        const char *a = x->a + r * x->a_bytes + k * kind->mr * kind->bytes;
        for (long c = 0; c < n; c++) {
          const char *b = x->b + (c0 + c) * x->b_bytes + k * kind->nr * kind->bytes;
          kind->micro(kc, a, b, tiles + c * size, !start, s->g->m - i, s->g->n - j - c * kind->nr);
          if (done) repair(s, tiles + c * size, i, j + c * kind->nr);
        }
        if (done) finish(s, tiles, n, i, j);
      }
  }
  if (kind->leave) kind->leave();
}

void rg_pass_multiply(void *ctx, long task) {
  const rg_pass *s = ctx;
  const rg_kind *kind = s->kind;
  long blocks = rg_ceil_div(s->shared_strips, s->block), which = task / blocks;
  long o0 = which * s->panel, own = rg_min(s->panel, s->own_strips - o0);
  long t0 = task % blocks * s->block, shared = rg_min(s->block, s->shared_strips - t0);
  long own_bytes = rg_strip_bytes(s, s->own_width), shared_bytes = rg_strip_bytes(s, s->shared_width);
  char *panel = rg_scratch(1, (size_t)(s->panel * own_bytes));
  if (packed_panel.pass != s->number || packed_panel.panel != which) {
    (s->shares_a ? kind->pack_b : kind->pack_a)(&s->own, s->own0 + o0 * s->own_width, own, s->k0, s->kc, panel);
    packed_panel.pass = s->number, packed_panel.panel = which;
  }
  const char *other = shared_chunk(s) + t0 * shared_bytes;
  long is = s->shared0 + t0 * s->shared_width, io = s->own0 + o0 * s->own_width;
  box x = s->shares_a ? (box){other, panel, shared_bytes, own_bytes, is, io, shared, own, NULL, own}
                      : (box){panel, other, own_bytes, shared_bytes, io, is, own, shared, NULL, shared};
  if (s->partial) { // tiles of the whole pass, row by row
    long all = s->shares_a ? s->own_strips : s->shared_strips, row = s->shares_a ? t0 : o0, col = s->shares_a ? o0 : t0;
    x.tiles = s->partial + (row * all + col) * kind->mr * kind->nr, x.next_row = all;
  } else {
    x.tiles = rg_scratch(3, (size_t)((s->keep ? own * shared : run_of(s->g)) * kind->mr * kind->nr) * sizeof(float));
  }
  multiply_box(s, &x);
}

void rg_pass_forget(void) { packed_panel.pass = packed_copy = 0; }
