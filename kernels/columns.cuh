// Sums down the columns of tensors (rows, cols): partial sums over stretches of rows, which columns.cu adds in order.
#pragma once
#include "reduce.cuh"
#include "runs.cuh"

#define COLUMN_THREADS 256
#define COLUMN_LANES 32
#define COLUMN_LINES 8

// column_sums leaves L sums per column in partial (stretches, L, cols). A block has 32·W columns (blockIdx.x) and a stretch of
// rows (blockIdx.y), a thread W columns and every eighth row. f.add(s, n, col) adds row n's W elements from column col on to s[L][W].
template <int L, int W, class F> DEVICE void column_sums(const F &f, float *partial, int rows, int cols, int stretch) {
  __shared__ float part[L][COLUMN_LINES][COLUMN_LANES * W];
  int lane = threadIdx.x % COLUMN_LANES, line = threadIdx.x / COLUMN_LANES;
  int first = blockIdx.x * COLUMN_LANES * W, col = first + lane * W;
  int from = blockIdx.y * stretch, to = min(from + stretch, rows);
  float s[L][W];
#pragma unroll
  for (int l = 0; l < L; l++)
#pragma unroll
    for (int k = 0; k < W; k++) s[l][k] = 0.f;
  if (col < cols) {
#pragma unroll 4
    for (int n = from + line; n < to; n += COLUMN_LINES) f.add(s, n, col);
  }
#pragma unroll
  for (int l = 0; l < L; l++)
#pragma unroll
    for (int k = 0; k < W; k++) part[l][line][lane * W + k] = s[l][k];
  __syncthreads();
  for (int i = threadIdx.x; i < L * COLUMN_LANES * W; i += COLUMN_THREADS) {
    int l = i / (COLUMN_LANES * W), at = i % (COLUMN_LANES * W);
    if (first + at >= cols) continue;
    float sum = 0.f;
#pragma unroll
    for (int k = 0; k < COLUMN_LINES; k++) sum += part[l][k][at];
    partial[((int64_t)blockIdx.y * L + l) * cols + first + at] = sum;
  }
}
