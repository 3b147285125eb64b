//go:build cgo

// AdamW in the end of a bf16 product on AMX, as one pipeline: while the tiles of one run of C multiply, the run before it moves its
// parameters, and the blocks of the one before that leave for memory. Parameter, m and v come from memory, 24 bytes there and
// back for each number, four times as long as AMX takes for a batch of 256 rows: so they are what is never kept waiting.
//
// A run is 32 whole rows of C: memory that is read from its beginning to its end is what the CPU fetches ahead best. Rows of columns
// by columns take up to twice the time. Sometimes the CPU stops fetching ahead for half a millisecond, and a run takes three times as long;
// so each line is asked for 2 KB before its turn as well, into the first-level cache: a run then takes twice as long, and a tenth
// less when the CPU does fetch ahead. Streaming stores of what is read first gain nothing here.
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
  PAD = 16,              // numbers between rows of sums, so that 32 of them lie in different sets of the first-level cache
  AHEAD = 512,           // numbers
  MOST_K = 512,          // more, and AMX is what takes the time: the driver of ordinary products has better blocking for that
  MOST_COLS = 4096,      // of a run: two runs' sums lie in the second-level cache
  TASK_ROWS = 24,        // runs of rows in a task, at most
  GROUP = 16,            // strips of b in a task, at most
};

// What all tasks share; both factors are packed over the whole of k.
typedef struct {
  const rg_gemm *g;
  const rg_kind *kind;
  long kpad;
  long cols;    // of a run
  long strips;  // of 32 rows, in a task
  long group;   // strips of b that a task packs
  rg_side a, b;
  uint16_t *packed; // b
} job;

typedef struct {
  long i0, rows, j0, cols; // rows 0: no run
  float *sums; // the update leaves the pair of rows 2q, 2q+1 in bf16 where row 2q was
  long ld;     // from row to row of them
} run;

// Where a run's update has come to.
typedef struct {
  const rg_gemm *g;
  run at;
  long row, vec, vecs;
  uint16_t *above; // the row above in bf16
} sweep;

// What a row's update does for blocks: nothing, keeps the row for the one below, joins it with the one above, or has no other.
enum { NO_BLOCKS, UPPER, LOWER, ALONE };

// move updates up to n vectors of one row, from vector `from`; whole: no vector reaches past the matrix.
RG_VEC void move(const sweep *s, long from, long n, const int pair, const int extra, const int whole) {
  const struct rg_update *u = s->g->update;
  const rg_adamw_set set = u->set;
  const run *r = &s->at;
  const long i = r->i0 + s->row, ld = s->g->ldc;
  for (long w = from; w < from + n; w++) {
    long j = r->j0 + w * 16, at = i * ld + j, k = whole ? 16 : r->j0 + r->cols - j;
    float *sum = r->sums + s->row * r->ld + w * 16, *param = (float *)s->g->c + at, *mom = u->m + at, *sq = u->v + at;
    _mm_prefetch(param + AHEAD, _MM_HINT_T0), _mm_prefetch(mom + AHEAD, _MM_HINT_T0), _mm_prefetch(sq + AHEAD, _MM_HINT_T0);
    vf grad = v_loadu(sum), p = v_load(param, k, 0), m = v_load(mom, k, 0), v = v_load(sq, k, 0);
    if (extra) {
      long e = u->places.start[i], to = u->places.start[i + 1];
      vf more = v_load(u->rows + u->places.order[e] * s->g->n + j, k, 0);
      while (++e < to) more += v_load(u->rows + u->places.order[e] * s->g->n + j, k, 0);
      grad += more;
    }
    v_adamw(&set, grad, &p, &m, &v);
    v_store(mom, m, k);
    v_store(sq, v, k);
    v_store(param, p, k);
    if (pair == NO_BLOCKS) continue;
    __m256i *above = (__m256i *)(s->above + w * 16), half = (__m256i)_mm512_maskz_cvtneps_pbh(first(k), (__m512)p);
    if (pair == UPPER) _mm256_store_si256(above, half);
    else if (pair == ALONE) _mm512_store_si512(sum, _mm512_cvtepu16_epi32(half));
    else {
      __m512i low = _mm512_cvtepu16_epi32(_mm256_load_si256(above)), high = _mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16);
      _mm512_store_si512(sum - r->ld, _mm512_or_si512(low, high));
    }
  }
}

