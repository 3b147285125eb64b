//go:build cgo

// Attention forward, tile by tile with an online softmax (Milakov and Gimelshein, 2018; Dao et al.,
// "FlashAttention", 2022, algorithm 1; queries outermost as in FlashAttention-2): per query a running maximum m
// and a running sum l, and o rescaled by 2^(m_old − m_new) when the maximum moves. Exponents are to base 2: q is
// packed times scale·log2(e).
//
// One task is one head and up to 256 queries; a task packs the keys and values it sees, so nothing but its own
// outputs is written and the number of threads changes no bit.
#ifndef RG_BODY
#include <math.h>
#include <string.h>

#include "attention.h"
#include "rg_math.h"

enum { CHUNK = 256 };    // queries per task
#define NO_MASK (1L << 40) // an offset at which every query sees every key
#define LOG2E 1.44269504088896341f
#define LN2 0.69314718055994531f

// A call on a key/value cache: sequence b's first query stands at pos[b·pos_step].
typedef struct {
  const rg_attention_args *a;
  const int32_t *pos;
  long pos_step;
} cached;
enum { FEW = 16 }; // with fewer queries than this a cached call goes query by query

#define RG_SELF "attention.c"
#include "rg_multi.h"

void rg_attention(const rg_attention_args *a) {
  rg_parallel(a->B * a->H * rg_ceil_div(a->T, CHUNK), RG_DISPATCH(attn_task), (void *)a);
}

void rg_attention_cached(const rg_attention_args *a, const int32_t *pos, long pos_step) {
  cached c = {a, pos, pos_step};
  rg_parallel(a->B * a->H, a->T < FEW ? RG_DISPATCH(attn_few) : RG_DISPATCH(attn_cached), &c);
}

void rg_kv_write(char *cache, const char *x, const int32_t *pos, long pos_step, long B, long S, long T, long row_bytes) {
  for (long b = 0; b < B; b++) {
    long at = pos[b * pos_step], from = rg_max(0, -at), to = rg_min(T, S - at);
    if (from < to)
      memcpy(cache + (b * S + at + from) * row_bytes, x + (b * T + from) * row_bytes, (size_t)((to - from) * row_bytes));
  }
}
#else
#include "attention_tile.h"

// soften turns a score tile into p = 2^(s − m) column by column, updates m and l, and leaves in `by` the factor
// that earlier sums are to be scaled with.
PIECE void FN(soften)(long keys, long queries, long d, float *s, float *m, float *l, float *by) {
  VI lanes = FN(lanes)();
  for (long i = 0; i < queries; i += RG_WIDTH) {
    float *col = s + i;
    long to = rg_min(keys, i + RG_WIDTH + d), clear = rg_max(0, rg_min(to, i + d + 1)); // clear: first masked key
    VF old = *(VF *)(m + i), top[4] = {old, old, old, old};
    for (long j = clear; j < to; j++) {
      VI see = FN(visible)(lanes, i, j, d);
      VF x = *(VF *)(col + j * RG_ATTN_TILE);
      x = (VF)((see & (VI)x) | (~see & (VI)((VF){} - INFINITY)));
      *(VF *)(col + j * RG_ATTN_TILE) = x;
      top[0] = FN(max)(top[0], x);
    }
    long j = 0;
    for (; j + 4 <= clear; j += 4)
#pragma GCC unroll 4
      for (int u = 0; u < 4; u++) top[u] = FN(max)(top[u], *(VF *)(col + (j + u) * RG_ATTN_TILE));
    for (; j < clear; j++) top[0] = FN(max)(top[0], *(VF *)(col + j * RG_ATTN_TILE));
    VF now = FN(max)(FN(max)(top[0], top[1]), FN(max)(top[2], top[3]));
    VF factor = FN(exp2)(old - now), sum[2] = {*(VF *)(l + i) * factor, (VF){}};
    for (j = 0; j + 2 <= to; j += 2)
#pragma GCC unroll 2
      for (int u = 0; u < 2; u++) {
        VF p = FN(exp2)(*(VF *)(col + (j + u) * RG_ATTN_TILE) - now);
        *(VF *)(col + (j + u) * RG_ATTN_TILE) = p;
        sum[u] += p;
      }
    if (j < to) {
      VF p = FN(exp2)(*(VF *)(col + j * RG_ATTN_TILE) - now);
      *(VF *)(col + j * RG_ATTN_TILE) = p;
      sum[0] += p;
    }
    *(VF *)(m + i) = now;
    *(VF *)(l + i) = sum[0] + sum[1];
    *(VF *)(by + i) = factor;
  }
}

