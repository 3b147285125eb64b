//go:build cgo

// Products of activations with weights in blocks: the driver.
//
// Weights come from memory once for 256 rows, 2 bytes for each number. A task multiplies up to 256 rows with a group of strips of 32
// columns; its unit is one strip over 256 k, 16 KB that stay in the first-level cache while the rows' tiles pass by. All
// strips of the group are multiplied before the next 256 k. Between the tile instructions of one unit, where the CPU's vector and
// load ports are free,
//   - the lines of the unit after the next are loaded, one after the other and evenly: so memory never waits. In bursts, or by
//     instructions that only fetch ahead, they would gain little;
//   - of Wᵀ, the next unit is turned into the order that tiles are loaded in. W itself is multiplied where it lies;
//   - where k is long, the next 256 k of A are packed, by each thread for itself. Otherwise all threads pack A first.
// A sum runs through k in order, whatever the number of threads and the cuts are.
#include "gemm_blocks.h"

#ifndef __x86_64__
void rg_blocks_run(const rg_gemm *g, rg_parallel_fn parallel, int threads) { (void)g, (void)parallel, (void)threads; }
#else
#include "gemm_amx.h"

enum {
  NUMBERS = RG_BLOCK_SIZE,
  LINES = NUMBERS / 32, // of 64 bytes in a block
  TALL = 8,             // tiles that a task has below each other
  UNIT = 8,             // blocks
  GROUP = 6,            // strips, at most: their tiles, 8 high, take 200 KB of the second-level cache
  LONG_GROUP = 12,      // where k is so long that A is packed again for every group
  LEAST_GROUP = 4,
  TASKS_PER_THREAD = 3,
  WHOLE_K = 128,   // blocks of k up to which a thread keeps all of its A
  FINISH_ROWS = 8, // rows of C that are written before the next tile's: the CPU fetches ahead along rows
};

// What all tasks share.
typedef struct {
  const rg_gemm *g;
  const rg_kind *kind;
  rg_side a;
  const uint16_t *w;
  long k_blocks, strips; // of the whole product
  long group;            // strips
  long heights;          // tasks below each other
  uint16_t *packed;      // A, packed by all threads; NULL where each packs for itself, beside the tiles
} job;

// A unit: strip `strip` of the group that begins at strip `group`, `blocks` blocks from block k on.
typedef struct { long group, strip, k, blocks; } unit;

// after is the unit behind u: strip by strip of the group, along k, group by group. Its blocks are 0 where there is none, or where
// the next group's weights have just been read for other rows.
static unit after(const job *j, unit u) {
  if (u.blocks == 0) return u;
  if (++u.strip == rg_min(u.group + j->group, j->strips)) {
    u.strip = u.group, u.k += UNIT;
    if (u.k >= j->k_blocks) u.strip = u.group += j->group, u.k = 0;
    if (u.group >= j->strips || (u.k == 0 && j->heights > 1)) return (unit){0};
  }
  u.blocks = rg_min(UNIT, j->k_blocks - u.k);
  return u;
}

RG_SMALL const uint16_t *block_of(const job *j, const unit *u, long b) {
  return j->w + (j->g->tb ? (u->k + b) * j->strips + u->strip : u->strip * j->k_blocks + u->k + b) * NUMBERS;
}

// The rows of A that belong to a task, and how far they are packed: all blocks below `k`, and `piece` blocks of the UNIT from there.
typedef struct {
  long i0, tall;
  uint16_t *at;
  long width; // blocks from one strip of rows to the next
  long k, piece;
} left;

// pack_next packs one more block of 32 rows × 32 k.
static void pack_next(const job *j, left *a) {
  long blocks = rg_min(UNIT, j->k_blocks - a->k), r = a->piece / blocks, k = a->k + a->piece % blocks;
  j->kind->pack_a(&j->a, a->i0 + r * RG_BLOCK, 1, k * RG_BLOCK, rg_min(RG_BLOCK, j->g->k - k * RG_BLOCK),
                  a->at + (r * a->width + k % a->width) * NUMBERS);
  if (++a->piece == a->tall * blocks) a->k += UNIT, a->piece = 0;
}

