//go:build cgo

// Attention backward, tile by tile from lse alone (Dao et al., "FlashAttention", 2022, algorithm 4):
//
//   p = 2^(s − lse), dv += pᵀ·dy, dp = dy·vᵀ, ds = p ∘ (dp − δ), dq = scale·ds·k, dk += scale·dsᵀ·q
//   with δ = rowsum(dy∘y) − dlse and s as in attention.c.
//
// Where there are enough key/value heads, or few queries, one task does a whole key/value head with all its
// query heads: five products per tile. Otherwise tasks are pieces of keys (dk, dv) and, apart from them, pieces
// of queries (dq), at the price of making p and dp twice. The choice and all orders follow from the sizes.
#ifndef RG_BODY
#include <math.h>

#include "attention.h"
#include "rg_math.h"

enum { CHUNK = 256, ENOUGH_HEADS = 32 };
#define NO_MASK (1L << 40)
#define LOG2E 1.44269504088896341f
#define LN2 0.69314718055994531f

// piece is what one task does: key/value head g of sequence b with query heads [h0,h1), queries [t0,t1) and
// keys [s0,s1); dq, dk and dv are written if asked for.
typedef struct {
  const rg_attention_args *a;
  long b, g, h0, h1, t0, t1, s0, s1, want_q, want_kv;
} piece;

#define RG_SELF "attention_grad.c"
#include "rg_multi.h"

static int whole_heads(const rg_attention_args *a) { return a->T <= CHUNK || a->B * a->KV >= ENOUGH_HEADS; }

static void task(void *ctx, long i) {
  const rg_attention_args *a = ctx;
  long group = a->H / a->KV, pieces = rg_ceil_div(a->S, CHUNK), kv_tasks = a->B * a->KV * pieces;
  piece p = {a, 0, 0, 0, 0, 0, a->T, 0, a->S, 1, 1};
  if (whole_heads(a)) {
    p.b = i / a->KV, p.g = i % a->KV;
  } else if (i < kv_tasks) {
    p.b = i / pieces / a->KV, p.g = i / pieces % a->KV;
    p.s0 = i % pieces * CHUNK, p.s1 = rg_min(a->S, p.s0 + CHUNK), p.want_q = 0;
  } else {
    i -= kv_tasks, pieces = rg_ceil_div(a->T, CHUNK);
    long h = i / pieces % a->H;
    p.b = i / pieces / a->H, p.g = h / group, p.h0 = h, p.h1 = h + 1;
    p.t0 = i % pieces * CHUNK, p.t1 = rg_min(a->T, p.t0 + CHUNK), p.want_kv = 0;
  }
  if (p.want_kv) p.h0 = p.g * group, p.h1 = p.h0 + group;
  RG_DISPATCH(attn_piece)(&p);
}

void rg_attention_grad(const rg_attention_args *a) {
  long n = a->B * a->KV;
  if (!whole_heads(a)) n = n * rg_ceil_div(a->S, CHUNK) + a->B * a->H * rg_ceil_div(a->T, CHUNK);
  rg_parallel(n, task, (void *)a);
}
#else
#include "attention_tile.h"

typedef struct {
  float p[RG_ATTN_TILE * RG_ATTN_TILE], ds[RG_ATTN_TILE * RG_ATTN_TILE], lse[RG_ATTN_TILE], delta[RG_ATTN_TILE];
} FN(tiles);

// soften turns scores into p = 2^(s − lse) and dp into ds = p ∘ (dp − δ), column by column.
PIECE void FN(soften)(long keys, long queries, long d, FN(tiles) *w) {
  VI lanes = FN(lanes)();
  // by_key starts its sums at the first query that its first key sees, so where that is not on the grain, zeros
  // are needed somewhat past the mask.
  long past = d % RG_ATTN_GRAIN ? RG_ATTN_GRAIN : 0;
  for (long i = 0; i < queries; i += RG_WIDTH) {
    long to = rg_min(keys, i + RG_WIDTH + d + past), clear = rg_max(0, rg_min(to, i + d + 1));
    VF lse = *(VF *)(w->lse + i), delta = *(VF *)(w->delta + i);
    float *s = w->p + i, *dp = w->ds + i;
#pragma GCC unroll 2
    for (long j = 0; j < clear; j++) {
      VF p = FN(exp2)(*(VF *)(s + j * RG_ATTN_TILE) - lse);
      *(VF *)(s + j * RG_ATTN_TILE) = p;
      *(VF *)(dp + j * RG_ATTN_TILE) = p * (*(VF *)(dp + j * RG_ATTN_TILE) - delta);
    }
    for (long j = clear; j < to; j++) {
      VI see = FN(visible)(lanes, i, j, d);
      VF p = FN(select)(see, FN(exp2)(*(VF *)(s + j * RG_ATTN_TILE) - lse));
      *(VF *)(s + j * RG_ATTN_TILE) = p;
      *(VF *)(dp + j * RG_ATTN_TILE) = FN(select)(see, p * (*(VF *)(dp + j * RG_ATTN_TILE) - delta));
    }
  }
}

