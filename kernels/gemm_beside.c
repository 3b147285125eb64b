//go:build cgo

// Products of f32 on AMX whose packing and ends run beside the tiles.
//
// A core multiplies tiles and vectors at the same time: 64 vector instructions after every four tile products cost nothing, if they
// stand between them in the program; stores cost a little. So one factor, the smaller one, stands still: each thread packs it
// whole. Of the other, strips of 32 rows move past it: while one is multiplied, the next is packed and the tile before turned into
// C, two rows at a time. A thread claims strips one by one, so that this pipeline does not end before the product does.
//
//   C = A·B, A·Bᵀ   strips of A's rows move past B
//   C = Aᵀ·B        both factors are packed across k; strips of the wider one move as the right factor, so that only the narrower
//                   is transposed; where that is A, tiles of Cᵀ come out and are turned around on their way to C. Long sums are cut
//                   in two halves of k, so that threads share out k and do not each pack all that stands still.
#include "gemm_tile.h"
#ifndef __x86_64__
int rg_gemm_beside(const rg_gemm *g, void (*parallel)(long, void (*)(void *, long), void *), int threads) { return 0; }
#else
#include "gemm_split.h"
#include <stdatomic.h>

enum {
  MOST_STILL = 800 << 10, // bytes of the factor that stands still
  LEAST_K = 128,          // the end of a tile takes 20 groups of products; 32 of k are six
  HALVED_K = 512,
  STEPS = 20,             // of a tile's end: four look for infinities, sixteen write two rows each
  SUM_TASK = 8192,        // elements of C in one task of the last sum
};

// --- what is done between tile products --------------------------------------------------------------------------------
typedef struct beside beside;
struct beside {
  // The strip that moves next: each step packs two of its units. A unit is a vector and the one 16 of k further on.
  const float *src;
  long step, second, far, block; // elements from one step, one unit, the other vector, 32 of k to the next
  uint16_t *dst;
  long dst_step, dst_second;
  int pairs; // steps after each group of products, the first so many of six
  // The tile before.
  float *tile;
  long i0, j0; // where it lies in the product
  int left;    // steps
  void (*end)(const beside *b, long row); // writes two rows of it
  const rg_gemm *g;                       // the product whose bits tile has; C's and its own end
  rg_gemm_end rows;
};

AMX_INLINE void pack_unit(const float *p, long far, uint16_t *d) {
  __m512i out[33];
  split_pair(_mm512_loadu_ps(p), _mm512_loadu_ps(p + far), out);
  for (int part = 0; part < 3; part++) _mm512_store_si512(d + part * 2 * TILE, out[16 * part]);
}

// The larger of top and the magnitudes in a quarter of a tile, as bits: those of infinities and NaN lie above all others.
AMX_INLINE __m512i largest(__m512i top, const float *t) {
  const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
#pragma GCC unroll 16
  for (int i = 0; i < 16; i++)
    top = _mm512_max_epu32(top, _mm512_and_si512(_mm512_castps_si512(_mm512_load_ps(t + 16 * i)), magnitude));
  return top;
}
AMX_INLINE int infinite(__m512i top) { return _mm512_cmpge_epu32_mask(top, _mm512_set1_epi32(0x7f800000)) != 0; }

// end_step does step `step` of the tile before.
AMX_INLINE void end_step(const beside *s, int step, __m512i *top) {
  if (step < 4) {
    *top = largest(*top, s->tile + step * 8 * STRIP);
    return;
  }
  if (step == 4 && infinite(*top)) rg_gemm_plain(s->g, s->i0, STRIP, s->j0, STRIP, s->tile, STRIP);
  s->end(s, (step - 4) * 2);
}

// multiply makes a tile of kc of k; *s is done beside it.
AMX static void multiply(long kc, const uint16_t *a, const uint16_t *b, float *c, beside *s) {
  enum { P1 = 0, P2 = 2 * TILE, P3 = 4 * TILE };
  const float *src = s->src;
  uint16_t *dst = s->dst;
  const int pairs = s->pairs, left = s->left;
  int step = STEPS - left;
  __m512i top = _mm512_setzero_si512();
#define BESIDE(i)                                                                                                      \
  {                                                                                                                    \
    if (i < pairs) {                                                                                                   \
      pack_unit(src + i * s->step, s->far, dst + i * s->dst_step);                                                     \
      pack_unit(src + i * s->step + s->second, s->far, dst + i * s->dst_step + s->dst_second);                         \
    }                                                                                                                  \
    if (step < STEPS) end_step(s, step++, &top);                                                                       \
  }
  ZERO(0), ZERO(1), ZERO(2), ZERO(3);
  for (; kc > 0; kc -= KBLOCK, a += 6 * TILE, b += 6 * TILE, src += s->block, dst += 6 * TILE) { // as micro_split
    LOAD_A(a + P3), LOAD_B(b + P1), MULTIPLY();
    BESIDE(0)
    LOAD_A(a + P2), MULTIPLY();
    BESIDE(1)
    LOAD_B(b + P2), MULTIPLY();
    BESIDE(2)
    LOAD_A(a + P1), MULTIPLY();
    BESIDE(3)
    LOAD_B(b + P3), MULTIPLY();
    BESIDE(4)
    LOAD_B(b + P1), MULTIPLY();
    BESIDE(5)
  }
#undef BESIDE
  store_c(c);
}

