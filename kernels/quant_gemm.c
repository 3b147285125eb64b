//go:build cgo

// Integer products: packing, tasks, the plain kernel, and the end that turns sums into results.
#ifndef RG_BODY
#include "quant_tile.h"
#include <string.h>
#define RG_SELF "quant_gemm.c"
#include "rg_multi.h"

static int cap = RG_Q8_AMX;
void rg_q8_cap(int kind) { cap = kind; }

// AMX multiplies eight times as much per cycle as VNNI, if its tiles of 64 bytes of k are filled.
void rg_q8_choose(rg_q8 *g) {
  long filled = g->seg_len * 4, tiles = rg_ceil_div(g->seg_len, 64) * 64;
  if (cap >= RG_Q8_AMX && rg_q8_amx_usable() && filled >= tiles && g->images * g->oh * g->ow >= 8) g->kind = RG_Q8_AMX;
  else if (cap >= RG_Q8_VNNI && rg_q8_vnni_usable()) g->kind = RG_Q8_VNNI;
  else g->kind = RG_Q8_PLAIN;
}

void rg_q8_sizes(const rg_q8 *g, long *packed_bytes, long *columns) {
  *packed_bytes = rg_q8_panels(g) * rg_q8_panel_bytes(g);
  *columns = rg_q8_panels(g) * RG_Q8_PANEL;
}

// int8_part is part p of v, |v| ≤ 255, as a sum of three int8.
static int int8_part(int v, int p) {
  for (; p > 0; p--) v -= v < -128 ? -128 : v > 127 ? 127 : v;
  return v < -128 ? -128 : v > 127 ? 127 : v;
}

// A panel holds, for every part, stretch and dword of k, 16 columns of 4 neighbours along k. Zero points enter the bias:
// Σ (x−xz)·v = Σ x·v − xz·Σ v; where VNNI takes x+128 for x, xz+128 stands for xz.
static void prepare_panel(void *ctx, long p) {
  const rg_q8 *g = ctx;
  long dwords = rg_q8_dwords(g);
  int8_t *d = g->packed + p * rg_q8_panel_bytes(g);
  memset(d, 0, (size_t)rg_q8_panel_bytes(g));
  for (long c = 0; c < RG_Q8_PANEL; c++) {
    long j = p * RG_Q8_PANEL + c;
    uint32_t sum = 0;
    g->sums[j] = 0;
    if (j >= g->n) continue;
    int wz = rg_q8_byte(g->wz, g->w_u8, g->wz_n == 1 ? 0 : j);
    for (long s = 0; s < g->segs; s++)
      for (long i = 0; i < g->seg_len; i++) {
        int v = rg_q8_byte(g->w, g->w_u8, j * g->wj + g->seg_w[s] + i / g->cin * g->wtap + i % g->cin * g->wcin) - wz;
        sum += (uint32_t)v;
        for (int part = 0; part < g->parts; part++)
          d[((part * g->segs + s) * dwords + i / 4) * 64 + 4 * c + i % 4] = (int8_t)int8_part(v, part);
      }
    g->sums[j] = (int32_t)sum;
  }
}
void rg_q8_prepare(const rg_q8 *g) { rg_parallel(rg_q8_panels(g), prepare_panel, (void *)g); }

void rg_q8_scale(const rg_q8 *g) {
  uint32_t xz = (uint32_t)(rg_q8_byte(g->xz, g->x_u8, 0) + (g->kind == RG_Q8_VNNI && !g->x_u8 ? 128 : 0));
  for (long j = 0; j < rg_q8_panels(g) * RG_Q8_PANEL; j++) {
    if (j >= g->n) {
      g->mul[j] = 0, g->bias[j] = 0;
      continue;
    }
    g->bias[j] = (int32_t)((g->ibias ? (uint32_t)g->ibias[j] : 0) - xz * (uint32_t)g->sums[j]);
    float scale = *g->xs * g->ws[g->ws_n == 1 ? 0 : j];
    g->mul[j] = g->in_float || g->out == RG_Q_I32 ? scale : scale / *g->ys;
  }
}

void rg_q8_end(const rg_q8 *g, const int32_t *sums, long ld, long pixel, long rows, long col, long cols) {
  RG_DISPATCH(q8_end)(g, sums, ld, pixel, rows, col, cols);
}

