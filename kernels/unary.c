//go:build cgo

// Unary elementwise kernels: y = f(x), gated activations, fill, copy and conversions. f32 arithmetic on f32 or
// bf16 storage; bf16 goes through blocks of f32 that stay in the first-level cache.
#ifndef RG_BODY
#include "elementwise.h"
#include "rg_math.h"
#include <string.h>
#define RG_SELF "unary.c"

enum { BLOCK = 1024 };

typedef void (*unary_fn)(const float *x, float *y, long n, float lo, float hi);
typedef void (*widen_fn)(const uint16_t *x, float *y, long n);
typedef void (*narrow_fn)(const float *x, uint16_t *y, long n);
typedef void (*swiglu_fn)(const float *gate, const float *up, float *y, long n);
typedef void (*swiglu_grad_fn)(const float *gate, const float *up, const float *dy, float *dgate, float *dup, long n);

#include "rg_multi.h"

typedef struct {
  unary_fn f;
  widen_fn widen;
  narrow_fn narrow;
  int dt;
  const void *x;
  void *y;
  long n;
  float lo, hi;
} unary_job;

static void unary_range(unary_job *j, long at, long n) {
  if (j->dt == RG_F32) {
    j->f((const float *)j->x + at, (float *)j->y + at, n, j->lo, j->hi);
    return;
  }
  float buf[BLOCK] __attribute__((aligned(64)));
  for (long i = at; i < at + n; i += BLOCK) {
    long m = rg_min(BLOCK, at + n - i);
    j->widen((const uint16_t *)j->x + i, buf, m);
    j->f(buf, buf, m, j->lo, j->hi);
    j->narrow(buf, (uint16_t *)j->y + i, m);
  }
}

static void unary_task(void *ctx, long i) {
  unary_job *j = ctx;
  unary_range(j, i * RG_CHUNK, rg_min(RG_CHUNK, j->n - i * RG_CHUNK));
}

void rg_unary(int op, int dt, const void *x, void *y, long n, float lo, float hi) {
  unary_job j = {RG_DISPATCH(unary_table)[op], RG_DISPATCH(widen), RG_DISPATCH(narrow), dt, x, y, n, lo, hi};
  if (n <= RG_CHUNK) {
    unary_range(&j, 0, n);
  } else {
    rg_parallel(rg_ceil_div(n, RG_CHUNK), unary_task, &j);
  }
}

// swiglu over rows: tasks cover whole rows.
typedef struct {
  swiglu_fn f;
  swiglu_grad_fn g;
  widen_fn widen;
  narrow_fn narrow;
  int dt;
  const void *x, *dy;
  void *y;
  long rows, f_len, per;
} swiglu_job;

// One bf16 row, block by block; dy is null in the forward direction.
static void swiglu_row_bf16(swiglu_job *j, long r) {
  float b[3][BLOCK] __attribute__((aligned(64)));
  const uint16_t *x = (const uint16_t *)j->x + r * 2 * j->f_len;
  for (long i = 0; i < j->f_len; i += BLOCK) {
    long m = rg_min(BLOCK, j->f_len - i);
    j->widen(x + i, b[0], m);
    j->widen(x + j->f_len + i, b[1], m);
    if (j->dy) {
      uint16_t *dx = (uint16_t *)j->y + r * 2 * j->f_len;
      j->widen((const uint16_t *)j->dy + r * j->f_len + i, b[2], m);
      j->g(b[0], b[1], b[2], b[0], b[1], m);
      j->narrow(b[0], dx + i, m);
      j->narrow(b[1], dx + j->f_len + i, m);
    } else {
      j->f(b[0], b[1], b[2], m);
      j->narrow(b[2], (uint16_t *)j->y + r * j->f_len + i, m);
    }
  }
}

static void swiglu_task(void *ctx, long i) {
  swiglu_job *j = ctx;
  for (long r = i * j->per; r < rg_min(j->rows, (i + 1) * j->per); r++) {
    if (j->dt == RG_BF16) {
      swiglu_row_bf16(j, r);
      continue;
    }
    const float *x = (const float *)j->x + r * 2 * j->f_len;
    if (j->dy) {
      float *dx = (float *)j->y + r * 2 * j->f_len;
      j->g(x, x + j->f_len, (const float *)j->dy + r * j->f_len, dx, dx + j->f_len, j->f_len);
    } else {
      j->f(x, x + j->f_len, (float *)j->y + r * j->f_len, j->f_len);
    }
  }
}

static void swiglu_run(int dt, const void *x, const void *dy, void *y, long rows, long f) {
  swiglu_job j = {RG_DISPATCH(swiglu), RG_DISPATCH(swiglu_grad), RG_DISPATCH(widen), RG_DISPATCH(narrow),
                  dt, x, dy, y, rows, f, rg_max(1, RG_CHUNK / 2 / rg_max(1, f))};
  long tasks = rg_ceil_div(rows, j.per);
  if (tasks <= 1) {
    if (rows > 0) swiglu_task(&j, 0);
  } else {
    rg_parallel(tasks, swiglu_task, &j);
  }
}

