// Gradients of reading by index: dx (outer,n,inner) gets every slice of dy (outer,count,inner) at its index. The plain
// version is index.go. Sums run in the order of the indices, so no two runs differ: the places of each index are listed
// first (a stable counting sort); then one block per row of dx adds those that are its own. Rows with many places find them added
// up by segments already.
#include "reduce.cuh"
#include "runs.cuh"
#include "words.cuh"

#define INDEX_THREADS 256
#define SORT_THREADS 1024 // ids that a block ranks at a time

template <class I> DEVICE int row_of(const I *ids, int64_t k, int n, int wrap) {
  int64_t id = ids[k];
  if (wrap && id < 0) id += n;
  return id < 0 || id >= n ? -1 : (int)id;
}

// counts (chunks,n), zeroed before: how often each index is in each chunk of ids.
template <class I> DEVICE void index_count(const I *ids, int *counts, int count, int n, int chunk, int wrap) {
  for (int64_t k = first_index(); k < count; k += index_stride()) {
    int id = row_of(ids, k, n, wrap);
    if (id >= 0) atomicAdd(&counts[(k / chunk) * n + id], 1);
  }
}

// counts become the occurrences in the chunks before; total (n) all of them.
KERNEL(index_chunks, INDEX_THREADS, (int *counts, int *total, int n, int chunks)) {
  for (int64_t v = first_index(); v < n; v += index_stride()) {
    int sum = 0;
    for (int c = 0; c < chunks; c++) {
      int here = counts[(int64_t)c * n + v];
      counts[(int64_t)c * n + v] = sum;
      sum += here;
    }
    total[v] = sum;
  }
}

// start (n+1): the sums of total before each index. One block; every thread adds a stretch, then the stretches' sums are
// added up.
KERNEL(index_starts, SORT_THREADS, (const int *total, int *start, int n)) {
  __shared__ int sums[SORT_THREADS];
  int t = threadIdx.x, stretch = (n + SORT_THREADS - 1) / SORT_THREADS;
  int from = min(t * stretch, n), to = min(from + stretch, n), sum = 0;
  for (int v = from; v < to; v++) sum += total[v];
  sums[t] = sum;
  __syncthreads();
  for (int step = 1; step < SORT_THREADS; step *= 2) {
    int before = t >= step ? sums[t - step] : 0;
    __syncthreads();
    sums[t] += before;
    __syncthreads();
  }
  int at = sums[t] - sum;
  for (int v = from; v < to; v++) {
    start[v] = at;
    at += total[v];
  }
  if (t == SORT_THREADS - 1) start[n] = sums[t];
}

// places: the positions of index v, in order, at start[v]…; owners: v there. One block per chunk; base (chunks,n) is counts of
// index_chunks and moves on as the block places SORT_THREADS ids at a time, each ranked among its equals in the tile.
template <class I> DEVICE void index_place(const I *ids, const int *start, int *base, int *places, int *owners, int count, int n, int chunk, int wrap) {
  __shared__ int tile[SORT_THREADS];
  int t = threadIdx.x;
  base += (int64_t)blockIdx.x * n;
  int end = min(((int)blockIdx.x + 1) * chunk, count);
  for (int from = blockIdx.x * chunk; from < end; from += SORT_THREADS) {
    int id = from + t < end ? row_of(ids, from + t, n, wrap) : -1;
    tile[t] = id;
    __syncthreads();
    int before = 0, after = 0;
    if (id >= 0) {
      for (int k = 0; k < SORT_THREADS; k++) {
        int same = tile[k] == id;
        before += same & (k < t);
        after += same & (k > t);
      }
      int at = start[id] + base[id] + before;
      places[at] = from + t;
      owners[at] = id;
    }
    __syncthreads();
    if (id >= 0 && after == 0) base[id] += before + 1;
    __syncthreads();
  }
}

// add_places adds to sum, in order, the slices of dy at places [from,to), four of them under way at once.
template <class T, int W> DEVICE void add_places(float (&sum)[W], const T *in, const int *places, int from, int to, int64_t inner) {
  int p = from;
  for (; p + 4 <= to; p += 4) {
    float v[4][W];
#pragma unroll
    for (int q = 0; q < 4; q++) load_run<W>(v[q], in + (int64_t)places[p + q] * inner);
#pragma unroll
    for (int q = 0; q < 4; q++)
#pragma unroll
      for (int k = 0; k < W; k++) sum[k] += v[q][k];
  }
  for (; p < to; p++) {
    float v[W];
    load_run<W>(v, in + (int64_t)places[p] * inner);
#pragma unroll
    for (int k = 0; k < W; k++) sum[k] += v[k];
  }
}

