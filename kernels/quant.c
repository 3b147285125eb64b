//go:build cgo

// Quantization of tensors, padding and pooling of int8 images.
#ifndef RG_BODY
#include "quant.h"
#include <string.h>
enum { CHUNK = 16384 };
typedef struct {
  const float *x;
  float *y;
  const void *q;
  uint8_t *out;
  const float *scale;
  const void *zero;
  long count, inner, scales, per; // slices; per: slices or pieces per task
  int type;
} linear_job;
typedef struct { const rg_fake *s; const float *x, *lo, *hi, *dy; float *y; } fake_job;
#define RG_SELF "quant.c"
#include "rg_multi.h"

// Elements [from, to) of slice i; a tensor in one slice is cut along its elements.
static void linear_task(linear_job *j, long i, void (*part)(const linear_job *, long slice, long from, long to)) {
  if (j->count == 1) {
    part(j, 0, i * CHUNK, rg_min((i + 1) * CHUNK, j->inner));
    return;
  }
  for (long s = i * j->per; s < rg_min((i + 1) * j->per, j->count); s++) part(j, s, 0, j->inner);
}
static long linear_tasks(linear_job *j) {
  j->per = rg_max(1, CHUNK / rg_max(1, j->inner));
  return j->count == 1 ? rg_ceil_div(j->inner, CHUNK) : rg_ceil_div(j->count, j->per);
}
static void quantize_task(void *j, long i) { linear_task(j, i, RG_DISPATCH(quantize)); }
static void dequantize_task(void *j, long i) { linear_task(j, i, RG_DISPATCH(dequantize)); }

void rg_quantize(const float *x, long count, long inner, const float *scale, const uint8_t *zero, long scales, int u8, uint8_t *q) {
  linear_job j = {.x = x, .out = q, .scale = scale, .zero = zero, .count = count, .inner = inner, .scales = scales, .type = u8};
  rg_parallel(linear_tasks(&j), quantize_task, &j);
}
void rg_dequantize(const void *q, int type, long count, long inner, const float *scale, const void *zero, long scales, float *y) {
  linear_job j = {.q = q, .y = y, .scale = scale, .zero = zero, .count = count, .inner = inner, .scales = scales, .type = type};
  rg_parallel(linear_tasks(&j), dequantize_task, &j);
}

// A task is a stretch of CHUNK elements of the whole tensor, which may begin and end inside slices.
static void fake_task(void *ctx, long i) {
  const fake_job *j = ctx;
  long all = j->s->count * j->s->inner, end = rg_min(all, (i + 1) * CHUNK);
  for (long at = i * CHUNK; at < end;) {
    long slice = at / j->s->inner, stop = rg_min(end, (slice + 1) * j->s->inner);
    RG_DISPATCH(fake)(j, slice % j->s->ranges, at, stop);
    at = stop;
  }
}
void rg_fake_quantize(const rg_fake *s, const float *x, const float *lo, const float *hi, const float *dy, float *y) {
  fake_job j = {s, x, lo, hi, dy, y};
  rg_parallel(rg_ceil_div(s->count * s->inner, CHUNK), fake_task, &j);
}

// Limits of stretches of CHUNK numbers are found in parallel, then joined; minimum and maximum have no order.
typedef struct { const float *x; long n; float *lo, *hi; } limits_job;
static void limits_task(void *ctx, long i) {
  const limits_job *j = ctx;
  RG_DISPATCH(limits)(j->x + i * CHUNK, rg_min(CHUNK, j->n - i * CHUNK), &j->lo[i], &j->hi[i]);
}
void rg_dynamic_quantize(const float *x, long n, uint8_t *q, float *scale, uint8_t *zero) {
  long tasks = rg_ceil_div(n, CHUNK);
  float *lo = rg_scratch(4, 2 * (size_t)tasks * sizeof(float)), *hi = lo + tasks, least = 0, most = 0;
  limits_job j = {x, n, lo, hi};
  rg_parallel(tasks, limits_task, &j);
  for (long i = 0; i < tasks; i++) least = lo[i] < least ? lo[i] : least, most = hi[i] > most ? hi[i] : most;
  *scale = (most - least) / 255, *zero = 0;
  if (*scale == 0) {
    memset(q, 0, (size_t)n);
    return;
  }
  float z = -least / *scale + 12582912.0f - 12582912.0f; // rounded to even
  *zero = (uint8_t)(z < 0 ? 0 : z > 255 ? 255 : z);
  rg_quantize(x, 1, n, scale, zero, 1, 1, q);
}

typedef struct { const uint8_t *x, *fill; uint8_t *y; long h, w, c; const long *pad; } pad_job;
static void pad_task(void *ctx, long i) {
  const pad_job *j = ctx;
  long width = (j->w + j->pad[1] + j->pad[3]) * j->c, height = j->h + j->pad[0] + j->pad[2];
  uint8_t *y = j->y + i * height * width;
  memset(y, *j->fill, (size_t)(height * width));
  for (long r = 0; r < j->h; r++)
    memcpy(y + (r + j->pad[0]) * width + j->pad[1] * j->c, j->x + (i * j->h + r) * j->w * j->c, (size_t)(j->w * j->c));
}
void rg_q8_pad(const uint8_t *x, long images, long h, long w, long c, const long pad[4], const uint8_t *fill, uint8_t *y) {
  pad_job j = {x, fill, y, h, w, c, pad};
  rg_parallel(images, pad_task, &j);
}

