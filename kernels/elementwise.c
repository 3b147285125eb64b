//go:build cgo

// Binary elementwise kernels with broadcasting, comparison and selection. The innermost axis of an operand is either
// dense or stretched, so three loops per op suffice: array and array, array and number, number and array. Outer axes
// are walked like an odometer. Tasks cover fixed ranges of the output.
#ifndef RG_BODY
#include "elementwise.h"
#include "rg_math.h"
#include <math.h>
#define RG_SELF "elementwise.c"

enum { BLOCK = 1024 };

// f(a, b, y, n) for the three modes.
typedef void (*binary_fn)(const float *a, const float *b, void *y, long n);
typedef void (*where_fn)(const uint8_t *c, const uint32_t *a, const uint32_t *b, uint32_t *y, long n);
typedef void (*widen_fn)(const uint16_t *x, float *y, long n);
typedef void (*narrow_fn)(const float *x, uint16_t *y, long n);

#include "rg_multi.h"

typedef struct {
  const rg_loop *l;
  const binary_fn *f; // by mode
  const where_fn *w;  // by which of c, a, b are arrays
  widen_fn widen;
  narrow_fn narrow;
  int dt, bytes; // bytes: the output is Bool
  const void *in[3];
  void *y;
  long n;
} loop_job;

// The widened operand of a segment: buf, or the one number where it is stretched.
static const float *widened(loop_job *j, int o, long at, long n, long stride, float *buf) {
  j->widen((const uint16_t *)j->in[o] + at, buf, stride ? n : 1);
  return buf;
}

// n outputs from y[at] on; the operands start at p[0…2] and have innermost strides s[0…2].
static void segment(loop_job *j, long at, const int64_t *p, const int64_t *s, long n) {
  if (j->w) {
    const uint8_t *c = (const uint8_t *)j->in[0] + p[0];
    const uint32_t *a = (const uint32_t *)j->in[1] + p[1], *b = (const uint32_t *)j->in[2] + p[2];
    j->w[(s[0] ? 4 : 0) + (s[1] ? 2 : 0) + (s[2] ? 1 : 0)](c, a, b, (uint32_t *)j->y + at, n);
    return;
  }
  binary_fn f = j->f[s[0] ? (s[1] ? 0 : 1) : 2];
  if (j->dt == RG_F32) {
    void *y = j->bytes ? (void *)((char *)j->y + at) : (void *)((float *)j->y + at);
    f((const float *)j->in[0] + p[0], (const float *)j->in[1] + p[1], y, n);
    return;
  }
  float a[BLOCK] __attribute__((aligned(64))), b[BLOCK] __attribute__((aligned(64)));
  for (long i = 0; i < n; i += BLOCK) {
    long m = rg_min(BLOCK, n - i);
    const float *pa = widened(j, 0, p[0] + i * s[0], m, s[0], a), *pb = widened(j, 1, p[1] + i * s[1], m, s[1], b);
    if (j->bytes) {
      f(pa, pb, (char *)j->y + at + i, m);
    } else {
      float *y = s[0] ? a : b; // in place is allowed where the operand is an array
      f(pa, pb, y, m);
      j->narrow(y, (uint16_t *)j->y + at + i, m);
    }
  }
}

// Outputs [at, end): finds the position of `at`, then steps along rows of the innermost axis.
static void loop_range(loop_job *j, long at, long end) {
  const rg_loop *l = j->l;
  int last = l->nd - 1;
  int64_t pos[RG_ND], p[3] = {0, 0, 0}, s[3];
  long rest = at;
  for (int d = last; d >= 0; d--) {
    pos[d] = rest % l->dim[d];
    rest /= l->dim[d];
    for (int o = 0; o < 3; o++) p[o] += pos[d] * l->s[o + 1][d];
  }
  for (int o = 0; o < 3; o++) s[o] = l->s[o + 1][last];
  while (at < end) {
    long n = rg_min(l->dim[last] - pos[last], end - at);
    segment(j, at, p, s, n);
    at += n;
    for (int o = 0; o < 3; o++) p[o] -= pos[last] * s[o];
    pos[last] = 0;
    for (int d = last - 1; d >= 0; d--) {
      for (int o = 0; o < 3; o++) p[o] += l->s[o + 1][d];
      if (++pos[d] < l->dim[d]) break;
      for (int o = 0; o < 3; o++) p[o] -= pos[d] * l->s[o + 1][d];
      pos[d] = 0;
    }
  }
}

static void loop_task(void *ctx, long i) {
  loop_job *j = ctx;
  loop_range(j, i * RG_CHUNK, rg_min(j->n, (i + 1) * RG_CHUNK));
}