typedef struct { const rg_q8 *g; long tiles, panels, tile_step, panel_step, panel_tasks; } job;
static void task(void *ctx, long i) {
  const job *j = ctx;
  long t = i / j->panel_tasks * j->tile_step, p = i % j->panel_tasks * j->panel_step;
  long t1 = rg_min(t + j->tile_step, j->tiles), p1 = rg_min(p + j->panel_step, j->panels);
  if (j->g->kind == RG_Q8_AMX) rg_q8_amx(j->g, t, t1, p, p1);
  else if (j->g->kind == RG_Q8_VNNI) rg_q8_vnni(j->g, t, t1, p, p1);
  else RG_DISPATCH(q8_plain)(j->g, t, t1, p, p1);
}

// A task takes a block of tiles by a block of panels whose weights stay in the second-level cache; where tiles are few,
// as while a text is written token by token, the panels are shared out instead.
void rg_q8_run(const rg_q8 *g) {
  enum { CACHED = 512 << 10, PIXELS = 192 };
  long rows = rg_q8_tile(g), panels = rg_q8_panels(g);
  job j = {.g = g, .tiles = g->images * g->oh * rg_ceil_div(g->ow, rows), .panels = panels};
  j.tile_step = rg_max(2, PIXELS / rows) & ~1l;
  j.panel_step = rg_max(4, rg_min(panels, CACHED / rg_max(1, rg_q8_panel_bytes(g))) & ~3l);
  if (rg_ceil_div(j.tiles, j.tile_step) < rg_threads())
    j.panel_step = rg_min(j.panel_step, rg_max(4, rg_ceil_div(rg_ceil_div(panels, 2 * rg_threads()), 4) * 4));
  j.panel_tasks = rg_ceil_div(panels, j.panel_step);
  rg_parallel(rg_ceil_div(j.tiles, j.tile_step) * j.panel_tasks, task, &j);
}
#else

#pragma GCC optimize("fp-contract=off") // every float operation is rounded once, at every level
#include "rg_vec.h"
#include "rg_act.h"
#define Q8(x) RG_NAME(q8_##x)
typedef int8_t Q8(bytes) __attribute__((vector_size(RG_WIDTH)));

RG_VEC vf Q8(act)(int act, vf v) {
  switch (act) {
  case RG_ACT_RELU: return v_relu(v);
  case RG_ACT_GELU_TANH: return v_gelu_tanh(v);
  case RG_ACT_GELU: return v_gelu_erf(v);
  case RG_ACT_SILU: return v_silu(v);
  }
  return v;
}

// quantized cuts v to [lo, hi] and rounds it to even: v + 1.5·2²³ holds the integer in its low bits.
RG_VEC void Q8(quantized)(vf v, float lo, float hi, int zero, uint8_t *y, long k) {
  v = v_min(v_max(v, v_set(lo)), v_set(hi));
  vi q = (vi)(v + 12582912.0f) - 0x4B400000 + zero;
#if RG_WIDTH == 16
  _mm_mask_storeu_epi8(y, k >= 16 ? 0xffff : (__mmask16)((1u << k) - 1), _mm512_cvtepi32_epi8((__m512i)q));
#else
  Q8(bytes) b = __builtin_convertvector(q, Q8(bytes));
  memcpy(y, &b, (size_t)rg_min(k, RG_WIDTH));
#endif
}

// row writes one row; act is constant, so that nothing is decided per vector.
RG_VEC void Q8(row)(const rg_q8 *g, const int32_t *sums, long at, long col, long cols, const int act, float lo, float hi, int zero) {
  for (long j = 0; j < cols; j += RG_WIDTH) {
    long k = cols - j;
    vi sum, bias;
    memcpy(&sum, sums + j, sizeof sum), memcpy(&bias, g->bias + col + j, sizeof bias);
    sum += bias;
    if (g->out == RG_Q_I32) {
      memcpy((int32_t *)g->y + at + j, &sum, (size_t)rg_min(k, RG_WIDTH) * 4);
      continue;
    }
    vf v = __builtin_convertvector(sum, vf) * v_loadu(g->mul + col + j);
    if (g->in_float) {
      if (g->fbias) v += v_load(g->fbias + col + j, k, 0);
      v = Q8(act)(act, v);
      if (g->residual) v += v_load(g->residual + at + j, k, 0);
      if (g->out == RG_Q_F32) {
        v_store((float *)g->y + at + j, v, k);
        continue;
      }
      v /= v_set(*g->ys);
    }
    Q8(quantized)(v, lo, hi, zero, (uint8_t *)g->y + at + j, k);
  }
}

