// The register tiles of conv.c, one function per height and width, compiled once per instruction-set level inside its body (no
// include guard). TILE and rg_vec.h come from conv_pack.h.

// tile adds nc channels × nt taps to P pixels of NV vectors: out[p·ostep…] = init[p·istep…] + Σ x[c·plane + off[t] + p]·w.
// skip is what lies between the weights of one channel's taps and the next's.
static inline __attribute__((always_inline)) void RG_NAME(tile_body)(const int P, const int NV, const float *x, long plane, long nc, const int *off,
                                                                     long nt, const float *w, long skip, const float *init, long istep, float *out, long ostep, int relu) {
  vf acc[TILE][2]; // a constant size: only then do the sums live in registers
#pragma GCC unroll 16
  for (int p = 0; p < P; p++)
#pragma GCC unroll 2
    for (int v = 0; v < NV; v++) acc[p][v] = v_loadu(init + p * istep + v * RG_WIDTH);
  for (long c = 0; c < nc; c++, x += plane, w += skip)
    for (long t = 0; t < nt; t++, w += NV * RG_WIDTH) {
      const float *xp = x + off[t];
      vf wv[2];
#pragma GCC unroll 2
      for (int v = 0; v < NV; v++) wv[v] = v_loadu(w + v * RG_WIDTH);
#pragma GCC unroll 16
      for (int p = 0; p < P; p++)
#pragma GCC unroll 2
        for (int v = 0; v < NV; v++) acc[p][v] += wv[v] * xp[p];
    }
#pragma GCC unroll 16
  for (int p = 0; p < P; p++)
#pragma GCC unroll 2
    for (int v = 0; v < NV; v++) {
      vf a = acc[p][v];
      if (relu) a = (vf)((vi)a & ~(a < 0)); // NaN stays NaN
      v_storeu(out + p * ostep + v * RG_WIDTH, a);
    }
}

typedef void (*RG_NAME(tile_fn))(const float *, long, long, const int *, long, const float *, long, const float *, long, float *, long, int);
#define TILE_FN(P, NV)                                                                                                             \
  static void RG_NAME(tile_##P##_##NV)(const float *x, long plane, long nc, const int *off, long nt, const float *w, long skip,    \
                                       const float *init, long istep, float *out, long ostep, int relu) {                          \
    RG_NAME(tile_body)(P, NV, x, plane, nc, off, nt, w, skip, init, istep, out, ostep, relu);                                      \
  }
#define BOTH(P) TILE_FN(P, 1) TILE_FN(P, 2)
BOTH(1) BOTH(2) BOTH(3) BOTH(4) BOTH(5) BOTH(6)
#define ROW(P) {RG_NAME(tile_##P##_1), RG_NAME(tile_##P##_2)}
#if TILE == 14
BOTH(7) BOTH(8) BOTH(9) BOTH(10) BOTH(11) BOTH(12) BOTH(13) BOTH(14)
static const RG_NAME(tile_fn) RG_NAME(tiles)[15][2] = {{0}, ROW(1), ROW(2), ROW(3), ROW(4), ROW(5), ROW(6), ROW(7), ROW(8), ROW(9), ROW(10), ROW(11), ROW(12), ROW(13), ROW(14)};
#else
static const RG_NAME(tile_fn) RG_NAME(tiles)[7][2] = {{0}, ROW(1), ROW(2), ROW(3), ROW(4), ROW(5), ROW(6)};
#endif
#undef TILE_FN
#undef BOTH
#undef ROW
