//go:build cgo

// Optimizers: one pass over memory, in chunks that follow from the size alone.
#ifndef RG_BODY
#include "optim.h"
#include "rg.h"
#include <math.h>

enum {
  CHUNK = 1 << 15, // elements: 128 KiB per array, so that a task is long against its start
  PIECE = 1 << 13, // of several updates together
};

typedef void (*task_fn)(void *, long);
typedef struct {
  rg_optim a;
  long chunk;
  float lr, scale; // scale: of the gradient
  double *partial;
} optim_job;

#define RG_SELF "optim.c"
#include "rg_multi.h"

static optim_job job_of(const rg_optim *a, long chunk) {
  const float *h = a->hyper;
  return (optim_job){*a, chunk, h[RG_HYPER_LR], h[RG_HYPER_SCALE] * (a->norm ? a->norm[1] : 1), 0};
}
static void run(const rg_optim *a, task_fn fn) {
  optim_job j = job_of(a, CHUNK);
  rg_parallel(rg_ceil_div(a->n, CHUNK), fn, &j);
}
static task_fn adamw(void) { return RG_DISPATCH(adamw); }
static task_fn sgd(void) { return RG_DISPATCH(sgd); }
static task_fn lion(void) { return RG_DISPATCH(lion); }
void rg_adamw(const rg_optim *a) { run(a, adamw()); }
void rg_sgd(const rg_optim *a) { run(a, sgd()); }
void rg_lion(const rg_optim *a) { run(a, lion()); }

long rg_optim_pieces(long n) { return rg_ceil_div(n, PIECE); }

static void piece_task(void *ctx, long i) {
  const rg_optim_group *g = ctx;
  optim_job j = job_of(g->pieces[i].of, PIECE);
  (g->rule == RG_ADAMW ? adamw() : g->rule == RG_SGD ? sgd() : lion())(&j, g->pieces[i].at);
}
void rg_optim_run(const rg_optim_group *g) { rg_parallel(g->count, piece_task, (void *)g); }

void rg_lerp(float *state, const float *value, float keep, float add, long n) {
  optim_job j = {{.n = n, .param = state, .grad = value, .beta1 = keep, .beta2 = add}, CHUNK, 0, 0, 0};
  rg_parallel(rg_ceil_div(n, CHUNK), RG_DISPATCH(lerp), &j);
}

void rg_grad_norm(float *out, const float *grad, const float *hyper, float max, long n) {
  const long chunks = rg_ceil_div(n, CHUNK);
  optim_job j = {{.n = n, .grad = grad}, CHUNK, 0, 0, rg_scratch(4, (size_t)chunks * sizeof(double))};
  rg_parallel(chunks, RG_DISPATCH(squares), &j);
  double sum = 0;
  for (long i = 0; i < chunks; i++) sum += j.partial[i];
  double norm = sqrt(sum) * hyper[RG_HYPER_SCALE];
  out[0] = (float)norm;
  out[1] = max > 0 && norm > max ? (float)(max / norm) : 1;
}

#else
#include "rg_vec.h"
#include "optim_step.h"
#define EACH(i) \
  const long lo = chunk * j->chunk, n = rg_min(j->a.n, lo + j->chunk); \
  for (long i = lo; i < n; i += RG_WIDTH)
#define AT(p) v_load((p) + i, n - i, 0)

static void RG_NAME(adamw)(void *ctx, long chunk) {
  const optim_job *j = ctx;
  float *param = j->a.param, *mom = j->a.m, *sq = j->a.v;
  const float *grad = j->a.grad;
  const rg_adamw_set set = rg_adamw_of(&j->a);
  EACH(i) {
    vf p = AT(param), m = AT(mom), v = AT(sq);
    v_adamw(&set, AT(grad), &p, &m, &v);
    v_store(mom + i, m, n - i);
    v_store(sq + i, v, n - i);
    v_store(param + i, p, n - i);
  }
}

// g += wd·p;  mom = μ·mom + g;  p −= lr·(nesterov ? g + μ·mom : mom)
static void RG_NAME(sgd)(void *ctx, long chunk) {
  const optim_job *j = ctx;
  float *param = j->a.param, *mom = j->a.m;
  const float *grad = j->a.grad;
  const float mu = j->a.beta1, decay = j->a.decay, scale = j->scale, lr = j->lr;
  // d = ahead·g + behind·mom is g + μ·mom or mom
  const float ahead = j->a.nesterov ? 1 : 0, behind = j->a.nesterov ? mu : 1;
  EACH(i) {
    vf p = AT(param), g = AT(grad) * scale + p * decay, m = AT(mom) * mu + g;
    v_store(mom + i, m, n - i);
    v_store(param + i, p - lr * (ahead * g + behind * m), n - i);
  }
}

// p −= lr·(sign(β₁·m + (1−β₁)·g) + wd·p);  m = β₂·m + (1−β₂)·g
static void RG_NAME(lion)(void *ctx, long chunk) {
  const optim_job *j = ctx;
  float *param = j->a.param, *mom = j->a.m;
  const float *grad = j->a.grad;
  const float b1 = j->a.beta1, b2 = j->a.beta2, c1 = 1 - j->a.beta1, c2 = 1 - j->a.beta2, decay = j->a.decay;
  const float scale = j->scale, lr = j->lr;
  EACH(i) {
    vf p = AT(param), g = AT(grad) * scale, m = AT(mom), u = m * b1 + g * c1;
    // ±1 with u's sign; u itself where it is 0 or NaN
    vi same = (u == 0) | (u != u), one = (vi)v_set(1.0f) | ((vi)u & (int32_t)0x80000000);
    vf sign = (vf)((same & (vi)u) | (~same & one));
    v_store(param + i, p - lr * (sign + p * decay), n - i);
    v_store(mom + i, m * b2 + g * c2, n - i);
  }
}

static void RG_NAME(lerp)(void *ctx, long chunk) {
  const optim_job *j = ctx;
  float *state = j->a.param;
  const float *value = j->a.grad, keep = j->a.beta1, add = j->a.beta2;
  EACH(i) v_store(state + i, AT(state) * keep + AT(value) * add, n - i);
}

// partial[chunk] = Σ grad² in double precision: squares of f32 are exact there
static void RG_NAME(squares)(void *ctx, long chunk) {
  const optim_job *j = ctx;
  const float *grad = j->a.grad;
  enum { HALF = RG_WIDTH / 2 };
  typedef double vd __attribute__((vector_size(8 * HALF)));
  typedef float vh __attribute__((vector_size(4 * HALF)));
  const long lo = chunk * CHUNK, n = rg_min(j->a.n, lo + CHUNK);
  vd s = {}, t = {};
  long i = lo;
  for (; i + RG_WIDTH <= n; i += RG_WIDTH) {
    vh a, b;
    memcpy(&a, grad + i, sizeof a);
    memcpy(&b, grad + i + HALF, sizeof b);
    vd x = __builtin_convertvector(a, vd), y = __builtin_convertvector(b, vd);
    s += x * x;
    t += y * y;
  }
  double sum = 0;
  for (int k = 0; k < HALF; k++) sum += s[k] + t[k];
  for (; i < n; i++) sum += (double)grad[i] * grad[i];
  j->partial[chunk] = sum;
}
#undef EACH
#undef AT
#endif