// advance updates n more vectors of a run, along its rows.
static void advance(sweep *s, long n) {
  const struct rg_update *u = s->g->update;
  while (n > 0 && s->row < s->at.rows) {
    long some = rg_min(n, s->vecs - s->vec), i = s->at.i0 + s->row;
    int pair = !u->blocks ? NO_BLOCKS : s->row % 2 ? LOWER : s->row < s->at.rows - 1 ? UPPER : ALONE;
    int extra = u->rows && u->places.start[i] < u->places.start[i + 1];
    if (extra || pair == ALONE || (s->vec + some) * 16 > s->at.cols) move(s, s->vec, some, pair, extra, 0);
    else if (pair == UPPER) move(s, s->vec, some, UPPER, 0, 1);
    else if (pair == LOWER) move(s, s->vec, some, LOWER, 0, 1);
    else move(s, s->vec, some, NO_BLOCKS, 0, 1);
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
      _mm512_stream_si512(block + l, _mm512_load_si512(r->sums + l % 16 * 2 * r->ld + t * SIDE + l / 16 * 16));
}

// keep_sums stores those of a tile in a run's rows.
AMX_INLINE void keep_sums(float *c, long ld) {
  STORE(0, c, ld * 4), STORE(1, c + 16, ld * 4);
  STORE(2, c + 16 * ld, ld * 4), STORE(3, c + 16 * ld + 16, ld * 4);
}

// stage multiplies one run, moves the parameters of another and puts the blocks of a third, whose place in memory the first takes.
static void stage(const job *j, const uint16_t *a, const run *multiply, const run *moved, const run *done, uint16_t *above) {
  const long steps = j->kpad / SIDE, tiles = multiply->rows ? rg_ceil_div(multiply->cols, SIDE) : 0;
  const long old = done->rows && j->g->update->blocks ? rg_ceil_div(done->cols, SIDE) : 0, lines = rg_ceil_div(LINES, steps);
  sweep s = {.g = j->g, .at = *moved, .vecs = rg_ceil_div(moved->cols, 16), .above = above};
  const long share = tiles ? rg_ceil_div(moved->rows * s.vecs, tiles * steps) : 0;
  const uint16_t *b = j->packed + multiply->j0 * j->kpad;
  for (long t = 0; t < tiles; t++) {
    load_sums(multiply->sums, 0);
    for (long k = 0; k < steps; k++, b += NUMBERS) {
      add_block(a + k * NUMBERS, b);
      if (t < old) put(j->g, done, t, k * lines, rg_min(LINES, k * lines + lines));
      advance(&s, share);
    }
    keep_sums(multiply->sums + t * SIDE, multiply->ld);
  }
  for (long t = tiles; t < old; t++) put(j->g, done, t, 0, LINES);
  advance(&s, moved->rows * s.vecs);
}

// pack_columns is a task: some strips of b. Where they lie in rows of k, these are read in longer pieces for several of them.
static void pack_columns(void *ctx, long task) {
  const job *j = ctx;
  long strip = task * j->group, strips = rg_min(j->group, rg_ceil_div(j->g->n, SIDE) - strip);
  j->kind->pack_b(&j->b, strip * SIDE, strips, 0, j->g->k, j->packed + strip * SIDE * j->kpad);
}

// update_rows is a task: the pipeline over the runs of some strips of rows.
static void update_rows(void *ctx, long task) {
  const job *j = ctx;
  const rg_gemm *g = j->g;
  const long i0 = task * j->strips * SIDE, strips = rg_min(j->strips, rg_ceil_div(g->m - i0, SIDE)), across = rg_ceil_div(g->n, j->cols);
  const long ld = j->cols + PAD;
  uint16_t *a = rg_scratch(1, (size_t)(j->strips * SIDE * j->kpad) * sizeof *a);
  float *sums = rg_scratch(3, (size_t)(2 * ld * SIDE + j->cols) * sizeof *sums); // of two runs, then a row in bf16
  uint16_t *above = (uint16_t *)(sums + 2 * ld * SIDE);
  j->kind->pack_a(&j->a, i0, strips, 0, g->k, a);
  j->kind->enter();
  run last[3] = {0}; // run x, and the two before it
  for (long x = 0; x < strips * across + 2; x++) {
    long strip = x / across, j0 = x % across * j->cols;
    last[2] = last[1], last[1] = last[0], last[0] = (run){0};
    if (strip < strips)
      last[0] = (run){i0 + strip * SIDE, rg_min(SIDE, g->m - i0 - strip * SIDE), j0, rg_min(j->cols, g->n - j0), sums + x % 2 * ld * SIDE, ld};
    stage(j, a + rg_min(strip, strips - 1) * SIDE * j->kpad, &last[0], &last[1], &last[2], above);
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
  j.group = rg_min(GROUP, rg_ceil_div(wide, rg_threads()));
  rg_parallel(rg_ceil_div(wide, j.group), pack_columns, &j);
  rg_parallel(rg_ceil_div(tall, j.strips), update_rows, &j);
  return 1;
}
#pragma GCC pop_options
#endif
