// Gradients of reading by index: dx (outer,n,inner) gets every slice of dy (outer,count,inner) at its index. The plain
// version is index.go. Sums run in the order of the indices, so no two runs differ: the places of each index are listed
// first (a stable counting sort), then one block per row of dx adds those that are its own.
#include "reduce.cuh"
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

// places: the positions of index v, in order, at start[v]…. One block per chunk; base (chunks,n) is counts of
// index_chunks and moves on as the block places SORT_THREADS ids at a time, each ranked among its equals in the tile.
template <class I> DEVICE void index_place(const I *ids, const int *start, int *base, int *places, int count, int n, int chunk, int wrap) {
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
      places[start[id] + base[id] + before] = from + t;
    }
    __syncthreads();
    if (id >= 0 && after == 0) base[id] += before + 1;
    __syncthreads();
  }
}

// One block per row v of dx: dx[o,v,:] = Σ dy[o,k,:] over the places k of v, in float. Packs of 16 bytes where runs of
// inner are whole packs (width Pack<T>::n), else single elements (width 1).
template <class T, int width> struct Run {
  T v[width];
  DEVICE_MEMBER void load(const T *p) {
    if (width == 1) {
      v[0] = p[0];
    } else {
      Pack<T> pack = load_pack(p);
#pragma unroll
      for (int k = 0; k < width; k++) v[k] = pack.v[k];
    }
  }
};

template <class T, int width>
DEVICE void index_add(const T *dy, const int *start, const int *places, T *dx, int64_t outer, int64_t count, int64_t n, int64_t inner) {
  int v = blockIdx.x, from = start[v], to = start[v + 1];
  int64_t runs = inner / width;
  for (int64_t i = threadIdx.x; i < outer * runs; i += blockDim.x) {
    int64_t o, at;
    split(i, runs, o, at);
    const T *in = dy + o * count * inner + at * width;
    T *out = dx + (o * n + v) * inner + at * width;
    float sum[width];
#pragma unroll
    for (int k = 0; k < width; k++) sum[k] = 0.f;
    int p = from;
    for (; p + 4 <= to; p += 4) { // four rows under way at once, added in order
      Run<T, width> r[4];
#pragma unroll
      for (int q = 0; q < 4; q++) r[q].load(in + (int64_t)places[p + q] * inner);
#pragma unroll
      for (int q = 0; q < 4; q++)
#pragma unroll
        for (int k = 0; k < width; k++) sum[k] += to_float(r[q].v[k]);
    }
    for (; p < to; p++) {
      Run<T, width> r;
      r.load(in + (int64_t)places[p] * inner);
#pragma unroll
      for (int k = 0; k < width; k++) sum[k] += to_float(r.v[k]);
    }
    if (width == 1) {
      out[0] = from_float<T>(sum[0]);
    } else {
      Pack<T> y;
#pragma unroll
      for (int k = 0; k < width; k++) y.v[k] = from_float<T>(sum[k]);
      store_pack(out, y);
    }
  }
}

#define INDEX_SORT(suffix, I)                                                                                            \
  KERNEL(index_count_##suffix, INDEX_THREADS, (const I *ids, int *counts, int count, int n, int chunk, int wrap)) {      \
    index_count<I>(ids, counts, count, n, chunk, wrap);                                                                  \
  }                                                                                                                      \
  KERNEL(index_place_##suffix, SORT_THREADS, (const I *ids, const int *start, int *base, int *places, int count, int n,  \
                                              int chunk, int wrap)) {                                                    \
    index_place<I>(ids, start, base, places, count, n, chunk, wrap);                                                     \
  }

INDEX_SORT(i32, int)
INDEX_SORT(i64, int64_t)

#define INDEX_ADD(name, T, width)                                                                                        \
  KERNEL(name, INDEX_THREADS, (const T *dy, const int *start, const int *places, T *dx, int64_t outer, int64_t count,    \
                               int64_t n, int64_t inner)) {                                                              \
    index_add<T, width>(dy, start, places, dx, outer, count, n, inner);                                                  \
  }

INDEX_ADD(index_add_f32, float, 1)
INDEX_ADD(index_add_bf16, bf16, 1)
INDEX_ADD(index_add_packs_f32, float, Pack<float>::n)
INDEX_ADD(index_add_packs_bf16, bf16, Pack<bf16>::n)
