// How panels of a stored matrix get into shared memory for the tiles of gemm_mma.cuh.
#pragma once
#include "gemm_mma.cuh"

// AsyncLoad: bf16 in lines on 16 bytes, by asynchronous copies. SyncLoad: any lines of T, rounded
// to bf16; fetch before and stash after the product of another stage.
template <int R, bool along_k> struct AsyncLoad {
  typedef MmaPanel<R, along_k> Panel;
  DEVICE_MEMBER void fetch(uint4 *panel, const bf16 *x, int64_t ld, int r0, int k0, int rows, int depth, bool) {
#pragma unroll
    for (int i = 0; i < Panel::per_thread; i++) {
      int line = Panel::line(i), place = Panel::place(i);
      int line_at = (along_k ? r0 : k0) + line, at = (along_k ? k0 : r0) + place * 8;
      bool valid = line_at < (along_k ? rows : depth) && at < (along_k ? depth : rows);
      copy_async16(panel + Panel::slot(line, place), valid ? x + line_at * ld + at : x, valid);
    }
  }
  DEVICE_MEMBER void stash(uint4 *) {}
};

template <class T, int R, bool along_k> struct SyncLoad {
  typedef MmaPanel<R, along_k> Panel;
  float v[Panel::per_thread][8];

  DEVICE_MEMBER void fetch(uint4 *, const T *x, int64_t ld, int r0, int k0, int rows, int depth, bool packed) {
#pragma unroll
    for (int i = 0; i < Panel::per_thread; i++) {
      int line_at = (along_k ? r0 : k0) + Panel::line(i), at = (along_k ? k0 : r0) + Panel::place(i) * 8;
      int lines = along_k ? rows : depth, end = along_k ? depth : rows;
      const T *p = x + line_at * ld + at;
      if (packed && line_at < lines && at + 8 <= end) {
#pragma unroll
        for (int h = 0; h < 8; h += Pack<T>::n) {
          Pack<T> x = load_pack(p + h);
#pragma unroll
          for (int j = 0; j < Pack<T>::n; j++) v[i][h + j] = to_float(x.v[j]);
        }
        continue;
      }
#pragma unroll
      for (int j = 0; j < 8; j++) v[i][j] = line_at < lines && at + j < end ? to_float(p[j]) : 0.f;
    }
  }
  DEVICE_MEMBER void stash(uint4 *panel) const {
#pragma unroll
    for (int i = 0; i < Panel::per_thread; i++)
      panel[Panel::slot(Panel::line(i), Panel::place(i))] =
          make_uint4(pack_bf16(v[i][0], v[i][1]), pack_bf16(v[i][2], v[i][3]), pack_bf16(v[i][4], v[i][5]), pack_bf16(v[i][6], v[i][7]));
  }
};
