//go:build cgo

// Products of activations with weights in blocks: the driver.
//
// Weights come from memory once for 256 rows, 2 bytes for each number. A unit is a strip of 32 columns over a chunk of k, past
// which the rows of A go from the second-level cache. A thread goes from unit to unit through all that it does of a product,
// in one pipeline; beside the tiles of a unit, where the CPU's vector and load ports are free,
//   - the lines of the unit to come are asked for, one after the other and evenly;
//   - of Wᵀ, the next unit is turned into the order that tiles are loaded in. W itself is multiplied where it lies;
//   - the tile before becomes C;
//   - where k is cut, the thread packs the next chunk of A for itself.
// A sum runs through k in order, in two halves where k is very long, whatever the number of threads and the cuts are.
#include "gemm_blocks.h"
#include <stdatomic.h>

#ifndef __x86_64__
void rg_blocks_run(const rg_gemm *g, rg_parallel_fn parallel, int threads) { (void)g, (void)parallel, (void)threads; }
#else
#pragma GCC push_options
#pragma GCC optimize("O3", "no-math-errno", "no-trapping-math")
#pragma GCC target("amx-tile,amx-bf16,avx2,fma,avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")
#include "gemm_blocks_tile.h"

enum {
  TALL = 8,        // tiles that a unit has below each other
  CHUNK = 24,      // blocks of k in a unit, at most: 48 KB
  LONG_K = 128,    // blocks of k from which on it is cut into parts
  LONG_CHUNK = 12,
  PARTS = 2,
  GROUP = 12,      // strips that are multiplied with a chunk of A before the next: their tiles, 8 high, take 400 KB of the second-level cache
  LONG_GROUP = 24,
  CACHED = 2 << 20, // bytes of a product that stay in caches
  SUM_ROWS = 8,    // rows of C in a task that adds up parts
};

// A thread's stretch of the groups; the others help when theirs are done.
typedef struct {
  _Alignas(64) _Atomic long next;
  long end;
} stretch;

// What all threads share.
typedef struct {
  const rg_gemm *g;
  rg_gemm to[PARTS]; // what the sums of a part of k become
  const uint16_t *w;
  long k_blocks, strips; // of the whole product
  long chunk, group;     // blocks and strips
  long groups, heights;  // groups beside each other, and below
  long parts, part;      // of k, and how many blocks one has
  int end;
  int past, far;         // C is written past the caches, as waiting for its lines to come from memory takes long; or they are asked for
  int in_place;          // A is loaded where it lies
  uint16_t *packed;      // A, packed by all threads; NULL where it is loaded where it lies, or where each packs for itself
  stretch *stretches;
  int threads;
} job;

// A stage: strips first…last−1 of W, `blocks` blocks from block k on, and the rows of a height. Blocks 0: there is none.
typedef struct { long height, part, first, last, k, blocks; } stage;
// A unit is a strip of a stage.
typedef struct { const stage *in; long strip; } unit;

static stage begin(const job *j, long item) {
  stage s = {.height = item / j->groups / j->parts, .part = item / j->groups % j->parts, .first = item % j->groups * j->group};
  s.last = rg_min(s.first + j->group, j->strips), s.k = s.part * j->part;
  s.blocks = rg_min(j->chunk, rg_min(j->k_blocks, s.k + j->part) - s.k);
  return s;
}
static long part_end(const job *j, const stage *s) { return rg_min(j->k_blocks, (s->part + 1) * j->part); }

static stage claim(const job *j, int thread) {
  for (int n = 0; n < j->threads; n++) {
    stretch *s = &j->stretches[(thread + n) % j->threads];
    if (atomic_load(&s->next) >= s->end) continue;
    long item = atomic_fetch_add(&s->next, 1);
    if (item < s->end) return begin(j, item);
  }
  return (stage){0};
}

// after is the stage behind s: along k, then the thread's next group of strips.
static stage after(const job *j, stage s, int thread) {
  if (s.blocks == 0) return s;
  s.k += s.blocks, s.blocks = rg_min(j->chunk, part_end(j, &s) - s.k);
  return s.blocks > 0 ? s : claim(j, thread);
}

// ahead_of is the unit n units behind u, n ≤ 2; behind a stage in memory lies the next.
static unit ahead_of(unit u, long n) {
  for (u.strip += n; u.in->blocks && u.strip >= u.in->last; u.in++) u.strip += u.in[1].first - u.in->last;
  return u;
}