void rg_swiglu(int dt, const void *x, void *y, long rows, long f) { swiglu_run(dt, x, 0, y, rows, f); }
void rg_swiglu_grad(int dt, const void *x, const void *dy, void *dx, long rows, long f) {
  swiglu_run(dt, x, dy, dx, rows, f);
}

// fill, copy and cast share one job: bytes of a range of elements.
typedef struct {
  void (*f)(const void *x, void *y, long n);
  const char *x;
  char *y;
  int from, to; // bytes per element
  long n, chunk;
} move_job;

static void move_task(void *ctx, long i) {
  move_job *j = ctx;
  long at = i * j->chunk;
  j->f(j->x + at * j->from, j->y + at * j->to, rg_min(j->chunk, j->n - at));
}

static void move_run(move_job *j) {
  if (j->n <= j->chunk) {
    j->f(j->x, j->y, j->n);
  } else {
    rg_parallel(rg_ceil_div(j->n, j->chunk), move_task, j);
  }
}

static void copy_bytes(const void *x, void *y, long n) { memcpy(y, x, n); }

void rg_copy(void *y, const void *x, long bytes) {
  if (x == y) return;
  move_job j = {copy_bytes, x, y, 1, 1, bytes, 16 * RG_CHUNK};
  move_run(&j);
}

#define FILL(T) \
  static void fill_##T(const void *x, void *y, long n) { \
    T v = *(const T *)x, *out = y; \
    for (long i = 0; i < n; i++) out[i] = v; \
  }
FILL(uint8_t) FILL(uint16_t) FILL(uint32_t) FILL(uint64_t)

void rg_fill(void *y, int size, uint64_t bits, long n) {
  move_job j = {size == 1 ? fill_uint8_t : size == 2 ? fill_uint16_t : size == 4 ? fill_uint32_t : fill_uint64_t,
                (const char *)&bits, y, 0, size, n, 4 * RG_CHUNK};
  move_run(&j);
}

int rg_cast(int from, int to, const void *x, void *y, long n) {
  for (const cast_row *r = RG_DISPATCH(cast_table); r->f; r++) {
    if (r->from == from && r->to == to) {
      move_job j = {r->f, x, y, r->from_size, r->to_size, n, RG_CHUNK};
      move_run(&j);
      return 1;
    }
  }
  return 0;
}
#else
#include "rg_vec.h"
#include "bf16.h"

// Loops that the compiler vectorises; x and y may be the same array, which ivdep allows.
#define LOOP(y_i, expr) \
  _Pragma("GCC ivdep") for (long i = 0; i < n; i++) y_i = (expr);

#define UNARY(name, expr) \
  static void RG_NAME(u_##name)(const float *a, float *y, long n, float lo, float hi) { \
    (void)lo, (void)hi; \
    _Pragma("GCC ivdep") for (long i = 0; i < n; i++) { \
      float x = a[i]; \
      y[i] = (expr); \
    } \
  }
UNARY(neg, -x)
UNARY(abs, rg_absf(x))
static void RG_NAME(u_sqrt)(const float *a, float *y, long n, float lo, float hi) {
  (void)lo, (void)hi;
  for (long i = 0; i < n; i += RG_WIDTH) v_store(y + i, v_sqrt(v_load(a + i, n - i, 0.0f)), n - i);
}
static void RG_NAME(u_rsqrt)(const float *a, float *y, long n, float lo, float hi) {
  (void)lo, (void)hi;
  for (long i = 0; i < n; i += RG_WIDTH) v_store(y + i, 1.0f / v_sqrt(v_load(a + i, n - i, 1.0f)), n - i);
}
UNARY(exp, rg_expf_full(x))
UNARY(log, rg_logf(x))
UNARY(relu, x < 0.0f ? 0.0f : x)
UNARY(silu, rg_silu(x))
UNARY(tanh, rg_tanhf(x))
UNARY(sigmoid, rg_sigmoid(x))
UNARY(erf, rg_erff(x))
UNARY(square, x *x)
UNARY(sign, x > 0.0f ? 1.0f : (x < 0.0f ? -1.0f : x))
UNARY(floor, __builtin_floorf(x))
UNARY(ceil, __builtin_ceilf(x))
UNARY(round, __builtin_rintf(x))
UNARY(reciprocal, 1.0f / x)
UNARY(softplus, rg_softplus(x))
UNARY(gelu_erf, rg_gelu_erf(x))
UNARY(gelu_tanh, rg_gelu_tanh(x))
static void RG_NAME(u_clip)(const float *a, float *y, long n, float lo, float hi) {
  _Pragma("GCC ivdep") for (long i = 0; i < n; i++) {
    float t = a[i] < lo ? lo : a[i];
    y[i] = t > hi ? hi : t;
  }
}