// last is the end of a tile that no other one follows.
AMX static void last(const beside *s) {
  __m512i top = _mm512_setzero_si512();
  for (int step = STEPS - s->left; step < STEPS; step++) end_step(s, step, &top);
}

static void end_rows(const beside *s, long row) { s->rows(s->g, s->tile + row * STRIP, STRIP, s->i0 + row, 2, s->j0, STRIP); }

// end_turned writes a tile of Cᵀ, a quarter at every fourth call; where C holds a sum already it is added to.
AMX static void end_turned(const beside *s, long row) {
  if (row % 8 != 6) return;
  long i = row / 16 * 16, j = row % 16 / 8 * 16;
  float *c = (float *)s->g->c + (s->j0 + j) * s->g->ldc + s->i0 + i;
  __m512i v[16];
#pragma GCC unroll 16
  for (int e = 0; e < 16; e++) v[e] = _mm512_load_si512(s->tile + (i + e) * STRIP + j);
  transpose16(v);
#pragma GCC unroll 16
  for (int e = 0; e < 16; e++) {
    __m512 x = _mm512_castsi512_ps(v[e]);
    if (s->g->residual) x = _mm512_add_ps(x, _mm512_loadu_ps(c + e * s->g->ldc));
    _mm512_storeu_ps(c + e * s->g->ldc, x);
  }
}

// --- one product -------------------------------------------------------------------------------------------------------
// A stretch is a thread's part of the strips; the others help when theirs are done.
typedef struct {
  _Alignas(64) _Atomic long next;
  long end;
} stretch;
typedef struct {
  rg_gemm g[2];         // of each half of k
  rg_side still, moves; // over the whole of k
  int across;           // C = Aᵀ·B
  int turned;           // tiles are of Cᵀ
  long still_strips, strips, halves, k; // k of a half
  stretch *stretches;
  int threads;
} job;

// claim returns the next strip of thread t, counted through both halves, or −1. Helping in the other half means packing again what
// stands still there, so it takes more than two strips to be worth it.
static long claim(const job *j, int t) {
  for (int n = 0; n < j->threads; n++) {
    stretch *s = &j->stretches[(t + n) % j->threads];
    if (n > 0 && s->end - atomic_load(&s->next) <= (j->halves > 1 ? 2 : 0)) continue;
    long u = atomic_fetch_add(&s->next, 1);
    if (u < s->end) return u;
  }
  return -1;
}

// aim points s at strip u, to be packed to dst.
static void aim(const job *j, beside *s, long u, uint16_t *dst) {
  const long ld = j->moves.ld, i = u % j->strips * STRIP, k0 = u / j->strips * j->k;
  s->dst = dst;
  if (j->across) { // unit: 16 columns of row k; two of them, then the next row
    s->src = (const float *)j->moves.at + k0 * ld + i;
    s->step = ld, s->second = 16, s->far = 16 * ld, s->block = KBLOCK * ld, s->dst_step = 32, s->dst_second = TILE;
  } else { // unit: 32 of k of a row
    s->src = (const float *)j->moves.at + i * ld;
    s->step = 2 * ld, s->second = ld, s->far = 16, s->block = KBLOCK, s->dst_step = 64, s->dst_second = 32;
  }
}