static long rows_of(const job *j, const stage *s) { return rg_min(TALL * SIDE, j->g->m - s->height * TALL * SIDE); }

// Where a unit's first block lies, and how many numbers lie between it and the next.
static long next_block(const job *j) { return (j->g->tb ? j->strips : 1) * NUMBERS; }
static const uint16_t *block_of(const job *j, unit u) {
  return j->w + (j->g->tb ? u.in->k * j->strips + u.strip : u.strip * j->k_blocks + u.in->k) * NUMBERS;
}

// strip_at returns rows 32r… of a stage; own is the thread's packed chunk.
static strip strip_at(const job *j, const stage *u, long r, const uint16_t *own) {
  long i = (u->height * TALL + r) * SIDE;
  if (j->in_place) {
    const uint16_t *a = (const uint16_t *)j->g->a + i * j->g->lda + u->k * SIDE;
    return (strip){a, a + 16 * j->g->lda, j->g->lda * 2, SIDE};
  }
  const uint16_t *a = j->packed ? j->packed + (i / SIDE * j->k_blocks + u->k) * NUMBERS : own + r * j->chunk * NUMBERS;
  return (strip){a, a + HALF, 64, NUMBERS};
}

// aim_packing makes s pack `rows` rows, from row `row`, of what a stage reads of A.
static void aim_packing(const job *j, beside *s, const stage *u, long row, long rows, uint16_t *own) {
  const rg_gemm *g = j->g;
  long size = g->a_bf16 ? 2 : 4, k = u->k * SIDE, left = rg_min(u->blocks * SIDE, g->k - k);
  s->rows = rg_max(0, rg_min(rows, rows_of(j, u) - row));
  s->pieces = s->rows ? u->blocks : 0;
  s->tail = left % SIDE ? (1u << left % SIDE) - 1 : 0xffffffff;
  s->bf16 = g->a_bf16, s->row_bytes = g->lda * size;
  s->from = (const char *)g->a + ((u->height * TALL * SIDE + row) * g->lda + k) * size;
  s->from_next = row + 2 * rows <= rows_of(j, u) && k + u->blocks * SIDE + SIDE <= g->k ? rows * s->row_bytes : 0;
  s->packed = own + row / SIDE * j->chunk * NUMBERS + row % SIDE * SIDE;
}

// pack_chunk packs all rows from `row` on at once.
static void pack_chunk(const job *j, beside *s, const stage *u, long row, uint16_t *own) {
  for (; row < rows_of(j, u); row++) {
    aim_packing(j, s, u, row, 1, own);
    for (long p = 0; p < u->blocks; p++) pack_pieces(s, p);
  }
  s->pieces = 0;
}

// pack_rows is a task: 32 rows of A.
static void pack_rows(void *ctx, long strip) {
  const job *j = ctx;
  const rg_gemm *g = j->g;
  rg_side a = {g->a, g->lda, g->m, g->a_bf16, !g->ta};
  rg_kind_bf16()->pack_a(&a, strip * SIDE, 1, 0, g->k, j->packed + strip * j->k_blocks * NUMBERS);
}

// finish takes the complete sums of a tile to C: beside the next tile's products if it is whole.
static void finish(const job *j, beside *s, const float *tile, unit u, long r) {
  const rg_gemm *g = &j->to[u.in->part];
  long i = (u.in->height * TALL + r) * SIDE, at = u.strip * SIDE, rows = rg_min(SIDE, g->m - i), cols = rg_min(SIDE, g->n - at);
  if (j->end == OTHER || rows < SIDE || cols < SIDE) {
    rg_gemm_end_of(g)(g, tile, SIDE, i, rows, at, cols);
    return;
  }
  long size = g->c_bf16 ? 2 : 4, from = (i * g->ldc + at) * size;
  const int below = u.in->height * TALL * SIDE + (r + 2) * SIDE <= g->m && r + 1 < TALL;
  const char *with = j->end == ADD_MORE ? g->residual : g->dact_pre;
  s->tile = tile, s->ld = g->ldc * size, s->past = j->past, s->far = j->far;
  s->c = (char *)g->c + from, s->pre = (char *)g->pre + from, s->with = with + from;
  s->next = below ? SIDE * s->ld : at + 2 * SIDE <= g->n ? SIDE * size - r * SIDE * s->ld : 0;
  for (int h = 0; h < 2; h++) // −0 adds nothing to any number
    s->bias[h] = !g->bias ? _mm512_set1_ps(-0.0f) : (__m512)get((const char *)g->bias + (at + 16 * h) * (g->bias_bf16 ? 2 : 4), g->bias_bf16);
}