static void Q8(end)(const rg_q8 *g, const int32_t *sums, long ld, long pixel, long rows, long col, long cols) {
  int zero = g->yz ? rg_q8_byte(g->yz, g->out == RG_Q_U8, 0) : 0;
  float lo = (g->out == RG_Q_U8 ? 0 : -128) - zero, hi = (g->out == RG_Q_U8 ? 255 : 127) - zero;
  if (g->act == RG_ACT_RELU && !g->in_float && lo < 0) lo = 0;
#define ROWS(a)                                                                                                        \
  for (long r = 0; r < rows; r++) Q8(row)(g, sums + r * ld, (pixel + r) * g->ldy + col, col, cols, a, lo, hi, zero)
  switch (g->in_float ? g->act : RG_ACT_NONE) {
  case RG_ACT_RELU: ROWS(RG_ACT_RELU); break;
  case RG_ACT_GELU_TANH: ROWS(RG_ACT_GELU_TANH); break;
  case RG_ACT_GELU: ROWS(RG_ACT_GELU); break;
  case RG_ACT_SILU: ROWS(RG_ACT_SILU); break;
  default: ROWS(RG_ACT_NONE);
  }
#undef ROWS
}

// dot adds to the sums of 16 columns the products of 4 bytes of x with a dword row of a panel. AVX2's own u8×s8 product
// saturates at 16 bits, so bytes are widened and multiplied in pairs, which is exact; sums of pairs are joined by join.
#if RG_WIDTH >= 8
#define SUMS 32
RG_VEC void Q8(dot)(const uint8_t *x, int u8, const int8_t *w, int32_t *sums) {
  int32_t four;
  memcpy(&four, x, 4);
  __m128i b = _mm_set1_epi32(four);
  __m256i xx = u8 ? _mm256_cvtepu8_epi16(b) : _mm256_cvtepi8_epi16(b);
  for (int h = 0; h < 4; h++) {
    __m256i ww = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)w + h));
    __m256i *s = (__m256i *)sums + h;
    _mm256_storeu_si256(s, _mm256_add_epi32(_mm256_loadu_si256(s), _mm256_madd_epi16(xx, ww)));
  }
}
RG_VEC void Q8(join)(const int32_t *pairs, int32_t *sums) {
  for (int c = 0; c < 16; c++) sums[c] = (int32_t)((uint32_t)pairs[2 * c] + (uint32_t)pairs[2 * c + 1]);
}
#else
#define SUMS 16
RG_VEC void Q8(dot)(const uint8_t *x, int u8, const int8_t *w, int32_t *sums) {
  int v[4];
  for (int i = 0; i < 4; i++) v[i] = u8 ? x[i] : (int8_t)x[i];
  for (int c = 0; c < 16; c++)
    sums[c] = (int32_t)((uint32_t)sums[c] + (uint32_t)(v[0] * w[4 * c] + v[1] * w[4 * c + 1] + v[2] * w[4 * c + 2] + v[3] * w[4 * c + 3]));
}
RG_VEC void Q8(join)(const int32_t *pairs, int32_t *sums) { memcpy(sums, pairs, 16 * sizeof *sums); }
#endif

static void Q8(plain)(const rg_q8 *g, long t0, long t1, long p0, long p1) {
  long dwords = rg_q8_dwords(g), rows = rg_q8_tile(g);
  for (long p = p0; p < p1; p++)
    for (long t = t0; t < t1; t++) {
      long pixel, count;
      const uint8_t *a = rg_q8_at(g, t, rows, &pixel, &count, 0);
      for (long r = 0; r < count; r++, a += g->pix_step) {
        int32_t pairs[SUMS] = {0}, sums[16];
        const int8_t *w = g->packed + p * rg_q8_panel_bytes(g);
        for (int part = 0; part < g->parts; part++)
          for (long s = 0; s < g->segs; s++)
            for (long d = 0; d < dwords; d++, w += 64) Q8(dot)(a + g->seg_off[s] + 4 * d, g->x_u8, w, pairs);
        Q8(join)(pairs, sums);
        Q8(end)(g, sums, 16, pixel + r, 1, p * RG_Q8_PANEL, rg_min(RG_Q8_PANEL, g->n - p * RG_Q8_PANEL));
      }
    }
}
#undef SUMS
#endif
