//go:build cgo

// Gathering rows by index is a memcpy per row. Its gradient sorts the ids by counting, so that every row of the result
// has one owner who adds its contributions in their order: no atomics, the same bits at any number of threads.
#ifndef RG_BODY
#include "index.h"
#include <string.h>
#define RG_SELF "index.c"

enum { TASK_BYTES = 1 << 17 };

typedef void (*add_fn)(const float *x, float *y, long n);
typedef void (*zero_fn)(float *y, long n);

// A result beyond this leaves the caches before it is read: its zeros are written past them.
enum { STREAM_BYTES = 1 << 24 };

static void zero_cached(float *y, long n) { memset(y, 0, n * sizeof(float)); }
#include "rg_multi.h"

typedef struct {
  const char *x;
  char *y;
  const void *ids;
  int wide, wrap, nan;
  long n, count, bytes, rows, per;
} gather_job;

// The id at place i as 0…n−1, or −1.
static long id_at(const void *ids, int wide, int wrap, long i, long n) {
  long id = wide ? (long)((const int64_t *)ids)[i] : ((const int32_t *)ids)[i];
  if (wrap && id < 0) id += n;
  return id >= 0 && id < n ? id : -1;
}

static void gather_task(void *ctx, long i) {
  gather_job *j = ctx;
  for (long r = i * j->per; r < rg_min(j->rows, (i + 1) * j->per); r++) {
    long id = id_at(j->ids, j->wide, j->wrap, r % j->count, j->n);
    char *y = j->y + r * j->bytes;
    const char *x = j->x + (r / j->count * j->n + id) * j->bytes;
    if (id < 0) memset(y, j->nan ? 0xff : 0, j->bytes);
    else if (j->bytes == 4) memcpy(y, x, 4);
    else memcpy(y, x, j->bytes);
  }
}

void rg_gather(const void *x, const void *ids, int wide, int wrap, int nan, void *y, long outer, long n, long count, long bytes) {
  gather_job j = {x, y, ids, wide, wrap, nan, n, count, bytes, outer * count, rg_max(1, TASK_BYTES / rg_max(1, bytes))};
  long tasks = rg_ceil_div(j.rows, j.per);
  if (tasks == 1) gather_task(&j, 0);
  else if (tasks > 1) rg_parallel(tasks, gather_task, &j);
}

typedef struct {
  const float *dy;
  float *dx;
  const int32_t *start, *order; // places order[start[v]…start[v+1]) hold id v
  long n, c, per;
  add_fn add;
  zero_fn zero;
} spread_job;

static void spread_task(void *ctx, long i) {
  spread_job *j = ctx;
  long end = rg_min(j->n, (i + 1) * j->per);
  for (long v = i * j->per; v < end;) {
    long w = v;
    while (w < end && j->start[w] == j->start[w + 1]) w++;
    if (w > v) j->zero(j->dx + v * j->c, (w - v) * j->c);
    if (w == end) break;
    float *row = j->dx + w * j->c;
    memcpy(row, j->dy + j->order[j->start[w]] * j->c, j->c * sizeof(float));
    for (long k = j->start[w] + 1; k < j->start[w + 1]; k++) j->add(j->dy + j->order[k] * j->c, row, j->c);
    v = w + 1;
  }
}

rg_places rg_places_of(const void *ids, int wide, int wrap, long n, long count) {
  int32_t *start = rg_scratch(4, (n + 2) * sizeof(int32_t)), *order = rg_scratch(5, (count + 1) * sizeof(int32_t));
  memset(start, 0, (n + 2) * sizeof(int32_t));
  // Counts go two places up: after the running sum start[v+1] is where id v begins, and filling moves it to where v
  // ends, which is where v+1 begins.
  for (long i = 0; i < count; i++) {
    long id = id_at(ids, wide, wrap, i, n);
    if (id >= 0) start[id + 2]++;
  }
  for (long v = 0; v < n; v++) start[v + 2] += start[v + 1];
  for (long i = 0; i < count; i++) {
    long id = id_at(ids, wide, wrap, i, n);
    if (id >= 0) order[start[id + 1]++] = (int32_t)i;
  }
  return (rg_places){start, order};
}

void rg_gather_grad(const float *dy, const void *ids, int wide, int wrap, float *dx, long n, long count, long c) {
  const rg_places at = rg_places_of(ids, wide, wrap, n, count);
  long row = (long)sizeof(float) * c * (1 + count / n); // bytes that an average row costs
  spread_job j = {dy, dx, at.start, at.order, n, c, rg_max(1, TASK_BYTES / rg_max(1, row)), RG_DISPATCH(add_row),
                  n * c * (long)sizeof(float) > STREAM_BYTES ? RG_DISPATCH(zero_stream) : zero_cached};
  long tasks = rg_ceil_div(n, j.per);
  if (tasks == 1) spread_task(&j, 0);
  else rg_parallel(tasks, spread_task, &j);
}
#else
static void RG_NAME(add_row)(const float *x, float *y, long n) {
  for (long i = 0; i < n; i++) y[i] += x[i];
}

static void RG_NAME(zero_stream)(float *y, long n) {
  long i = 0;
#if RG_WIDTH >= 8
  for (; i < n && (uintptr_t)(y + i) % 64; i++) y[i] = 0;
  for (; i + 16 <= n; i += 16) {
    _mm256_stream_ps(y + i, _mm256_setzero_ps());
    _mm256_stream_ps(y + i + 8, _mm256_setzero_ps());
  }
  _mm_sfence();
#endif
  if (i < n) memset(y + i, 0, (n - i) * sizeof(float));
}
#endif