static int end_of(const rg_gemm *g) {
  if (g->beta != 0 || (g->bias && g->bias_rows) || (g->pre && !g->slope)) return OTHER;
  if (g->dact_pre && (g->dact != RG_ACT_SLOPE || g->residual)) return OTHER;
  if (g->act) return g->act == RG_ACT_GELU_TANH && g->pre && !g->dact_pre && !g->residual ? GELU : OTHER;
  return g->pre ? OTHER : g->dact_pre ? TIMES : g->residual ? ADD_MORE : ADD;
}

// What a thread works with.
typedef struct {
  const job *j;
  stage stages[3];        // the one that is multiplied and the two behind it
  beside s;
  uint16_t *turned, *own; // two units and two chunks of A: what is multiplied, and what is next
  float *tiles;
  long unit, chunk;       // which of the two
} worker;

// multiply_unit multiplies strip `strip` of the first stage.
static void multiply_unit(worker *w, long strip) {
  const job *j = w->j;
  const stage *in = w->stages;
  const unit u = {in, strip}, next = ahead_of(u, 1), load = j->g->tb ? ahead_of(u, 2) : next;
  const long tall = rg_ceil_div(rows_of(j, in), SIDE), bytes = j->chunk * NUMBERS, units = in->last - in->first;
  const int cut = j->part > j->chunk, packs = !j->in_place && !j->packed && w->stages[1].blocks;
  beside *s = &w->s;
  long rows = 1; // of the next chunk of A that are packed beside a tile
  while (rows < SIDE && rows * units * tall < TALL * SIDE) rows *= 2;
  s->ahead = (const char *)block_of(j, load), s->blocks = load.in->blocks, s->line = 0, s->gap = 2 * (next_block(j) - NUMBERS);
  s->share = tall > 4 ? 4 : tall > 2 ? 8 : tall > 1 ? 16 : LINES;
  s->source = block_of(j, next), s->source_next = next_block(j), s->turned = w->turned + (w->unit ^ 1) * bytes;
  s->half = 0, s->halves = j->g->tb ? 2 * next.in->blocks : 0, s->owed = 0, s->tall = tall;
  uint16_t *own_next = w->own + (w->chunk ^ 1) * TALL * bytes;
  const uint16_t *b = j->g->tb ? w->turned + w->unit * bytes : block_of(j, u);
  for (long r = 0; r < tall; r++) {
    float *tile = w->tiles + (cut ? (strip - in->first) * TALL + r : 0) * NUMBERS;
    if (packs) aim_packing(j, s, in + 1, ((strip - in->first) * tall + r) * rows, rows, own_next);
    multiply(in->blocks, strip_at(j, in, r, w->own + w->chunk * TALL * bytes), b, tile, in->k > in->part * j->part, s, j->end, j->to[0].c_bf16);
    if (in->k + in->blocks == part_end(j, in)) finish(j, s, tile, u, r);
  }
  while (s->half < s->halves) turn_next(s);
  s->pieces = 0, w->unit ^= 1;
  if (packs && strip == in->last - 1) pack_chunk(j, s, in + 1, units * tall * rows, own_next);
}

static void run_thread(void *ctx, long thread) {
  const job *j = ctx;
  const long bytes = j->chunk * NUMBERS * 2;
  const int packs = !j->in_place && !j->packed;
  worker w = {.j = j, .turned = rg_scratch(2, (size_t)(j->g->tb ? 2 * bytes : 0)), .own = rg_scratch(1, (size_t)(packs ? 2 * TALL * bytes : 0)),
      .tiles = rg_scratch(3, (size_t)((j->part > j->chunk ? TALL * j->group : 1) * NUMBERS) * sizeof(float))};
  stage *in = w.stages;
  in[0] = claim(j, (int)thread), in[1] = after(j, in[0], (int)thread);
  if (!in[0].blocks) return;
  if (packs) pack_chunk(j, &w.s, in, 0, w.own);
  w.s = (beside){.source = block_of(j, (unit){in, in->first}), .source_next = next_block(j), .turned = w.turned};
  w.s.halves = j->g->tb ? 2 * in->blocks : 0;
  while (w.s.half < w.s.halves) turn_next(&w.s);
  tiles_config();
  for (; in[0].blocks; in[0] = in[1], in[1] = in[2], w.chunk ^= 1) {
    in[2] = after(j, in[1], (int)thread);
    for (long strip = in[0].first; strip < in[0].last; strip++) multiply_unit(&w, strip);
  }
  last(&w.s, j->end, j->to[0].c_bf16);
  _mm_sfence();
  _tile_release();
}

