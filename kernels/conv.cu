// Convolution and its gradients as products whose factors are gathered from the images (implicit GEMM), per group:
//
//   y  (og, images·oh·ow) = w (og, cg·kh·kw) · x's windows        dx (cg, images·h·w) = wᵀ (cg, og·kh·kw) · dy's windows
//   dw (og, cg·kh·kw)     = dy (og, images·oh·ow) · x's windowsᵀ  in stretches of pixels, added in order
//
// The plain version is conv.go. Tiles are in gemm_ffma.cuh and gemm_mma.cuh; neighbouring lanes gather neighbouring pixels, and a lane
// keeps its pixel (dw: a warp keeps its taps). Bound by the gathers: on sm_90 a turn, 32 taps deep, of a tile of 128 by 128 in bf16 takes
// 488 instructions (dx 489, dw 688) for 32 mma of a warp, as its machine code says.
#include "conv.cuh"
#include "gemm_ffma.cuh"
#include "gemm_mma.cuh"
#include "panels.cuh"

// ConvArgs is laid out as convArgs of conv_cuda.go. a is w, wᵀ or dy, b the tensor whose windows are gathered.
struct ConvArgs {
  const void *a, *b, *bias;
  void *y;
  float *partial; // dw: (groups, splits, m, n)
  const Tap *taps; // of the whole product's k, or n for dw, filled up to whole tiles
  ConvShape c;
  int m, n, k, splits, stretch;
  int packed_a, packed_y; // lines of wᵀ, rows of y are whole packs
  int relu;
};

// How tiles keep panels: put stores element (r, k).
struct FfmaPanel {
  static const int BK = FFMA_BK, BM = FFMA_BM;
  typedef float (*Panel)[FFMA_LD];
  static DEVICE_MEMBER void put(Panel p, int r, int k, float v) { p[k][r] = v; }
};
template <class Swizzled, int rows, bool along_k> struct MmaElements {
  static const int BK = MMA_BK, BM = rows;
  typedef uint4 *Panel;
  static DEVICE_MEMBER void put(Panel p, int r, int k, float v) { put(p, r, k, float_to_bf16(v)); }
  static DEVICE_MEMBER void put(Panel p, int r, int k, bf16 v) {
    uint4 *chunk = p + (along_k ? Swizzled::slot(r, k / 8) : Swizzled::slot(k, r / 8));
    ((bf16 *)chunk)[along_k ? k % 8 : r % 8] = v;
  }
};

// Pixels gathers 128 columns of windows: a thread has one output pixel (back: one input pixel) and half of a tile's taps.
template <class T, class P, bool back> struct Pixels {
  Window<T, back> window;
  T v[P::BK / 2];

  DEVICE_MEMBER Pixels(const ConvArgs &p, int group, int col0) {
    const ConvShape &c = p.c;
    int col = col0 + threadIdx.x % GEMM_BN, width = back ? c.w : c.ow, plane = width * (back ? c.h : c.oh);
    bool live = col < p.n;
    int n = live ? col / plane : 0, at = live ? col % plane : 0;
    const T *image = (const T *)p.b + ((int64_t)n * c.groups + group) * (back ? c.og * c.oh * c.ow : c.cg * c.h * c.w);
    window.place(c, image, at / width, at % width, live);
  }
  DEVICE_MEMBER void fetch(const ConvArgs &p, int k0, int) {
    const Tap *taps = p.taps + k0 + threadIdx.x / GEMM_BN * (P::BK / 2);
#pragma unroll
    for (int e = 0; e < P::BK / 2; e++) v[e] = window.at(p.c, taps[e]);
  }
  DEVICE_MEMBER void stash(typename P::Panel panel) const {
#pragma unroll
    for (int e = 0; e < P::BK / 2; e++) P::put(panel, threadIdx.x % GEMM_BN, threadIdx.x / GEMM_BN * (P::BK / 2) + e, v[e]);
  }
};

// Lines gathers rows of dy (windows: of x's windows) along k, the output pixels: a thread has one pixel of a tile.
template <class T, class P, bool windows> struct Lines {
  static const int each = P::BM * P::BK / GEMM_THREADS, step = GEMM_THREADS / P::BK;
  int row0, group;
  T v[each];

  DEVICE_MEMBER Lines(const ConvArgs &, int group, int row0) : row0(row0 + threadIdx.x / P::BK), group(group) {}
  DEVICE_MEMBER void fetch(const ConvArgs &p, int k0, int to) {
    const ConvShape &c = p.c;
    int k = k0 + threadIdx.x % P::BK, plane = c.oh * c.ow;
    bool live = k < to;
    int n = live ? k / plane : 0, at = live ? k % plane : 0;
    int64_t image = (int64_t)n * c.groups + group;
    if (windows) {
      Window<T, false> window;
      window.place(c, (const T *)p.b + image * (c.cg * c.h * c.w), at / c.ow, at % c.ow, live);
#pragma unroll
      for (int e = 0; e < each; e++) v[e] = window.at(c, p.taps[row0 + e * step]);
    } else {
      const T *dy = (const T *)p.a + image * (c.og * plane) + (int64_t)row0 * plane + at;
#pragma unroll
      for (int e = 0; e < each; e++) v[e] = live && row0 + e * step < p.m ? dy[e * step * plane] : T();
    }
  }
  DEVICE_MEMBER void stash(typename P::Panel panel) const {
#pragma unroll
    for (int e = 0; e < each; e++) P::put(panel, threadIdx.x / P::BK + e * step, threadIdx.x % P::BK, v[e]);
  }
};