static const unary_fn RG_NAME(unary_table)[] = {
  [RG_U_NEG] = RG_NAME(u_neg), [RG_U_ABS] = RG_NAME(u_abs), [RG_U_SQRT] = RG_NAME(u_sqrt),
  [RG_U_RSQRT] = RG_NAME(u_rsqrt), [RG_U_EXP] = RG_NAME(u_exp), [RG_U_LOG] = RG_NAME(u_log),
  [RG_U_RELU] = RG_NAME(u_relu), [RG_U_SILU] = RG_NAME(u_silu), [RG_U_TANH] = RG_NAME(u_tanh),
  [RG_U_SIGMOID] = RG_NAME(u_sigmoid), [RG_U_ERF] = RG_NAME(u_erf), [RG_U_SQUARE] = RG_NAME(u_square),
  [RG_U_SIGN] = RG_NAME(u_sign), [RG_U_FLOOR] = RG_NAME(u_floor), [RG_U_CEIL] = RG_NAME(u_ceil),
  [RG_U_ROUND] = RG_NAME(u_round), [RG_U_RECIPROCAL] = RG_NAME(u_reciprocal),
  [RG_U_SOFTPLUS] = RG_NAME(u_softplus), [RG_U_GELU_ERF] = RG_NAME(u_gelu_erf),
  [RG_U_GELU_TANH] = RG_NAME(u_gelu_tanh), [RG_U_CLIP] = RG_NAME(u_clip),
};

static void RG_NAME(swiglu)(const float *gate, const float *up, float *y, long n) {
  LOOP(y[i], rg_silu(gate[i]) * up[i])
}
// dgate and dup may be gate and up.
static void RG_NAME(swiglu_grad)(const float *gate, const float *up, const float *dy, float *dgate, float *dup, long n) {
  _Pragma("GCC ivdep") for (long i = 0; i < n; i++) {
    float g = gate[i], u = up[i], d = dy[i];
    dgate[i] = rg_silu_grad(g) * u * d;
    dup[i] = rg_silu(g) * d;
  }
}

#ifndef CAST_ROWS
#define CAST_ROWS
typedef struct {
  int from, to, from_size, to_size;
  void (*f)(const void *x, void *y, long n);
} cast_row;
// The numbers of tensor.DType.
enum { T_F32 = 1, T_F64, T_F16, T_BF16, T_I8, T_U8, T_I32, T_I64, T_BOOL };
#endif

#define CAST(name, A, B, expr) \
  static void RG_NAME(c_##name)(const void *px, void *py, long n) { \
    const A *a = px; \
    B *y = py; \
    for (long i = 0; i < n; i++) { \
      A x = a[i]; \
      y[i] = (expr); \
    } \
  }
static void RG_NAME(c_f32_bf16)(const void *x, void *y, long n) { RG_NAME(narrow)(x, y, n); }
static void RG_NAME(c_bf16_f32)(const void *x, void *y, long n) { RG_NAME(widen)(x, y, n); }
CAST(u8_f32, uint8_t, float, (float)x)
CAST(i8_f32, int8_t, float, (float)x)
CAST(i32_f32, int32_t, float, (float)x)
CAST(i64_f32, int64_t, float, (float)x)
CAST(i64_i32, int64_t, int32_t, (int32_t)x)
CAST(i32_i64, int32_t, int64_t, x)
CAST(f64_f32, double, float, (float)x)
CAST(f32_f64, float, double, x)
CAST(u8_bf16, uint8_t, uint16_t, rg_to_bf16((float)x))
CAST(f32_bool, float, uint8_t, x != 0.0f)

static const cast_row RG_NAME(cast_table)[] = {
  {T_F32, T_BF16, 4, 2, RG_NAME(c_f32_bf16)}, {T_BF16, T_F32, 2, 4, RG_NAME(c_bf16_f32)},
  {T_U8, T_F32, 1, 4, RG_NAME(c_u8_f32)}, {T_BOOL, T_F32, 1, 4, RG_NAME(c_u8_f32)},
  {T_I8, T_F32, 1, 4, RG_NAME(c_i8_f32)}, {T_I32, T_F32, 4, 4, RG_NAME(c_i32_f32)},
  {T_I64, T_F32, 8, 4, RG_NAME(c_i64_f32)}, {T_I64, T_I32, 8, 4, RG_NAME(c_i64_i32)},
  {T_I32, T_I64, 4, 8, RG_NAME(c_i32_i64)}, {T_F64, T_F32, 8, 4, RG_NAME(c_f64_f32)},
  {T_F32, T_F64, 4, 8, RG_NAME(c_f32_f64)}, {T_BOOL, T_BF16, 1, 2, RG_NAME(c_u8_bf16)},
  {T_U8, T_BF16, 1, 2, RG_NAME(c_u8_bf16)}, {T_F32, T_BOOL, 4, 1, RG_NAME(c_f32_bool)},
  {0, 0, 0, 0, 0},
};
#undef LOOP
#undef UNARY
#undef CAST
#endif