// rowsums writes δ of n rows (y and dy of `dim` elements, rows `row` apart) and lse to base 2; past n both are
// some finite number. W rows at a time leave W vectors of partial sums, which a transpose adds up.
PIECE void FN(rowsums)(FN(tiles) *w, const float *y, const float *dy, long row, const float *lse,
                                                  const float *dlse, long n, long dim) {
  const long whole = dim / RG_WIDTH * RG_WIDTH;
  for (long i = 0; i < n; i += RG_WIDTH) {
    VF x[RG_WIDTH];
    long at[RG_WIDTH];
#pragma GCC unroll 16
    for (int r = 0; r < RG_WIDTH; r++) {
      at[r] = rg_min(i + r, n - 1) * row;
      x[r] = (VF){};
      for (long c = 0; c < whole; c += RG_WIDTH) x[r] += *(const VU *)(y + at[r] + c) * *(const VU *)(dy + at[r] + c);
    }
    FN(turn)(x);
    VF sum = x[0];
#pragma GCC unroll 16
    for (int r = 1; r < RG_WIDTH; r++) sum += x[r];
    for (long c = whole; c < dim; c++)
      for (int r = 0; r < RG_WIDTH; r++) sum[r] += y[at[r] + c] * dy[at[r] + c];
    *(VF *)(w->delta + i) = sum;
  }
  for (long i = 0; i < n; i++) w->lse[i] = lse[i] * LOG2E;
  for (long i = n; i < RG_ATTN_TILE; i++) w->lse[i] = 0;
  for (long i = 0; dlse && i < n; i++) w->delta[i] -= dlse[i];
}

// unpack writes n rows of dim elements times scale.
PIECE void FN(unpack)(float *dst, long row, const float *src, long ld, long n, long dim, float scale) {
  for (long i = 0; i < n; i++, dst += row, src += ld) {
    long c = 0;
    for (; c + RG_WIDTH <= dim; c += RG_WIDTH) {
      __builtin_prefetch(dst + AHEAD * row + c, 1);
      *(VU *)(dst + c) = *(const VF *)(src + c) * scale;
    }
    for (; c < dim; c++) dst[c] = src[c] * scale;
  }
}

static void RG_NAME(attn_piece)(const piece *p) {
  const rg_attention_args *a = p->a;
  const long D = a->D, ld = rg_ceil_div(D, RG_WIDTH) * RG_WIDTH, tile = RG_ATTN_TILE, grain = RG_ATTN_GRAIN;
  const long off = a->causal ? a->S - a->T : NO_MASK;
  const long s1 = rg_min(p->s1, p->t1 + off), n_keys = rg_max(0, s1 - p->s0), rows = rg_ceil_div(p->s1 - p->s0, tile) * tile;
  const long kv = p->b * a->kv_batch + p->g * D + p->s0 * a->kv_row;
  float *k = rg_scratch(4, (size_t)2 * rows * ld * 4), *v = k + rows * ld;
  float *dk = rg_scratch(5, (size_t)2 * rows * ld * 4), *dv = dk + rows * ld;
  float *q = rg_scratch(6, sizeof(FN(tiles)) + (size_t)5 * tile * ld * 4);
  float *qt = q + tile * ld, *dy = qt + tile * ld, *dyt = dy + tile * ld, *dq = dyt + tile * ld;
  FN(tiles) *w = (FN(tiles) *)(dq + tile * ld);
  FN(copy)(k, ld, a->k + kv, a->kv_row, n_keys, D, 1);
  FN(copy)(v, ld, a->v + kv, a->kv_row, n_keys, D, 1);
  long begun = p->s0; // keys from here on have no sums in dk and dv yet; the last query begins them all
  for (long h = p->h0; h < p->h1; h++)
    for (long t = p->t0; t < p->t1; t += tile) {
      const long n = rg_min(tile, p->t1 - t), padded = rg_ceil_div(n, grain) * grain, end = rg_min(s1, t + n + off);
      if (end <= p->s0) continue;
      const long at = ((p->b * a->T + t) * a->H + h) * D, row = a->H * D, stat = (p->b * a->H + h) * a->T + t;
      const long q_at = p->b * a->q_batch + t * a->q_row + h * D;
      FN(copy)(q, ld, a->q + q_at, a->q_row, n, D, a->scale * LOG2E);
      FN(transpose)(qt, q, ld, padded, D);
      FN(copy)(dy, ld, a->dy + at, row, n, D, 1);
      FN(transpose)(dyt, dy, ld, padded, D);
      FN(rowsums)(w, a->y + at, a->dy + at, row, a->lse + stat, a->dlse ? a->dlse + stat : 0, n, D);
      for (long s = p->s0; s < end; s += tile) {
        const long keys = rg_min(tile, s1 - s), keys16 = rg_ceil_div(keys, grain) * grain, j = (s - p->s0) * ld;
        const long d = rg_min(t + off - s, FN(no_mask));
        FN(scores)(keys16, padded, D, d, k + j, ld, qt, w->p);
        FN(scores)(keys16, padded, D, d, v + j, ld, dyt, w->ds);
        FN(soften)(keys, padded, d, w);
        if (p->want_kv) {
          FN(by_key)(keys16, n, d, w->p, dy, ld, dv + j, s >= begun);
          FN(by_key)(keys16, n, d, w->ds, q, ld, dk + j, s >= begun);
        }
        if (p->want_q) FN(by_query)(keys, padded, d, w->ds, k + j, ld, dq, s == p->s0, 0);
      }
      begun = rg_max(begun, end);
      if (p->want_q) FN(unpack)(a->dq + q_at, a->q_row, dq, ld, n, D, a->scale);
    }
  if (p->want_kv) { // q was packed times scale·log2 e
    FN(unpack)(a->dk + kv, a->kv_row, dk, ld, p->s1 - p->s0, D, LN2);
    FN(unpack)(a->dv + kv, a->kv_row, dv, ld, p->s1 - p->s0, D, 1);
  }
}
#include "attention_end.h"
#endif
