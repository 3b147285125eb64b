//go:build cgo

// Shape kernels: every one is a loop nest that copies elements from one stride pattern to another. Rows that are
// dense on both sides go through memcpy; where the dense axis differs (transposition) bands of 16 input rows are moved in
// tiles through registers, so that each cache line of the output is filled at once.
#ifndef RG_BODY
#include "shape.h"
#include <string.h>
#define RG_SELF "shape.c"

// A transposed matrix is cut into bands of TILE columns and TALL rows of the input.
enum { TILE = 64, TALL = 1024 };

typedef void (*tile_fn)(const void *x, void *y, long rows, long cols, long xs, long ys);

#include "rg_multi.h"

typedef struct {
  const rg_loop *l;
  const char *x;
  char *y;
  int size;
  long inner, per, rows; // inner: axes that a row (1) or a matrix (2) takes
  tile_fn tile;
  long tiles, tall; // bands per matrix: in all, and along the rows
} move_job;

#define STRIDED(T) \
  static void strided_##T(const char *px, char *py, long n, long xs, long ys) { \
    const T *x = (const T *)px; \
    T *y = (T *)py; \
    if (xs == 0) { \
      T v = *x; \
      for (long i = 0; i < n; i++) y[i * ys] = v; \
    } else if (ys == 1) { \
      for (long i = 0; i < n; i++) y[i] = x[i * xs]; \
    } else { \
      for (long i = 0; i < n; i++) y[i * ys] = x[i * xs]; \
    } \
  }
STRIDED(uint8_t) STRIDED(uint16_t) STRIDED(uint32_t) STRIDED(uint64_t)

static void move_row(const move_job *j, const char *x, char *y, long n, long xs, long ys) {
  if (xs == 1 && ys == 1) {
    memcpy(y, x, n * j->size);
    return;
  }
  switch (j->size) {
  case 1: strided_uint8_t(x, y, n, xs, ys); break;
  case 2: strided_uint16_t(x, y, n, xs, ys); break;
  case 4: strided_uint32_t(x, y, n, xs, ys); break;
  default: strided_uint64_t(x, y, n, xs, ys);
  }
}

// Offsets of outer iteration i, in elements.
static void outer_offset(const move_job *j, long i, int64_t *y, int64_t *x) {
  *y = *x = 0;
  for (int d = j->l->nd - 1 - j->inner; d >= 0; d--) {
    long k = i % j->l->dim[d];
    i /= j->l->dim[d];
    *y += k * j->l->s[0][d];
    *x += k * j->l->s[1][d];
  }
}

static void rows_task(void *ctx, long i) {
  move_job *j = ctx;
  const rg_loop *l = j->l;
  int last = l->nd - 1;
  for (long r = i * j->per; r < rg_min(j->rows, (i + 1) * j->per); r++) {
    int64_t y, x;
    outer_offset(j, r, &y, &x);
    move_row(j, j->x + x * j->size, j->y + y * j->size, l->dim[last], l->s[1][last], l->s[0][last]);
  }
}

// Item t: one band of one matrix, whose y is dense along the last axis and x along the one before.
static void tiles_task(void *ctx, long i) {
  move_job *j = ctx;
  const rg_loop *l = j->l;
  int last = l->nd - 1;
  for (long t = i * j->per; t < rg_min(j->rows, (i + 1) * j->per); t++) {
    int64_t y, x;
    outer_offset(j, t / j->tiles, &y, &x);
    long c = t % j->tiles / j->tall * TILE, r = t % j->tall * TALL, ys = l->s[0][last - 1], xs = l->s[1][last];
    long cols = rg_min(TILE, l->dim[last - 1] - c), rows = rg_min(TALL, l->dim[last] - r);
    j->tile(j->x + (x + r * xs + c) * j->size, j->y + (y + c * ys + r) * j->size, rows, cols, xs, ys);
  }
}

static void spread_tasks(move_job *j, long work, void (*task)(void *, long)) {
  j->per = rg_max(1, 2 * RG_CHUNK / rg_max(1, work));
  long tasks = rg_ceil_div(j->rows, j->per);
  if (tasks == 1) task(j, 0);
  else rg_parallel(tasks, task, j);
}

void rg_move(const rg_loop *l, int size, const void *x, void *y) {
  move_job j = {.l = l, .x = x, .y = y, .size = size, .inner = 1, .rows = 1};
  int last = l->nd - 1;
  if (last > 0 && l->s[0][last] == 1 && l->s[1][last - 1] == 1 && l->s[1][last] != 1) {
    j.inner = 2;
    j.tile = RG_DISPATCH(tiles)[size == 1 ? 0 : size == 2 ? 1 : size == 4 ? 2 : 3];
    j.tall = rg_ceil_div(l->dim[last], TALL);
    j.tiles = j.tall * rg_ceil_div(l->dim[last - 1], TILE);
  }
  for (int d = 0; d <= last - j.inner; d++) j.rows *= l->dim[d];
  if (j.inner == 2) {
    j.rows *= j.tiles;
    spread_tasks(&j, rg_min(TILE, l->dim[last - 1]) * rg_min(TALL, l->dim[last]), tiles_task);
  } else {
    spread_tasks(&j, l->dim[last], rows_task);
  }
}