// A frequent index has thousands of places, more than one block should walk. So places are cut into segments of SEGMENT, counted
// from the first; partial (segments, outer·inner) gets the sum of each segment that belongs to one row as a whole.
#define SEGMENT 64
template <class T, int W>
DEVICE void index_segments(const T *dy, const int *start, const int *places, const int *owners, float *partial, int64_t outer, int64_t count, int64_t n, int64_t inner) {
  int from = blockIdx.x * SEGMENT, to = from + SEGMENT;
  if (to > start[n] || owners[from] != owners[to - 1]) return;
  int64_t runs = inner / W;
  for (int64_t i = threadIdx.x; i < outer * runs; i += blockDim.x) {
    int64_t o, at;
    split(i, runs, o, at);
    float sum[W];
#pragma unroll
    for (int k = 0; k < W; k++) sum[k] = 0.f;
    add_places<T, W>(sum, dy + o * count * inner + at * W, places, from, to, inner);
    store_run<W>(partial + ((int64_t)blockIdx.x * outer * runs + i) * W, sum);
  }
}

// One block per row v of dx: dx[o,v,:] = Σ dy[o,k,:] over the places k of v, in float, in order: places up to the first whole
// segment, whole segments, the rest.
template <class T, int W>
DEVICE void index_add(const T *dy, const int *start, const int *places, const float *partial, T *dx, int64_t outer, int64_t count, int64_t n, int64_t inner) {
  int v = blockIdx.x, from = start[v], to = start[v + 1];
  int first = (from + SEGMENT - 1) / SEGMENT, last = max(first, to / SEGMENT); // whole segments
  int head = min(to, first * SEGMENT), tail = max(head, last * SEGMENT);
  int64_t runs = inner / W;
  for (int64_t i = threadIdx.x; i < outer * runs; i += blockDim.x) {
    int64_t o, at;
    split(i, runs, o, at);
    const T *in = dy + o * count * inner + at * W;
    float sum[W];
#pragma unroll
    for (int k = 0; k < W; k++) sum[k] = 0.f;
    add_places<T, W>(sum, in, places, from, head, inner);
#pragma unroll 4
    for (int s = first; s < last; s++) {
      float v[W];
      load_run<W>(v, partial + (s * outer * runs + i) * W);
#pragma unroll
      for (int k = 0; k < W; k++) sum[k] += v[k];
    }
    add_places<T, W>(sum, in, places, tail, to, inner);
    store_run<W>(dx + (o * n + v) * inner + at * W, sum);
  }
}

#define INDEX_SORT(suffix, I)                                                                                            \
  KERNEL(index_count_##suffix, INDEX_THREADS, (const I *ids, int *counts, int count, int n, int chunk, int wrap)) {      \
    index_count<I>(ids, counts, count, n, chunk, wrap);                                                                  \
  }                                                                                                                      \
  KERNEL(index_place_##suffix, SORT_THREADS, (const I *ids, const int *start, int *base, int *places, int *owners,       \
                                              int count, int n, int chunk, int wrap)) {                                  \
    index_place<I>(ids, start, base, places, owners, count, n, chunk, wrap);                                             \
  }

INDEX_SORT(i32, int)
INDEX_SORT(i64, int64_t)

#define INDEX_ADD(suffix, T, W)                                                                                          \
  KERNEL(index_segments##suffix, INDEX_THREADS, (const T *dy, const int *start, const int *places, const int *owners,    \
                                                 float *partial, int64_t outer, int64_t count, int64_t n, int64_t inner)) { \
    index_segments<T, W>(dy, start, places, owners, partial, outer, count, n, inner);                                    \
  }                                                                                                                      \
  KERNEL(index_add##suffix, INDEX_THREADS, (const T *dy, const int *start, const int *places, const float *partial,      \
                                            T *dx, int64_t outer, int64_t count, int64_t n, int64_t inner)) {            \
    index_add<T, W>(dy, start, places, partial, dx, outer, count, n, inner);                                             \
  }

INDEX_ADD(_f32, float, 1)
INDEX_ADD(_bf16, bf16, 1)
INDEX_ADD(_packs_f32, float, Pack<float>::n)
INDEX_ADD(_packs_bf16, bf16, Pack<bf16>::n)
