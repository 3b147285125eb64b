//go:build cgo

// AdamW in the end of a bf16 product on AMX, as one pipeline: while the tiles of one run of C multiply, the run before it moves its
// parameters, and the blocks of the one before that leave for memory. Parameter, m and v come from memory, 24 bytes there and
// back for each number, four times as long as AMX takes for a batch of 256 rows: so they are what is never kept waiting.
//
// A run is 32 whole rows of C: memory that is read from its beginning to its end is what the CPU fetches ahead best. Rows of columns
// by columns take up to twice the time, and asking for lines by loads of our own, or streaming stores of what is read first,
// gain nothing here.
#include "gemm_update.h"

#ifndef __x86_64__
int rg_update_run(const rg_gemm *g) { return (void)g, 0; }
#else
#pragma GCC push_options
#pragma GCC optimize("O3", "no-math-errno", "no-trapping-math")
#pragma GCC target("amx-tile,amx-bf16,avx2,fma,avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")
#define RG_NAME(x) x##_amx
#define RG_WIDTH 16
#include "gemm_amx.h"
#include "gemm_blocks.h"
#include "rg_vec.h"
#include <math.h>
#include "optim_step.h"

enum {
  SIDE = RG_BLOCK,
  NUMBERS = SIDE * SIDE, // of a tile
  LINES = NUMBERS / 32,  // of a block, 64 bytes each
  MOST_K = 512,          // more, and AMX is what takes the time: the driver of ordinary products has better blocking for that
  MOST_COLS = 4096,      // of a run: two runs' sums lie in the second-level cache
  TASK_ROWS = 16,        // runs of rows in a task, at most
};

// What all tasks share; both factors are packed over the whole of k.
typedef struct {
  const rg_gemm *g;
  const rg_kind *kind;
  long kpad;
  long cols;    // of a run
  long strips;  // of 32 rows, in a task
  rg_side a, b;
  uint16_t *packed; // b
} job;

typedef struct {
  long i0, rows, j0, cols; // rows 0: no run
  float *tiles;            // sums; the update leaves the pair of rows 2q, 2q+1 in bf16 where row 2q was
} run;

// Where a run's update has come to.
typedef struct {
  const rg_gemm *g;
  run at;
  long row, vec, vecs;
} sweep;

// move updates up to n vectors of one row, from vector `from`. With pairs the row's bf16 is joined with that of the row above,
// which has moved already; whole: no vector reaches past the matrix.
RG_VEC void move(const sweep *s, long from, long n, const int pairs, const int extra, const int whole) {
  const struct rg_update *u = s->g->update;
  const rg_adamw_set set = u->set;
  const run *r = &s->at;
  long i = r->i0 + s->row, ld = s->g->ldc;
  const int alone = !whole && s->row % 2 == 0; // the last row of an odd number of them
  for (long w = from; w < from + n; w++) {
    long j = r->j0 + w * 16, at = i * ld + j, k = whole ? 16 : r->j0 + r->cols - j;
    float *sum = r->tiles + w / 2 * NUMBERS + s->row * SIDE + w % 2 * 16;
    float *param = (float *)s->g->c + at;
    vf grad = v_loadu(sum), p = v_load(param, k, 0), m = v_load(u->m + at, k, 0), v = v_load(u->v + at, k, 0);
    if (extra) {
      long e = u->places.start[i], to = u->places.start[i + 1];
      vf more = v_load(u->rows + u->places.order[e] * s->g->n + j, k, 0);
      while (++e < to) more += v_load(u->rows + u->places.order[e] * s->g->n + j, k, 0);
      grad += more;
    }
    v_adamw(&set, grad, &p, &m, &v);
    v_store(u->m + at, m, k);
    v_store(u->v + at, v, k);
    v_store(param, p, k);
    if (!pairs) continue;
    __m512 x = _mm512_maskz_mov_ps(first(k), (__m512)p), above = alone ? x : (__m512)v_load(param - ld, k, 0);
    _mm512_store_si512((__m512i *)(alone ? sum : sum - SIDE), round_pair(above, alone ? _mm512_setzero_ps() : x, 1));
  }
}

// advance updates n more vectors of a run, along its rows.
static void advance(sweep *s, long n) {
  const struct rg_update *u = s->g->update;
  while (n > 0 && s->row < s->at.rows) {
    long some = rg_min(n, s->vecs - s->vec), i = s->at.i0 + s->row;
    int pairs = u->blocks && (s->row % 2 || s->row == s->at.rows - 1);
    int whole = (s->vec + some) * 16 <= s->at.cols && (s->row % 2 || !pairs);
    if (u->rows && u->places.start[i] < u->places.start[i + 1]) move(s, s->vec, some, pairs, 1, 0);
    else if (!whole) move(s, s->vec, some, pairs, 0, 0);
    else if (pairs) move(s, s->vec, some, 1, 0, 1);
    else move(s, s->vec, some, 0, 0, 1);
    n -= some, s->vec += some;
    if (s->vec == s->vecs) s->vec = 0, s->row++;
  }
}

