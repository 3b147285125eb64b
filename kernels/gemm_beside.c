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
int rg_gemm_beside(const rg_gemm *g, rg_parallel_fn parallel, int threads) { return 0; }
int rg_gemm_is_beside(const rg_gemm *g) { return 0; }
#else
#include "gemm_beside.h"
#include <stdatomic.h>

enum {
  MOST_STILL = 800 << 10, // bytes of the factor that stands still
  LEAST_K = 128,          // the end of a tile takes 20 groups of products; 32 of k are six
  HALVED_K = 512,
  SUM_TASK = 8192,        // elements of C in one task of the last sum
};

// --- one product -------------------------------------------------------------------------------------------------------
// A stretch is a thread's part of the strips; the others help when theirs are done.
typedef struct {
  _Alignas(64) _Atomic long next;
  long end;
} stretch;
typedef struct {
  rg_gemm g[2];         // of each half of k; b_sums too
  int moves_b;          // the strips are of b's columns
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

// aim points s at strip u, to be packed to dst, and starts its sums.
AMX static void aim(const job *j, beside *s, long u, uint16_t *dst) {
  const long ld = j->moves.ld, i = u % j->strips * STRIP, k0 = u / j->strips * j->k;
  s->dst = dst, s->adds = j->g->b_sums && j->moves_b, s->sums[0] = s->sums[1] = _mm512_setzero_ps();
  if (j->across) { // unit: 16 columns of row k; two of them, then the next row
    s->src = (const float *)j->moves.at + k0 * ld + i;
    s->step = ld, s->second = 16, s->far = 16 * ld, s->block = KBLOCK * ld, s->dst_step = 32, s->dst_second = TILE;
  } else { // unit: 32 of k of a row
    s->src = (const float *)j->moves.at + i * ld;
    s->step = 2 * ld, s->second = ld, s->far = 16, s->block = KBLOCK, s->dst_step = 64, s->dst_second = 32;
  }
}

AMX_INLINE void put_sums(const rg_gemm *g, float *to, __m512 x) { // onto those of the first half where they go to one place
  _mm512_storeu_ps(to, g->residual ? _mm512_add_ps(_mm512_loadu_ps(to), x) : x);
}

// keep_sums writes the sums of strip u when it is packed.
AMX static void keep_sums(const job *j, const beside *s, long u) {
  float *to = j->g[u / j->strips].b_sums + u % j->strips * STRIP;
  if (!s->adds) return;
  for (int v = 0; v < 2; v++) put_sums(&j->g[u / j->strips], to + 16 * v, s->sums[v]);
}

// still_sums adds up b's rows where b stands still: once for each half of k.
AMX static void still_sums(const job *j, long half) {
  for (long c = 0; c < j->still.len; c += 16) {
    const float *at = (const float *)j->still.at + half * j->k * j->still.ld + c;
    __m512 sum[4] = {};
    for (long k = 0; k < j->k; k += 4, at += 4 * j->still.ld)
      for (int r = 0; r < 4; r++) sum[r] = _mm512_add_ps(sum[r], _mm512_loadu_ps(at + r * j->still.ld));
    put_sums(&j->g[half], j->g[half].b_sums + c, _mm512_add_ps(_mm512_add_ps(sum[0], sum[1]), _mm512_add_ps(sum[2], sum[3])));
  }
}

static void strips_task(void *ctx, long t) {
  const job *j = ctx;
  const rg_kind *kind = rg_kind_split();
  long u = claim(j, (int)t), strip = j->k * STRIP * 3, half = -1;
  if (u < 0) return;
  uint16_t *still = rg_scratch(0, (size_t)(j->still_strips * strip) * 2), *buffer = rg_scratch(1, (size_t)strip * 4);
  float *tiles = rg_scratch(3, 2 * STRIP * STRIP * sizeof(float));
  beside s = {.end = j->turned ? end_turned : end_rows};
  aim(j, &s, u, buffer);
  pack_strip(&s, j->k);
  keep_sums(j, &s, u);
  kind->enter();
  for (int at = 0, tile = 0; u >= 0; at ^= 1) {
    if (half != u / j->strips) {
      half = u / j->strips;
      (j->across ? kind->pack_a : kind->pack_b)(&j->still, 0, j->still_strips, half * j->k, j->k, still);
    }
    if (j->g->b_sums && !j->moves_b && u % j->strips == 0) still_sums(j, half);
    const uint16_t *moving = buffer + at * strip;
    long next = claim(j, (int)t), c = 0, i = u % j->strips * STRIP;
    if (next >= 0) aim(j, &s, next, buffer + (at ^ 1) * strip);
    for (int done = 0; c < j->still_strips; c++, tile ^= 1, done += s.pairs) {
      s.pairs = next < 0 ? 0 : (int)rg_min(PAIRS_PER_TILE, PAIRS - done);
      const uint16_t *other = still + c * strip;
      multiply(j->k, j->across ? other : moving, j->across ? moving : other, tiles + tile * STRIP * STRIP, &s);
      s.src += s.pairs * s.step, s.dst += s.pairs * s.dst_step;
      s.tile = tiles + tile * STRIP * STRIP, s.left = STEPS, s.g = &j->g[half], s.rows = rg_gemm_end_of(s.g);
      s.i0 = j->across ? c * STRIP : i, s.j0 = j->across ? i : c * STRIP;
    }
    if (next >= 0) keep_sums(j, &s, next);
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
  rg_side a = {g->a, g->lda, g->m, 0, !g->ta}, b = {g->b, g->ldb, g->n, 0, g->tb};
  *j = (job){.across = g->ta, .halves = 1, .g = {*g, *g}};
  if (g->ta && (g->tb || !bare(g))) return 0;
  j->turned = g->ta && g->m > g->n;
  j->moves_b = g->ta && !j->turned;
  j->still = j->moves_b ? a : b, j->moves = j->moves_b ? b : a;
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

int rg_gemm_is_beside(const rg_gemm *g) {
  job j;
  return describe(g, &j);
}

int rg_gemm_beside(const rg_gemm *g, rg_parallel_fn parallel, int threads) {
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
    else {
      second->c = rg_scratch(2, (size_t)(h.n + g->n) * sizeof(float)), h.half = second->c;
      if (g->b_sums) second->b_sums = (float *)second->c + h.n;
    }
  }
  parallel(threads, strips_task, &j);
  if (!h.half) return 1;
  parallel(rg_ceil_div(h.n, SUM_TASK), sum_task, &h);
  for (long i = 0; g->b_sums && i < g->n; i++) g->b_sums[i] += j.g[1].b_sums[i];
  return 1;
}
#endif