typedef struct {
  float s[RG_ATTN_TILE * RG_ATTN_TILE], m[RG_ATTN_TILE], l[RG_ATTN_TILE], by[RG_ATTN_TILE];
} FN(state);

// finish writes n queries: y = o / l and lse = m·ln 2 + ln l.
static void FN(finish)(const FN(state) *w, const float *o, long ld, long n, long dim, float *y, long y_row, float *lse) {
  for (long i = 0; i < n; i++, o += ld, y += y_row) {
    float r = 1 / w->l[i];
    long c = 0;
    for (; c + RG_WIDTH <= dim; c += RG_WIDTH) *(VU *)(y + c) = *(const VF *)(o + c) * r;
    for (; c < dim; c++) y[c] = o[c] * r;
  }
  if (!lse) return;
  for (long i = 0; i < n; i += RG_WIDTH) {
    VF v = *(const VF *)(w->m + i) * LN2 + FN(log)(*(const VF *)(w->l + i));
    for (long u = 0; u < rg_min(RG_WIDTH, n - i); u++) lse[i + u] = v[u];
  }
}

// attn_range attends queries [t0,t1) of head h over keys [0,S), query t seeing keys ≤ t + off.
static void FN(range)(const rg_attention_args *a, long b, long h, long t0, long t1, long S, long off) {
  const long D = a->D, ld = rg_ceil_div(D, RG_WIDTH) * RG_WIDTH, tile = RG_ATTN_TILE;
  const long seen = rg_min(S, t1 + off), g = h / (a->H / a->KV);
  const long rows = rg_ceil_div(seen, tile) * tile;
  float *k = rg_scratch(4, (size_t)rows * ld * 4), *v = rg_scratch(5, (size_t)rows * ld * 4);
  FN(copy)(k, ld, a->k + b * a->kv_batch + g * D, a->kv_row, seen, D, 1);
  FN(copy)(v, ld, a->v + b * a->kv_batch + g * D, a->kv_row, seen, D, 1);
  float *o = rg_scratch(6, sizeof(FN(state)) + (size_t)3 * tile * ld * 4), *q = o + tile * ld, *qt = q + tile * ld;
  FN(state) *w = (FN(state) *)(qt + tile * ld);
  for (long t = t0; t < t1; t += tile) {
    long n = rg_min(tile, t1 - t), padded = rg_ceil_div(n, RG_ATTN_GRAIN) * RG_ATTN_GRAIN;
    FN(copy)(q, ld, a->q + b * a->q_batch + t * a->q_row + h * D, a->q_row, n, D, a->scale * LOG2E);
    FN(transpose)(qt, q, ld, padded, D);
    for (long i = 0; i < tile; i++) w->m[i] = -INFINITY, w->l[i] = 0;
    for (long j = 0; j < rg_min(S, t + n + off); j += tile) {
      long keys = rg_min(tile, seen - j), d = rg_min(t + off - j, FN(no_mask));
      FN(scores)(rg_ceil_div(keys, RG_ATTN_GRAIN) * RG_ATTN_GRAIN, padded, D, d, k + j * ld, ld, qt, w->s);
      FN(soften)(keys, padded, d, w->s, w->m, w->l, w->by);
      FN(by_query)(keys, padded, d, w->s, v + j * ld, ld, o, j == 0, w->by);
    }
    FN(finish)(w, o, ld, n, D, a->y + ((b * a->T + t) * a->H + h) * D, a->H * D, a->lse ? a->lse + (b * a->H + h) * a->T + t : 0);
  }
}

static void RG_NAME(attn_task)(void *ctx, long i) {
  const rg_attention_args *a = ctx;
  long chunks = rg_ceil_div(a->T, CHUNK), c = i % chunks, h = i / chunks % a->H, b = i / chunks / a->H;
  FN(range)(a, b, h, c * CHUNK, rg_min(a->T, (c + 1) * CHUNK), a->S, a->causal ? a->S - a->T : NO_MASK);
}

static void RG_NAME(attn_cached)(void *ctx, long i) {
  const cached *c = ctx;
  const rg_attention_args *a = c->a;
  long b = i / a->H, pos = rg_max(0, c->pos[b * c->pos_step]);
  for (long t = 0; t < a->T; t += CHUNK)
    FN(range)(a, b, i % a->H, t, rg_min(a->T, t + CHUNK), a->S, pos);
}