static void loop_run(loop_job *j) {
  j->n = 1;
  for (int d = 0; d < j->l->nd; d++) j->n *= j->l->dim[d];
  if (j->n <= RG_CHUNK) {
    loop_range(j, 0, j->n);
  } else {
    rg_parallel(rg_ceil_div(j->n, RG_CHUNK), loop_task, j);
  }
}

void rg_binary(int op, int dt, const rg_loop *l, const void *a, const void *b, void *y) {
  loop_job j = {.l = l, .f = RG_DISPATCH(binary_table)[op], .widen = RG_DISPATCH(widen), .narrow = RG_DISPATCH(narrow),
                .dt = dt, .bytes = op >= RG_B_EQ, .in = {a, b, 0}, .y = y};
  loop_run(&j);
}

void rg_where(const rg_loop *l, const uint8_t *c, const void *a, const void *b, void *y) {
  loop_job j = {.l = l, .w = RG_DISPATCH(where_table), .in = {c, a, b}, .y = y};
  loop_run(&j);
}
#else
#include "bf16.h"

#define MODE(name, mode, T, sa, sb, expr) \
  static void RG_NAME(b_##name##_##mode)(const float *pa, const float *pb, void *py, long n) { \
    T *y = py; \
    float a = pa[0], b = pb[0]; \
    (void)a, (void)b; \
    _Pragma("GCC ivdep") for (long i = 0; i < n; i++) { \
      if (sa) a = pa[i]; \
      if (sb) b = pb[i]; \
      y[i] = (expr); \
    } \
  }
#define BINARY(name, T, expr) \
  MODE(name, vv, T, 1, 1, expr) MODE(name, vs, T, 1, 0, expr) MODE(name, sv, T, 0, 1, expr)
BINARY(add, float, a + b)
BINARY(sub, float, a - b)
BINARY(mul, float, a *b)
BINARY(div, float, a / b)
BINARY(maximum, float, a > b || a != a ? a : b)
BINARY(minimum, float, a < b || a != a ? a : b)
BINARY(relu_grad, float, a > 0.0f ? b : 0.0f)
BINARY(silu_grad, float, rg_silu_grad(a) * b)
BINARY(gelu_erf_grad, float, rg_gelu_erf_grad(a) * b)
BINARY(gelu_tanh_grad, float, rg_gelu_tanh_grad(a) * b)
BINARY(pow, float, powf(a, b))
BINARY(eq, uint8_t, a == b)
BINARY(ne, uint8_t, a != b)
BINARY(lt, uint8_t, a < b)
BINARY(le, uint8_t, a <= b)
BINARY(gt, uint8_t, a > b)
BINARY(ge, uint8_t, a >= b)

#define ROW(name) {RG_NAME(b_##name##_vv), RG_NAME(b_##name##_vs), RG_NAME(b_##name##_sv)}
static const binary_fn RG_NAME(binary_table)[][3] = {
  [RG_B_ADD] = ROW(add), [RG_B_SUB] = ROW(sub), [RG_B_MUL] = ROW(mul), [RG_B_DIV] = ROW(div),
  [RG_B_MAXIMUM] = ROW(maximum), [RG_B_MINIMUM] = ROW(minimum), [RG_B_RELU_GRAD] = ROW(relu_grad),
  [RG_B_SILU_GRAD] = ROW(silu_grad), [RG_B_GELU_ERF_GRAD] = ROW(gelu_erf_grad),
  [RG_B_GELU_TANH_GRAD] = ROW(gelu_tanh_grad), [RG_B_POW] = ROW(pow), [RG_B_EQ] = ROW(eq), [RG_B_NE] = ROW(ne),
  [RG_B_LT] = ROW(lt), [RG_B_LE] = ROW(le), [RG_B_GT] = ROW(gt), [RG_B_GE] = ROW(ge),
};

#define WHERE(k) \
  static void RG_NAME(where_##k)(const uint8_t *c, const uint32_t *a, const uint32_t *b, uint32_t *y, long n) { \
    uint8_t c0 = c[0]; \
    uint32_t a0 = a[0], b0 = b[0]; \
    _Pragma("GCC ivdep") for (long i = 0; i < n; i++) { \
      uint32_t yes = (k) & 2 ? a[i] : a0, no = (k) & 1 ? b[i] : b0; \
      y[i] = ((k) & 4 ? c[i] : c0) ? yes : no; \
    } \
  }
WHERE(0) WHERE(1) WHERE(2) WHERE(3) WHERE(4) WHERE(5) WHERE(6) WHERE(7)
static const where_fn RG_NAME(where_table)[] = {
  RG_NAME(where_0), RG_NAME(where_1), RG_NAME(where_2), RG_NAME(where_3),
  RG_NAME(where_4), RG_NAME(where_5), RG_NAME(where_6), RG_NAME(where_7),
};
#undef MODE
#undef BINARY
#undef ROW
#undef WHERE
#endif