// put sends lines from…to−1 of a moved run's block t to memory, past the caches: they are read a step later.
AMX_INLINE void put(const rg_gemm *g, const run *r, long t, long from, long to) {
  long pairs = (r->rows + 1) / 2, halves = rg_min(2, rg_ceil_div(r->cols - t * SIDE, 16));
  __m512i *block = (__m512i *)(g->update->blocks + ((r->j0 / SIDE + t) * rg_ceil_div(g->m, SIDE) + r->i0 / SIDE) * RG_BLOCK_SIZE);
  for (long l = from; l < to; l++)
    if (l % 16 < pairs && l / 16 < halves)
      _mm512_stream_si512(block + l, _mm512_load_si512(r->tiles + t * NUMBERS + l % 16 * 2 * SIDE + l / 16 * 16));
}

// stage multiplies one run, moves the parameters of another and puts the blocks of a third, whose place in memory the first takes.
static void stage(const job *j, const uint16_t *a, const run *multiply, const run *moved, const run *done) {
  const long steps = j->kpad / SIDE, tiles = multiply->rows ? rg_ceil_div(multiply->cols, SIDE) : 0;
  const long old = done->rows && j->g->update->blocks ? rg_ceil_div(done->cols, SIDE) : 0, lines = rg_ceil_div(LINES, steps);
  sweep s = {.g = j->g, .at = *moved, .vecs = rg_ceil_div(moved->cols, 16)};
  const long share = tiles ? rg_ceil_div(moved->rows * s.vecs, tiles * steps) : 0;
  const uint16_t *b = j->packed + multiply->j0 * j->kpad;
  for (long t = 0; t < tiles; t++) {
    load_sums(multiply->tiles, 0);
    for (long k = 0; k < steps; k++, b += NUMBERS) {
      add_block(a + k * NUMBERS, b);
      if (t < old) put(j->g, done, t, k * lines, rg_min(LINES, k * lines + lines));
      advance(&s, share);
    }
    store_sums(multiply->tiles + t * NUMBERS);
  }
  for (long t = tiles; t < old; t++) put(j->g, done, t, 0, LINES);
  advance(&s, moved->rows * s.vecs);
}

static void pack_columns(void *ctx, long strip) {
  const job *j = ctx;
  j->kind->pack_b(&j->b, strip * SIDE, 1, 0, j->g->k, j->packed + strip * SIDE * j->kpad);
}

// update_rows is a task: the pipeline over the runs of some strips of rows.
static void update_rows(void *ctx, long task) {
  const job *j = ctx;
  const rg_gemm *g = j->g;
  long i0 = task * j->strips * SIDE, strips = rg_min(j->strips, rg_ceil_div(g->m - i0, SIDE)), across = rg_ceil_div(g->n, j->cols);
  uint16_t *a = rg_scratch(1, (size_t)(j->strips * SIDE * j->kpad) * sizeof *a);
  float *tiles = rg_scratch(3, (size_t)(2 * j->cols * SIDE) * sizeof *tiles);
  j->kind->pack_a(&j->a, i0, strips, 0, g->k, a);
  j->kind->enter();
  run last[3] = {0}; // run x, and the two before it
  for (long x = 0; x < strips * across + 2; x++) {
    long strip = x / across, j0 = x % across * j->cols;
    last[2] = last[1], last[1] = last[0], last[0] = (run){0};
    if (strip < strips)
      last[0] = (run){i0 + strip * SIDE, rg_min(SIDE, g->m - i0 - strip * SIDE), j0, rg_min(j->cols, g->n - j0), tiles + x % 2 * j->cols * SIDE};
    stage(j, a + rg_min(strip, strips - 1) * SIDE * j->kpad, &last[0], &last[1], &last[2]);
  }
  j->kind->leave();
  _mm_sfence();
}

int rg_update_run(const rg_gemm *g) {
  const rg_kind *kind = rg_kind_bf16();
  if (!kind || g->precision != RG_GEMM_BF16 || g->k > MOST_K || g->m < SIDE || g->n < SIDE) return 0;
  job j = {.g = g, .kind = kind, .kpad = rg_ceil_div(g->k, SIDE) * SIDE};
  j.a = (rg_side){g->a, g->lda, g->m, g->a_bf16, !g->ta}, j.b = (rg_side){g->b, g->ldb, g->n, g->b_bf16, g->tb};
  long wide = rg_ceil_div(g->n, SIDE), tall = rg_ceil_div(g->m, SIDE);
  j.cols = rg_ceil_div(wide, rg_ceil_div(g->n, MOST_COLS)) * SIDE;
  j.strips = rg_min(TASK_ROWS, rg_ceil_div(tall, rg_threads()));
  j.packed = rg_scratch(0, (size_t)(wide * SIDE * j.kpad) * sizeof *j.packed);
  rg_parallel(wide, pack_columns, &j);
  rg_parallel(rg_ceil_div(tall, j.strips), update_rows, &j);
  return 1;
}
#pragma GCC pop_options
#endif