void rg_fill_move(const rg_loop *l, int size, const void *x, void *y, long at, uint64_t bits, long n) {
  rg_fill(y, size, bits, n);
  if (l->nd) rg_move(l, size, x, (char *)y + at * size);
}

typedef struct {
  int count;
  const uintptr_t *in;
  const int64_t *bytes;
  char *y;
  long rows, per, row;
} concat_job;

static void concat_task(void *ctx, long i) {
  concat_job *j = ctx;
  for (long r = i * j->per; r < rg_min(j->rows, (i + 1) * j->per); r++) {
    char *y = j->y + r * j->row;
    for (int k = 0; k < j->count; k++) {
      memcpy(y, (const char *)j->in[k] + r * j->bytes[k], j->bytes[k]);
      y += j->bytes[k];
    }
  }
}

void rg_concat(int count, const uintptr_t *in, const int64_t *bytes, long rows, void *y) {
  concat_job j = {count, in, bytes, y, rows, 0, 0};
  for (int k = 0; k < count; k++) j.row += bytes[k];
  if (rows == 1 && j.row > 16 * RG_CHUNK) { // few long pieces: each is copied in parallel
    char *at = y;
    for (int k = 0; k < count; k++) {
      rg_copy(at, (const void *)in[k], bytes[k]);
      at += bytes[k];
    }
    return;
  }
  j.per = rg_max(1, 8 * RG_CHUNK / rg_max(1, j.row));
  long tasks = rg_ceil_div(rows, j.per);
  if (tasks == 1) concat_task(&j, 0);
  else rg_parallel(tasks, concat_task, &j);
}
#else

// y[c·ys + r] = x[r·xs + c] for r < rows, c < cols.
#define TILES(T) \
  static void RG_NAME(tile_##T)(const void *px, void *py, long rows, long cols, long xs, long ys) { \
    const T *x = px; \
    T *y = py; \
    for (long r0 = 0; r0 < rows; r0 += 16) \
      for (long c = 0; c < cols; c++) \
        for (long r = r0; r < rg_min(rows, r0 + 16); r++) y[c * ys + r] = x[r * xs + c]; \
  }
TILES(uint8_t) TILES(uint16_t) TILES(uint64_t)

#if RG_WIDTH >= 8
// 8×8 floats through registers: unpack pairs, then quads, then halves.
static inline __attribute__((always_inline)) void RG_NAME(tile8)(const float *x, float *y, long xs, long ys) {
  __m256 r[8], t[8];
  for (int i = 0; i < 8; i++) r[i] = _mm256_loadu_ps(x + i * xs);
  for (int i = 0; i < 4; i++) {
    t[2 * i] = _mm256_unpacklo_ps(r[2 * i], r[2 * i + 1]);
    t[2 * i + 1] = _mm256_unpackhi_ps(r[2 * i], r[2 * i + 1]);
  }
  for (int h = 0; h < 2; h++) {
    r[4 * h] = _mm256_shuffle_ps(t[4 * h], t[4 * h + 2], 0x44);
    r[4 * h + 1] = _mm256_shuffle_ps(t[4 * h], t[4 * h + 2], 0xee);
    r[4 * h + 2] = _mm256_shuffle_ps(t[4 * h + 1], t[4 * h + 3], 0x44);
    r[4 * h + 3] = _mm256_shuffle_ps(t[4 * h + 1], t[4 * h + 3], 0xee);
  }
  for (int i = 0; i < 4; i++) {
    _mm256_storeu_ps(y + i * ys, _mm256_permute2f128_ps(r[i], r[i + 4], 0x20));
    _mm256_storeu_ps(y + (i + 4) * ys, _mm256_permute2f128_ps(r[i], r[i + 4], 0x31));
  }
}
#endif

static void RG_NAME(tile_uint32_t)(const void *px, void *py, long rows, long cols, long xs, long ys) {
  const float *x = px;
  float *y = py;
  for (long r0 = 0; r0 < rows; r0 += 16) {
    long r1 = rg_min(rows, r0 + 16), c = 0;
#if RG_WIDTH >= 8
    for (; r1 - r0 == 16 && c + 8 <= cols; c += 8) {
      RG_NAME(tile8)(x + r0 * xs + c, y + c * ys + r0, xs, ys);
      RG_NAME(tile8)(x + (r0 + 8) * xs + c, y + c * ys + r0 + 8, xs, ys);
    }
#endif
    for (; c < cols; c++)
      for (long r = r0; r < r1; r++) y[c * ys + r] = x[r * xs + c];
  }
}

static const tile_fn RG_NAME(tiles)[] = {RG_NAME(tile_uint8_t), RG_NAME(tile_uint16_t), RG_NAME(tile_uint32_t), RG_NAME(tile_uint64_t)};
#undef TILES
#endif
