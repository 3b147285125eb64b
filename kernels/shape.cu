// Ops that move elements: transpose, slice, concat, broadcast. The plain version is shape.go.
#include "broadcast.cuh"
#include "words.cuh"

#define SHAPE_THREADS 256

// One nest over both sides: y[…] = x[…], the inner axis in words as wide as it allows.
template <class W, class Index> DEVICE void move_walk(const W *x, W *y, const Broadcast<2> &p) {
  for (int64_t i = first_index(); i < p.n; i += index_stride()) {
    int64_t at[2];
    offsets<Index, 2>(p, i, at);
    y[at[1]] = x[at[0]];
  }
}

// A batch of transposed matrices, x (…,cols,rows) to y (…,rows,cols) with strides in elements, where x has stride 1 along
// rows and y along cols. Each block moves one tile through shared memory, so that both sides are read and written along
// their rows. It is laid out as transposeArgs of shape_cuda.go.
#define TILE 32
#define TILE_LINES 8
#define BATCH_AXES 6
struct Transposed {
  int64_t rows, cols, x_step, y_step; // x_step: between neighbours along cols in x; y_step: along rows in y
  int64_t tiles_across, tiles_down;
  int axes, unused;
  int dims[BATCH_AXES];
  int64_t x[BATCH_AXES], y[BATCH_AXES];
};

template <class W> DEVICE void transpose(const W *x, W *y, const Transposed &p) {
  __shared__ W tile[TILE][TILE + 1];
  int64_t block = blockIdx.x, across, down, rest;
  split(block, p.tiles_across, rest, across);
  split(rest, p.tiles_down, block, down);
  for (int a = p.axes - 1; a >= 0; a--) {
    int64_t i;
    split(block, p.dims[a], block, i);
    x += i * p.x[a];
    y += i * p.y[a];
  }
  int lane = threadIdx.x % TILE, line = threadIdx.x / TILE;
  int64_t row = down * TILE, col = across * TILE;
#pragma unroll
  for (int k = line; k < TILE; k += TILE_LINES)
    if (row + lane < p.rows && col + k < p.cols) tile[k][lane] = x[(col + k) * p.x_step + row + lane];
  __syncthreads();
#pragma unroll
  for (int k = line; k < TILE; k += TILE_LINES)
    if (row + k < p.rows && col + lane < p.cols) y[(row + k) * p.y_step + col + lane] = tile[lane][k];
}

#define MOVE(size)                                                                                             \
  KERNEL(move_##size, SHAPE_THREADS, (const Word<size>::type *x, Word<size>::type *y, Broadcast<2> p)) {       \
    if (p.n <= 0x7fffffff)                                                                                     \
      move_walk<Word<size>::type, unsigned>(x, y, p);                                                          \
    else                                                                                                       \
      move_walk<Word<size>::type, uint64_t>(x, y, p);                                                          \
  }                                                                                                            \
  KERNEL(transpose_##size, SHAPE_THREADS, (const Word<size>::type *x, Word<size>::type *y, Transposed p)) {    \
    transpose<Word<size>::type>(x, y, p);                                                                      \
  }

FOR_WORDS(MOVE)

// y ← the pattern of 8 bytes, over and over; n bytes.
KERNEL(fill, SHAPE_THREADS, (unsigned char *y, uint64_t pattern, int64_t n)) {
  uint4 *packs = reinterpret_cast<uint4 *>(y);
  uint4 v = fill_word<uint4>(pattern);
  for (int64_t i = first_index(); i < n / 16; i += index_stride()) packs[i] = v;
  int64_t i = n / 16 * 16 + first_index();
  if (i < n) y[i] = (unsigned char)(pattern >> (i % 8 * 8));
}