// add_parts is a task: some rows of C from the sums over each part of k.
static void add_parts(void *ctx, long task) {
  const job *j = ctx;
  const rg_gemm *g = j->g;
  long i = task * SUM_ROWS, rows = rg_min(SUM_ROWS, g->m - i);
  float *sum = (float *)j->to[0].c + i * g->n;
  for (long p = 1; p < j->parts; p++) {
    const float *more = (const float *)j->to[p].c + i * g->n;
    for (long e = 0; e < rows * g->n; e++) sum[e] += more[e];
  }
  rg_gemm_end_of(g)(g, sum, g->n, i, rows, 0, g->n);
}

static long even(long len, long most) { return rg_ceil_div(len, rg_ceil_div(len, most)); } // parts of len, all about as long

// cut_k chooses chunks, and parts with sums of their own.
static void cut_k(job *j) {
  const rg_gemm *g = j->g;
  j->parts = j->k_blocks > LONG_K && !g->ta ? PARTS : 1;
  j->chunk = even(rg_ceil_div(j->k_blocks, j->parts), j->parts > 1 ? LONG_CHUNK : CHUNK);
  j->part = rg_ceil_div(rg_ceil_div(j->k_blocks, j->parts), j->chunk) * j->chunk;
  for (long p = 0; p < PARTS; p++) j->to[p] = *g;
  j->end = end_of(g);
  if (j->parts == 1) return;
  float *sums = rg_scratch(0, (size_t)(j->parts * g->m * g->n) * sizeof *sums);
  for (long p = 0; p < j->parts; p++) j->to[p] = (rg_gemm){.m = g->m, .n = g->n, .c = sums + p * g->m * g->n, .ldc = g->n};
  j->end = ADD;
}

void rg_blocks_run(const rg_gemm *g, rg_parallel_fn parallel, int threads) {
  stretch stretches[threads];
  job j = {.g = g, .w = g->b, .k_blocks = rg_ceil_div(g->k, SIDE), .strips = rg_ceil_div(g->n, SIDE), .heights = rg_ceil_div(g->m, TALL * SIDE),
      .stretches = stretches, .threads = threads};
  cut_k(&j);
  const long c_size = g->c_bf16 ? 2 : 4, bytes = (g->m * g->k + g->n * g->k) * 2 + g->m * g->n * c_size;
  j.far = j.parts == 1 && bytes > CACHED;
  j.past = j.far && (uintptr_t)g->c % 64 == 0 && (uintptr_t)g->pre % 64 == 0 && g->ldc * c_size % 64 == 0;
  j.far = j.far && !j.past;
  const int cut = j.part > j.chunk;
  j.group = !cut ? 1 : rg_max(1, rg_min(j.parts > 1 ? LONG_GROUP : GROUP, j.strips * j.heights * j.parts / threads));
  j.groups = rg_ceil_div(j.strips, j.group);
  long items = j.heights * j.parts * j.groups, strips = rg_ceil_div(g->m, SIDE);
  for (long t = 0; t < threads; t++) {
    atomic_init(&stretches[t].next, items * t / threads);
    stretches[t].end = items * (t + 1) / threads;
  }
  // Tiles are loaded from rows that begin lines.
  j.in_place = !cut && g->a_bf16 && !g->ta && g->m % SIDE == 0 && g->k % SIDE == 0 && (uintptr_t)g->a % 64 == 0 && g->lda * 2 % 64 == 0;
  if (!j.in_place && (!cut || g->ta)) {
    j.packed = rg_scratch(0, (size_t)(strips * j.k_blocks * NUMBERS) * 2);
    parallel(strips, pack_rows, &j);
  }
  parallel(threads, run_thread, &j);
  if (j.parts > 1) parallel(rg_ceil_div(g->m, SUM_ROWS), add_parts, &j);
}
#pragma GCC pop_options
#endif