typedef struct { const rg_q8_pool *s; const uint8_t *x; uint8_t *y; } pool_job;
static void pool_task(void *ctx, long i) {
  const pool_job *j = ctx;
  const rg_q8_pool *s = j->s;
  RG_DISPATCH(maxpool_image)(s, j->x + i * s->h * s->w * s->c, j->y + i * s->oh * s->ow * s->c);
}
void rg_q8_maxpool(const rg_q8_pool *s, const uint8_t *x, uint8_t *y) {
  pool_job j = {s, x, y};
  rg_parallel(s->n, pool_task, &j);
}
#else

#include "rg_vec.h"
typedef int8_t RG_NAME(bytes) __attribute__((vector_size(RG_WIDTH)));

static void RG_NAME(quantize)(const linear_job *j, long slice, long from, long to) {
  const int zero = j->type ? ((const uint8_t *)j->zero)[slice % j->scales] : ((const int8_t *)j->zero)[slice % j->scales];
  const vf scale = v_set(j->scale[slice % j->scales]);
  const vf lo = v_set((j->type ? 0 : -128) - zero), hi = v_set((j->type ? 255 : 127) - zero);
  const float *x = j->x + slice * j->inner;
  uint8_t *y = j->out + slice * j->inner;
  for (long i = from; i < to; i += RG_WIDTH) {
    vf v = v_load(x + i, to - i, 0) / scale;
    v = v_min(v_max(v, lo), hi); // of a NaN lo remains
    vi q = (vi)(v + 12582912.0f) - 0x4B400000 + zero; // v + 1.5·2²³ holds v, rounded to even, in its low bits
#if RG_WIDTH == 16
    _mm_mask_storeu_epi8(y + i, to - i >= 16 ? 0xffff : (__mmask16)((1u << (to - i)) - 1), _mm512_cvtepi32_epi8((__m512i)q));
#else
    RG_NAME(bytes) b = __builtin_convertvector(q, RG_NAME(bytes));
    memcpy(y + i, &b, (size_t)rg_min(to - i, RG_WIDTH));
#endif
  }
}

static void RG_NAME(fake)(const fake_job *j, long range, long from, long to) {
  float hi = j->hi[range] > 0 ? j->hi[range] : 0, lo = j->lo[range] < 0 ? j->lo[range] : 0, zero = 0, least = -127;
  if (j->s->symmetric) {
    lo = -hi;
  }
  float scale = j->s->symmetric ? hi / 127 : (hi - lo) / 255;
  if (j->dy) {
    int open = !(hi > lo); // an empty range lets all through
    for (long i = from; i < to; i++) j->y[i] = open || (j->x[i] >= lo && j->x[i] <= hi) ? j->dy[i] : 0;
    return;
  }
  if (!(scale > 0)) {
    memcpy(j->y + from, j->x + from, (size_t)(to - from) * sizeof(float));
    return;
  }
  if (!j->s->symmetric) least = -128, zero = -128 - lo / scale + 12582912.0f - 12582912.0f; // rounded to even
  const vf s = v_set(scale), a = v_set(least - zero), b = v_set(127 - zero);
  for (long i = from; i < to; i += RG_WIDTH) {
    vf v = v_load(j->x + i, to - i, 0) / s;
    v = v_min(v_max(v, a), b);
    v_store(j->y + i, (v + 12582912.0f - 12582912.0f) * s, to - i);
  }
}

static void RG_NAME(limits)(const float *x, long n, float *least, float *most) {
  vf lo = {0}, hi = {0};
  for (long i = 0; i < n; i += RG_WIDTH) {
    vf v = v_load(x + i, n - i, 0);
    lo = v_min(v, lo), hi = v_max(v, hi); // a NaN leaves them as they are
  }
  *most = v_top(hi), *least = -v_top(-lo);
}

static void RG_NAME(dequantize)(const linear_job *j, long slice, long from, long to) {
  long k = slice % j->scales, at = slice * j->inner;
  float scale = j->scale[k], *y = j->y + at;
  if (j->type == RG_Q_U8) {
    const uint8_t *q = (const uint8_t *)j->q + at;
    int zero = ((const uint8_t *)j->zero)[k];
    for (long i = from; i < to; i++) y[i] = (float)(q[i] - zero) * scale;
  } else if (j->type == RG_Q_I8) {
    const int8_t *q = (const int8_t *)j->q + at;
    int zero = ((const int8_t *)j->zero)[k];
    for (long i = from; i < to; i++) y[i] = (float)(q[i] - zero) * scale;
  } else {
    const int32_t *q = (const int32_t *)j->q + at;
    uint32_t zero = (uint32_t)((const int32_t *)j->zero)[k];
    for (long i = from; i < to; i++) y[i] = (float)(int32_t)((uint32_t)q[i] - zero) * scale;
  }
}

static void RG_NAME(row_max)(const uint8_t *x, uint8_t *y, long n, int u8) {
  if (u8)
    for (long i = 0; i < n; i++) y[i] = x[i] > y[i] ? x[i] : y[i];
  else
    for (long i = 0; i < n; i++) y[i] = (int8_t)x[i] > (int8_t)y[i] ? x[i] : y[i];
}

// Channels lie together: a window's maximum is taken over whole pixels.
static void RG_NAME(maxpool_image)(const rg_q8_pool *s, const uint8_t *x, uint8_t *y) {
  const long c = s->c;
  for (long i = 0; i < s->oh; i++)
    for (long j = 0; j < s->ow; j++, y += c) {
      memset(y, s->u8 ? 0 : 0x80, (size_t)c); // the least number, for windows without a pixel
      for (long r = 0; r < s->kh; r++)
        for (long q = 0; q < s->kw; q++) {
          long h = i * s->sh + r * s->dh - s->pt, w = j * s->sw + q * s->dw - s->pl;
          if (h >= 0 && h < s->h && w >= 0 && w < s->w) RG_NAME(row_max)(x + (h * s->w + w) * c, y, c, s->u8);
        }
    }
}
#endif