// FfmaRows is FfmaLoad with SyncLoad's parameters.
struct FfmaRows : FfmaLoad<float, true> {
  DEVICE_MEMBER void fetch(void *, const float *x, int64_t ld, int r0, int k0, int rows, int depth, bool packed) {
    FfmaLoad<float, true>::fetch(x, ld, r0, k0, rows, depth, packed);
  }
};

// Weights reads lines of w or wᵀ, m rows of k, by whole packs where they allow it.
template <class T, class Load> struct Weights {
  const T *a;
  int row0;
  Load load;
  DEVICE_MEMBER Weights(const ConvArgs &p, int group, int row0) : a((const T *)p.a + (int64_t)group * p.m * p.k), row0(row0) {}
  DEVICE_MEMBER void fetch(const ConvArgs &p, int k0, int to) { load.fetch(0, a, p.k, row0, k0, p.m, to, p.packed_a); }
  template <class Panel> DEVICE_MEMBER void stash(Panel panel) const { load.stash(panel); }
};

// Where W sums of a row go. ToMatrix: m rows of n per group, or partial sums. ToImages: m channels per group of every image,
// n running over images and the pixels of a plane.
struct ToMatrix {
  template <class T, int W> static DEVICE_MEMBER void store(const ConvArgs &p, const float v[W], int row, int col, int) {
    if (row >= p.m || col >= p.n) return;
    if (p.partial) {
#pragma unroll
      for (int e = 0; e < W; e++)
        if (col + e < p.n) p.partial[((int64_t)blockIdx.z * p.m + row) * p.n + col + e] = v[e];
      return;
    }
    Epilogue end = {};
    end.y = p.y, end.alpha = 1.f, end.packed = p.packed_y;
    finish<T, W>(end, v, ((int64_t)(blockIdx.z / p.splits) * p.m + row) * p.n, 0, col, p.n);
  }
};
struct ToImages {
  template <class T, int W> static DEVICE_MEMBER void store(const ConvArgs &p, const float v[W], int row, int col, int plane) {
    if (row >= p.m || col >= p.n) return;
    int64_t channel = (int64_t)blockIdx.z * p.m + row, channels = (int64_t)p.c.groups * p.m;
    float bias = p.bias ? to_float(((const T *)p.bias)[channel]) : 0.f, sums[W];
#pragma unroll
    for (int e = 0; e < W; e++) sums[e] = v[e] + bias;
    Epilogue end = {};
    end.y = p.y, end.alpha = 1.f, end.act = p.relu ? kRelu : kNone, end.packed = 1;
    if (p.packed_y) { // planes are whole groups of W: all of them are in one image
      finish<T, W>(end, sums, (col / plane * channels + channel) * plane, 0, col % plane, plane);
    } else {
#pragma unroll
      for (int e = 0; e < W; e++)
        if (col + e < p.n) {
          int at = col + e;
          ((T *)p.y)[(at / plane * channels + channel) * plane + at % plane] = from_float<T>(activate(end.act, sums[e]));
        }
    }
  }
};

// The product of one block: stages of panels in turn, the next one gathered into registers meanwhile.
// Grid: x tiles of columns, y tiles of rows, z groups and stretches of k.
template <class T, class LoadA, class LoadB, class To> DEVICE void conv_ffma(const ConvArgs &p, int plane) {
  __shared__ FfmaPanels s;
  int group = blockIdx.z / p.splits, from = blockIdx.z % p.splits * p.stretch, to = min(p.k, from + p.stretch);
  int row0 = blockIdx.y * FFMA_BM, col0 = blockIdx.x * GEMM_BN;
  LoadA a(p, group, row0);
  LoadB b(p, group, col0);
  FfmaTile c;
  c.clear();
  a.fetch(p, from, to);
  b.fetch(p, from, to);
  int stage = 0;
  for (int k = from; k < to; k += FFMA_BK, stage ^= 1) {
    a.stash(s.a[stage]);
    b.stash(s.b[stage]);
    __syncthreads();
    if (k + FFMA_BK < to) a.fetch(p, k + FFMA_BK, to), b.fetch(p, k + FFMA_BK, to);
    c.multiply(s.a[stage], s.b[stage]);
  }
#pragma unroll
  for (int i = 0; i < 8; i++)
#pragma unroll
    for (int h = 0; h < 2; h++) To::template store<T, 4>(p, c.acc[i] + 4 * h, row0 + c.row(i), col0 + c.col(h), plane);
}