static void strips_task(void *ctx, long t) {
  const job *j = ctx;
  const rg_kind *kind = rg_kind_split();
  long u = claim(j, (int)t), strip = j->k * STRIP * 3, half = -1;
  if (u < 0) return;
  uint16_t *still = rg_scratch(0, (size_t)(j->still_strips * strip) * 2), *buffer = rg_scratch(1, (size_t)strip * 4);
  float *tiles = rg_scratch(3, 2 * STRIP * STRIP * sizeof(float));
  (j->across ? kind->pack_b : kind->pack_a)(&j->moves, u % j->strips * STRIP, 1, u / j->strips * j->k, j->k, buffer);
  beside s = {.end = j->turned ? end_turned : end_rows};
  kind->enter();
  for (int at = 0, tile = 0; u >= 0; at ^= 1) {
    if (half != u / j->strips) {
      half = u / j->strips;
      (j->across ? kind->pack_a : kind->pack_b)(&j->still, 0, j->still_strips, half * j->k, j->k, still);
    }
    const uint16_t *moving = buffer + at * strip;
    long next = claim(j, (int)t);
    for (long c = 0, done = 0; c < j->still_strips; c++, tile ^= 1) { // 6 + 6 + 4 steps pack a strip
      if (next >= 0) aim(j, &s, next, buffer + (at ^ 1) * strip);
      s.src += done * s.step, s.dst += done * s.dst_step;
      s.pairs = next < 0 ? 0 : (int)rg_min(6, 16 - done), done += s.pairs;
      const uint16_t *other = still + c * strip;
      multiply(j->k, j->across ? other : moving, j->across ? moving : other, tiles + tile * STRIP * STRIP, &s);
      s.tile = tiles + tile * STRIP * STRIP, s.left = STEPS, s.g = &j->g[half], s.rows = rg_gemm_end_of(s.g);
      s.i0 = (j->across ? c : u % j->strips) * STRIP, s.j0 = (j->across ? u % j->strips : c) * STRIP;
    }
    u = next;
  }
  last(&s);
  kind->leave();
}

// sum_task adds the second half of k to C.
typedef struct { float *c; const float *half; long n; } halves;
AMX static void sum_task(void *ctx, long task) {
  const halves *h = ctx;
  for (long i = task * SUM_TASK; i < rg_min(h->n, (task + 1) * SUM_TASK); i += 16)
    _mm512_storeu_ps(h->c + i, _mm512_add_ps(_mm512_loadu_ps(h->c + i), _mm512_loadu_ps(h->half + i)));
}

static int bare(const rg_gemm *g) {
  return !g->bias && !g->pre && !g->act && !g->dact_pre && !g->residual && g->beta == 0 && !g->c_bf16 && g->ldc == g->n;
}

// describe fills in *j, but for its threads, or returns 0 where the product is none of ours.
static int describe(const rg_gemm *g, job *j) {
  if (g->a_bf16 || g->b_bf16 || g->update || g->m % STRIP || g->n % STRIP || g->k % (2 * KBLOCK) || g->k < LEAST_K) return 0;
  rg_side a = {g->a, g->lda, g->m, 0, !g->ta, 0}, b = {g->b, g->ldb, g->n, 0, g->tb, 0};
  *j = (job){.across = g->ta, .halves = 1, .g = {*g, *g}};
  if (g->ta && (g->tb || !bare(g))) return 0;
  j->turned = g->ta && g->m > g->n;
  j->still = g->ta && !j->turned ? a : b, j->moves = g->ta && !j->turned ? b : a;
  if (g->ta && g->k >= HALVED_K) j->halves = 2;
  j->k = g->k / j->halves;
  j->still_strips = j->still.len / STRIP, j->strips = j->moves.len / STRIP;
  if (j->still.len > j->moves.len || j->still_strips < 3 || j->still.len * j->k * 6 > MOST_STILL || j->k > rg_kind_split()->kinner) return 0;
  if (!j->turned) return 1;
  for (int h = 0; h < 2; h++) { // Cᵀ = Bᵀ·A; what it is for is a tile that must be computed again
    rg_gemm *t = &j->g[h];
    t->a = g->b, t->lda = g->ldb, t->b = g->a, t->ldb = g->lda, t->m = g->n, t->n = g->m;
  }
  return 1;
}

int rg_gemm_beside(const rg_gemm *g, void (*parallel)(long, void (*)(void *, long), void *), int threads) {
  job j;
  if (!describe(g, &j)) return 0;
  stretch stretches[threads];
  j.stretches = stretches, j.threads = threads;
  long n = j.halves * j.strips;
  for (long t = 0; t < threads; t++) {
    atomic_init(&stretches[t].next, n * t / threads);
    stretches[t].end = n * (t + 1) / threads;
  }
  halves h = {g->c, NULL, g->m * g->n};
  if (j.halves > 1) {
    rg_gemm *second = &j.g[1];
    j.g[0].k = second->k = j.k;
    second->a = (const float *)second->a + j.k * second->lda, second->b = (const float *)second->b + j.k * second->ldb;
    if (threads == 1) second->residual = g->c;
    else second->c = rg_scratch(2, (size_t)h.n * sizeof(float)), h.half = second->c;
  }
  parallel(threads, strips_task, &j);
  if (h.half) parallel(rg_ceil_div(h.n, SUM_TASK), sum_task, &h);
  return 1;
}
#endif