// dots: s[j] = q · k_j for n keys. W keys at a time leave W vectors of partial sums, which a transpose adds up.
static void FN(dots)(float *s, const float *q, const float *k, long row, long n, long dim) {
  const long whole = dim / RG_WIDTH * RG_WIDTH;
  long j = 0;
  for (; j + RG_WIDTH <= n; j += RG_WIDTH, k += RG_WIDTH * row) {
    VF x[RG_WIDTH];
#pragma GCC unroll 16
    for (int r = 0; r < RG_WIDTH; r++) x[r] = (VF){};
    for (long c = 0; c < whole; c += RG_WIDTH) {
      VF w = *(const VU *)(q + c);
#pragma GCC unroll 16
      for (int r = 0; r < RG_WIDTH; r++) x[r] += w * *(const VU *)(k + r * row + c);
    }
    FN(turn)(x);
    VF sum = x[0];
#pragma GCC unroll 16
    for (int r = 1; r < RG_WIDTH; r++) sum += x[r];
    for (long c = whole; c < dim; c++)
      for (int r = 0; r < RG_WIDTH; r++) sum[r] += q[c] * k[r * row + c];
    *(VU *)(s + j) = sum;
  }
  for (; j < n; j++, k += row) {
    VF x = {};
    float sum = 0;
    for (long c = 0; c < whole; c += RG_WIDTH) x += *(const VU *)(q + c) * *(const VU *)(k + c);
    for (int u = 0; u < RG_WIDTH; u++) sum += x[u];
    for (long c = whole; c < dim; c++) sum += q[c] * k[c];
    s[j] = sum;
  }
}

// mix: y = Σ p_j·v_j · by over n rows, nv vectors wide.
RG_INLINE void FN(mix)(const int nv, float *y, const float *p, const float *v, long row, long n, float by) {
  VF even[4] = {}, odd[4] = {};
  long j = 0;
  for (; j + 2 <= n; j += 2, v += 2 * row)
#pragma GCC unroll 4
    for (int u = 0; u < nv; u++) {
      even[u] += p[j] * *(const VU *)(v + u * RG_WIDTH);
      odd[u] += p[j + 1] * *(const VU *)(v + row + u * RG_WIDTH);
    }
#pragma GCC unroll 4
  for (int u = 0; u < nv; u++) {
    if (j < n) even[u] += p[j] * *(const VU *)(v + u * RG_WIDTH);
    *(VU *)(y + u * RG_WIDTH) = (even[u] + odd[u]) * by;
  }
}

// few: head i of a cached call, each query by itself over the keys it sees.
static void RG_NAME(attn_few)(void *ctx, long i) {
  const cached *call = ctx;
  const rg_attention_args *a = call->a;
  const long b = i / a->H, h = i % a->H, g = h / (a->H / a->KV), D = a->D;
  const float *k = a->k + b * a->kv_batch + g * D, *v = a->v + b * a->kv_batch + g * D;
  float *s = rg_scratch(4, (size_t)(a->S + RG_WIDTH) * 4);
  for (long t = 0; t < a->T; t++) {
    const long n = rg_min(a->S, rg_max(0, call->pos[b * call->pos_step] + t) + 1);
    FN(dots)(s, a->q + b * a->q_batch + t * a->q_row + h * D, k, a->kv_row, n, D);
    for (long j = n; j % RG_WIDTH; j++) s[j] = -INFINITY;
    VF top = (VF){} - INFINITY, sums = {};
    for (long j = 0; j < n; j += RG_WIDTH) top = FN(max)(top, *(VF *)(s + j) * (a->scale * LOG2E));
    float m = top[0], sum = 0;
    for (int u = 1; u < RG_WIDTH; u++) m = top[u] > m ? top[u] : m;
    for (long j = 0; j < n; j += RG_WIDTH) {
      VF p = FN(exp2)(*(VF *)(s + j) * (a->scale * LOG2E) - m);
      *(VF *)(s + j) = p;
      sums += p;
    }
    for (int u = 0; u < RG_WIDTH; u++) sum += sums[u];
    float *y = a->y + ((b * a->T + t) * a->H + h) * D;
    long c = 0;
    for (; c + 4 * RG_WIDTH <= D; c += 4 * RG_WIDTH) FN(mix)(4, y + c, s, v + c, a->kv_row, n, 1 / sum);
    for (; c + RG_WIDTH <= D; c += RG_WIDTH) FN(mix)(1, y + c, s, v + c, a->kv_row, n, 1 / sum);
    for (; c < D; c++) {
      float x = 0;
      for (long j = 0; j < n; j++) x += s[j] * v[j * a->kv_row + c];
      y[c] = x / sum;
    }
  }
}
#include "attention_end.h"
#endif