template <class T, int MT, class PanelA, class PanelB, class LoadA, class LoadB, class To>
DEVICE void conv_mma(const ConvArgs &p, int plane) {
  typedef MmaTile<MT> Tile;
  DYN_SHARED(uint4, stages);
  int group = blockIdx.z / p.splits, from = blockIdx.z % p.splits * p.stretch, to = min(p.k, from + p.stretch);
  int row0 = blockIdx.y * Tile::BM, col0 = blockIdx.x * GEMM_BN;
  LoadA a(p, group, row0);
  LoadB b(p, group, col0);
  Tile c;
  c.clear();
  a.fetch(p, from, to);
  b.fetch(p, from, to);
  int stage = 0;
  for (int k = from; k < to; k += MMA_BK, stage ^= 1) {
    uint4 *pa = stages + stage * Tile::stage, *pb = pa + PanelA::chunks;
    a.stash(pa);
    b.stash(pb);
    __syncthreads();
    if (k + MMA_BK < to) a.fetch(p, k + MMA_BK, to), b.fetch(p, k + MMA_BK, to);
    c.template multiply<PanelA, PanelB>(pa, pb);
  }
  __syncthreads();
  float *tile = (float *)stages;
  c.spill(tile);
  __syncthreads();
  for (int i = threadIdx.x; i < Tile::BM * GEMM_BN / 8; i += GEMM_THREADS) {
    int r = i / (GEMM_BN / 8), col = i % (GEMM_BN / 8) * 8;
    float v[8];
    load8(v, tile + Tile::at(r, col));
    To::template store<T, 8>(p, v, row0 + r, col0 + col, plane);
  }
}

template <bool back> DEVICE void conv_images_f32(const ConvArgs &p) {
  conv_ffma<float, Weights<float, FfmaRows>, Pixels<float, FfmaPanel, back>, ToImages>(p, back ? p.c.h * p.c.w : p.c.oh * p.c.ow);
}
template <class T, int MT, bool back> DEVICE void conv_images(const ConvArgs &p) {
  typedef MmaPanel<32 * MT, true> PanelA;
  typedef MmaPanel<GEMM_BN, false> PanelB;
  conv_mma<T, MT, PanelA, PanelB, Weights<T, SyncLoad<T, 32 * MT, true>>, Pixels<T, MmaElements<PanelB, GEMM_BN, false>, back>, ToImages>(
      p, back ? p.c.h * p.c.w : p.c.oh * p.c.ow);
}
template <class T, int MT> DEVICE void conv_weights(const ConvArgs &p) {
  typedef MmaPanel<32 * MT, true> PanelA;
  typedef MmaPanel<GEMM_BN, true> PanelB;
  conv_mma<T, MT, PanelA, PanelB, Lines<T, MmaElements<PanelA, 32 * MT, true>, false>, Lines<T, MmaElements<PanelB, GEMM_BN, true>, true>, ToMatrix>(p, 0);
}

KERNEL(conv_f32, GEMM_THREADS, (ConvArgs p)) { conv_images_f32<false>(p); }
KERNEL(conv_dx_f32, GEMM_THREADS, (ConvArgs p)) { conv_images_f32<true>(p); }
KERNEL(conv_dw_f32, GEMM_THREADS, (ConvArgs p)) {
  conv_ffma<float, Lines<float, FfmaPanel, false>, Lines<float, FfmaPanel, true>, ToMatrix>(p, 0);
}

// bf16, and f32 whose factors are rounded, by tiles of 64 or 128 rows.
#define CONV_KERNELS(suffix, T, MT)                                                           \
  KERNEL(conv_##suffix, GEMM_THREADS, (ConvArgs p)) { conv_images<T, MT, false>(p); }         \
  KERNEL(conv_dx_##suffix, GEMM_THREADS, (ConvArgs p)) { conv_images<T, MT, true>(p); }       \
  KERNEL(conv_dw_##suffix, GEMM_THREADS, (ConvArgs p)) { conv_weights<T, MT>(p); }

CONV_KERNELS(bf16_64, bf16, 2)
CONV_KERNELS(bf16_128, bf16, 4)
CONV_KERNELS(round_64, float, 2)
CONV_KERNELS(round_128, float, 4)
