// Tiles of a product in full f32: C (128,128) += A (128,16·steps) · B, by 256 threads of 8×8 sums each. Panels of A and B
// lie in shared memory along k, [16][128], in two stages: the next one is on its way in registers while one is
// multiplied.
//
// Per k a thread reads 16 floats (4 accesses of 16 bytes, without bank conflicts) for 64 fused multiply-adds: bound
// by arithmetic, 67 TFLOP/s on an H100. Per 16 of k a block reads 16 KB for 0.52 MFLOP: 32 FLOP per byte.
#pragma once
#include "epilogue.cuh"

#define GEMM_THREADS 256
#define FFMA_BM 128
#define FFMA_BK 16
#define FFMA_LD (FFMA_BM + 4)

struct FfmaPanels { float a[2][FFMA_BK][FFMA_LD], b[2][FFMA_BK][FFMA_LD]; };

// FfmaLoad moves one panel's share of a thread, 2×4 elements of a matrix that is stored along k (r·ld + k) or not
// (k·ld + r). Rows and k outside the matrix are zeros.
template <class T, bool along_k> struct FfmaLoad {
  float v[2][4];

  static DEVICE_MEMBER int line(int i) { return (threadIdx.x + i * GEMM_THREADS) / (along_k ? 4 : 32); }
  static DEVICE_MEMBER int place(int i) { return (threadIdx.x + i * GEMM_THREADS) % (along_k ? 4 : 32) * 4; }

  // fetch reads rows from r0 and k from k0 on; packed says that lines start on 16 bytes.
  DEVICE_MEMBER void fetch(const T *x, int64_t ld, int r0, int k0, int rows, int depth, bool packed) {
#pragma unroll
    for (int i = 0; i < 2; i++) {
      int line_at = (along_k ? r0 : k0) + line(i), at = (along_k ? k0 : r0) + place(i);
      int lines = along_k ? rows : depth, end = along_k ? depth : rows;
      const T *p = x + line_at * ld + at;
      if (sizeof(T) == 4 && packed && line_at < lines && at + 4 <= end) {
        Pack<float> q = load_pack((const float *)p);
#pragma unroll
        for (int j = 0; j < 4; j++) v[i][j] = q.v[j];
        continue;
      }
#pragma unroll
      for (int j = 0; j < 4; j++) v[i][j] = line_at < lines && at + j < end ? to_float(p[j]) : 0.f;
    }
  }

  DEVICE_MEMBER void stash(float (*panel)[FFMA_LD]) const {
#pragma unroll
    for (int i = 0; i < 2; i++)
      if (along_k) {
#pragma unroll
        for (int j = 0; j < 4; j++) panel[place(i) + j][line(i)] = v[i][j];
      } else {
        Pack<float> q;
#pragma unroll
        for (int j = 0; j < 4; j++) q.v[j] = v[i][j];
        store_pack(&panel[line(i)][place(i)], q);
      }
  }
};

// A thread owns rows 4·ty.. and 64 + 4·ty.., and columns likewise by tx.
struct FfmaTile {
  float acc[8][8];

  static DEVICE_MEMBER int row(int i) { return i / 4 * 64 + threadIdx.x / 16 * 4 + i % 4; }
  static DEVICE_MEMBER int col(int half) { return half * 64 + threadIdx.x % 16 * 4; }

  DEVICE_MEMBER void clear() {
#pragma unroll
    for (int i = 0; i < 8; i++)
#pragma unroll
      for (int j = 0; j < 8; j++) acc[i][j] = 0.f;
  }

  DEVICE_MEMBER void multiply(const float (*a)[FFMA_LD], const float (*b)[FFMA_LD]) {
#pragma unroll 4 // of more, some registers would have to be spilled
    for (int k = 0; k < FFMA_BK; k++) {
      Pack<float> x[2], y[2];
#pragma unroll
      for (int h = 0; h < 2; h++) x[h] = load_pack(&a[k][row(4 * h)]), y[h] = load_pack(&b[k][col(h)]);
#pragma unroll
      for (int i = 0; i < 8; i++)
#pragma unroll
        for (int j = 0; j < 8; j++) acc[i][j] = fmaf(x[i / 4].v[i % 4], y[j / 4].v[j % 4], acc[i][j]);
    }
  }
};
