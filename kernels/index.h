// Gathering rows by index and adding rows by index.
#pragma once
#include "rg.h"

// y[o, i, …] = x[o, ids[i], …] for rows of `bytes` bytes: x is (outer, n, row), y (outer, count, row). ids are int32
// (wide 0) or int64; wrap lets −n…−1 count from the end. A row whose id is outside is filled with 0xff bytes (NaN)
// where nan is set, with zeros otherwise.
void rg_gather(const void *x, const void *ids, int wide, int wrap, int nan, void *y, long outer, long n, long count, long bytes);
// dx[v, …] = Σ over i with ids[i] = v, in order of i, of dy[i, …]: dy is (count, c), dx (n, c), f32. Rows that no id
// names are zero, ids outside are skipped.
void rg_gather_grad(const float *dy, const void *ids, int wide, int wrap, float *dx, long n, long count, long c);

// Which places hold which id: order[start[v]…start[v+1]−1] hold id v, ascending. In the calling thread's scratch slots 4 and 5.
typedef struct {
  const int32_t *start, *order;
} rg_places;
rg_places rg_places_of(const void *ids, int wide, int wrap, long n, long count);