static left left_of(const job *j, long height) {
  long i0 = height * TALL * RG_BLOCK, tall = rg_min(TALL, rg_ceil_div(j->g->m - i0, RG_BLOCK));
  if (j->packed) return (left){i0, tall, j->packed + height * TALL * j->k_blocks * NUMBERS, j->k_blocks, j->k_blocks, 0};
  uint16_t *at = rg_scratch(1, (size_t)(TALL * 2 * UNIT * NUMBERS) * sizeof *at);
  return (left){i0, tall, at, 2 * UNIT, 0, 0};
}

// pack_rows is a task: 32 rows of A.
static void pack_rows(void *ctx, long strip) {
  const job *j = ctx;
  j->kind->pack_a(&j->a, strip * RG_BLOCK, 1, 0, j->g->k, j->packed + strip * j->k_blocks * NUMBERS);
}

// What happens beside the tiles of a unit: half blocks of `turned` become tiles in `to`, lines of `ahead` are loaded, A is packed up to
// block `until`, one block every `pace` steps.
typedef struct {
  unit turned, ahead;
  uint16_t *to;
  long half; // the next
  long until, pace;
} beside;

// turn_next: half a block, 16 rows of W, becomes a tile of Wᵀ: 16 pairs of columns 2p, 2p+1 by those rows.
AMX_INLINE void turn_next(const job *j, beside *s) {
  const uint16_t *half = block_of(j, &s->turned, s->half / 2) + s->half % 2 * (NUMBERS / 4);
  __m512i *tile = (__m512i *)(s->to + s->half++ * (NUMBERS / 2)), v[16];
  const __m512i even = _mm512_set_epi16(62, 60, 58, 56, 54, 52, 50, 48, 46, 44, 42, 40, 38, 36, 34, 32, 30, 28, 26, 24, 22, 20,
                                        18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
  const __m512i odd = _mm512_add_epi16(even, _mm512_set1_epi16(1));
#pragma GCC unroll 8
  for (int q = 0; q < 8; q++) {
    __m512i left = _mm512_load_si512(half + 32 * q), right = _mm512_load_si512(half + NUMBERS / 2 + 32 * q);
    v[2 * q] = _mm512_permutex2var_epi16(left, even, right);
    v[2 * q + 1] = _mm512_permutex2var_epi16(left, odd, right);
  }
  transpose16(v);
#pragma GCC unroll 16
  for (int e = 0; e < 16; e++) _mm512_store_si512(tile + e, v[e]);
}

// multiply adds a unit to the tiles of all strips of rows; b is its packed form.
AMX static void multiply(const job *j, const unit *u, left *a, const uint16_t *b, float *tiles, beside *s) {
  const long tall = a->tall, share = tall > 4 ? 4 : tall > 2 ? 8 : tall > 1 ? 16 : LINES;
  const long lines = s->ahead.blocks * LINES, halves = s->turned.blocks * 2;
  const char *at = NULL;
  long owed = 0, line = 0, wait = s->pace;
  for (long r = 0; r < tall; r++, tiles += j->group * NUMBERS) {
    const uint16_t *x = a->at + (r * a->width + u->k % a->width) * NUMBERS, *w = b;
    load_sums(tiles, u->k > 0);
    for (long k = 0; k < u->blocks; k++, x += NUMBERS, w += NUMBERS) {
      add_block(x, w);
      if (line < lines) {
        if (line % LINES == 0) at = (const char *)block_of(j, &s->ahead, line / LINES);
        for (long end = line + share; line < end; line += 4, at += 256)
          __asm__ volatile("vmovups (%0), %%zmm31\n\tvmovups 64(%0), %%zmm31\n\tvmovups 128(%0), %%zmm31\n\tvmovups 192(%0), %%zmm31"
                           : : "r"(at) : "xmm31");
      }
      for (owed += 2; owed >= tall; owed -= tall)
        if (s->half < halves) turn_next(j, s);
      if (--wait <= 0 && a->k < s->until) pack_next(j, a), wait = s->pace;
    }
    store_sums(tiles);
  }
}

// finish turns a group's tiles into C.
static void finish(const job *j, const float *tiles, const left *a, long group) {
  const rg_gemm *g = j->g;
  rg_gemm_end end = rg_gemm_end_of(g);
  long n = rg_min(j->group, j->strips - group);
  for (long i = a->i0; i < rg_min(g->m, a->i0 + a->tall * RG_BLOCK); i += FINISH_ROWS)
    for (long t = 0; t < n; t++) {
      const float *tile = tiles + ((i - a->i0) / RG_BLOCK * j->group + t) * NUMBERS + i % RG_BLOCK * RG_BLOCK;
      long at = (group + t) * RG_BLOCK;
      end(g, tile, RG_BLOCK, i, rg_min(FINISH_ROWS, g->m - i), at, rg_min(RG_BLOCK, g->n - at));
    }
}

AMX static void multiply_group(void *ctx, long task) {
  const job *j = ctx;
  const long group = task / j->heights * j->group, wide = rg_min(j->group, j->strips - group);
  left a = left_of(j, task % j->heights);
  float *tiles = rg_scratch(3, (size_t)(TALL * j->group * NUMBERS) * sizeof *tiles);
  uint16_t *turned = rg_scratch(2, (size_t)(2 * UNIT * NUMBERS) * sizeof *turned); // two units
  unit u = {group, group, 0, rg_min(UNIT, j->k_blocks)}, next = after(j, u);
  beside s = {.turned = u, .to = turned};
  while (j->g->tb && s.half < 2 * u.blocks) turn_next(j, &s);
  j->kind->enter();
  for (long x = 0; u.blocks && u.group == group; x++, u = next, next = after(j, u)) {
    while (a.k < u.k + u.blocks) pack_next(j, &a);
    const uint16_t *b = j->g->tb ? turned + x % 2 * UNIT * NUMBERS : block_of(j, &u, 0);
    s = (beside){.ahead = after(j, next), .to = turned + (x + 1) % 2 * UNIT * NUMBERS, .until = rg_min(j->k_blocks, u.k + 2 * UNIT), .pace = wide};
    if (j->g->tb && next.group == group) s.turned = next;
    multiply(j, &u, &a, b, tiles + (u.strip - group) * NUMBERS, &s);
    while (s.half < 2 * s.turned.blocks) turn_next(j, &s);
  }
  j->kind->leave();
  finish(j, tiles, &a, group);
}

void rg_blocks_run(const rg_gemm *g, rg_parallel_fn parallel, int threads) {
  job j = {.g = g, .kind = rg_kind_bf16(), .a = {g->a, g->lda, g->m, g->a_bf16, !g->ta}, .w = g->b};
  j.k_blocks = rg_ceil_div(g->k, RG_BLOCK), j.strips = rg_ceil_div(g->n, RG_BLOCK), j.heights = rg_ceil_div(g->m, TALL * RG_BLOCK);
  int whole = j.k_blocks <= WHOLE_K;
  j.group = rg_max(LEAST_GROUP, rg_min(whole ? GROUP : LONG_GROUP, j.strips / (threads * (whole ? TASKS_PER_THREAD : 1))));
  if (whole) {
    long rows = rg_ceil_div(g->m, RG_BLOCK);
    j.packed = rg_scratch(0, (size_t)(rows * j.k_blocks * NUMBERS) * sizeof *j.packed);
    parallel(rows, pack_rows, &j);
  }
  parallel(rg_ceil_div(j.strips, j.group) * j.heights, multiply_group, &j);
}
#endif
