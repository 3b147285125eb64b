//go:build cgo

// Matrix products: the plain version, replaced piece by piece by the blocked one.
#include "gemm.h"
#include <math.h>

static float at(const void *p, long i, int bf16) {
  return bf16 ? rg_from_bf16(((const uint16_t *)p)[i]) : ((const float *)p)[i];
}
static void put(void *p, long i, int bf16, float v) {
  if (bf16) ((uint16_t *)p)[i] = rg_to_bf16(v);
  else ((float *)p)[i] = v;
}
static float act(int a, float x) {
  switch (a) {
  case RG_ACT_RELU: return x > 0 ? x : x != x ? x : 0;
  case RG_ACT_GELU_TANH: return 0.5f * x * (1 + tanhf(sqrtf(2 / (float)M_PI) * (x + 0.044715f * x * x * x)));
  case RG_ACT_GELU: return 0.5f * x * (1 + erff(x * (float)M_SQRT1_2));
  case RG_ACT_SILU: return x / (1 + expf(-x));
  }
  return x;
}
static float dact(int a, float x) {
  float t, s;
  switch (a) {
  case RG_ACT_RELU: return x > 0;
  case RG_ACT_GELU_TANH:
    t = tanhf(sqrtf(2 / (float)M_PI) * (x + 0.044715f * x * x * x));
    return 0.5f * (1 + t) + 0.5f * x * (1 - t * t) * sqrtf(2 / (float)M_PI) * (1 + 3 * 0.044715f * x * x);
  case RG_ACT_GELU: return 0.5f * (1 + erff(x * (float)M_SQRT1_2)) + x * expf(-0.5f * x * x) / sqrtf(2 * (float)M_PI);
  case RG_ACT_SILU: s = 1 / (1 + expf(-x)); return s * (1 + x * (1 - s));
  }
  return 1;
}

static void row(const rg_gemm *g, long item, long i) {
  long ao = g->a_off ? g->a_off[item] : item * g->stride_a, bo = g->b_off ? g->b_off[item] : item * g->stride_b;
  for (long j = 0; j < g->n; j++) {
    float s = 0;
    for (long p = 0; p < g->k; p++)
      s += at(g->a, ao + (g->ta ? p * g->lda + i : i * g->lda + p), g->a_bf16) *
           at(g->b, bo + (g->tb ? j * g->ldb + p : p * g->ldb + j), g->b_bf16);
    long o = item * g->stride_c + i * g->ldc + j;
    if (g->bias) s += at(g->bias, g->bias_rows ? i : j, g->bias_bf16);
    if (g->pre) put(g->pre, o, g->c_bf16, s);
    s = act(g->act, s);
    if (g->dact_pre) s *= dact(g->dact, at(g->dact_pre, o, g->c_bf16));
    if (g->residual) s += at(g->residual, o, g->c_bf16);
    if (g->beta != 0) s += g->beta * at(g->c, o, g->c_bf16);
    put(g->c, o, g->c_bf16, s);
  }
}
static void task(void *ctx, long t) {
  const rg_gemm *g = ctx;
  row(g, t / g->m, t % g->m);
}
void rg_gemm_run(const rg_gemm *g) { rg_parallel((g->batch > 1 ? g->batch : 1) * g->m, task, (void *)g); }
void rg_gemm_serial(const rg_gemm *g) {
  for (long t = 0, n = (g->batch > 1 ? g->batch : 1) * g->m; t < n; t++) task((void *)g, t);
}
