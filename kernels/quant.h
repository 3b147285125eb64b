// Quantization and integer products; kernels/quant.go and qmatmul.go define the results, to the bit.
#pragma once
#include "rg.h"

// Element types of results; the first two are also those of factors.
enum { RG_Q_I8 = 0, RG_Q_U8 = 1, RG_Q_F32 = 2, RG_Q_I32 = 3 };

// rg_q8 is one integer product: every pixel is a row of `segs` stretches of seg_len bytes of x, at seg_off from the
// pixel's first byte. A matrix is one image of one row whose pixels are its rows, in one stretch of K bytes. A convolution
// on (N,H,W,C) has a stretch of KW·C bytes for every row of the filter. Kernels may read up to 63 bytes past a stretch.
typedef struct {
  const uint8_t *x;
  int x_u8;
  long images, oh, ow;                    // pixels of the result
  long img_step, row_step, pix_step;      // bytes of x between two of them
  long segs, seg_len;
  const long *seg_off;
  long n; // columns: output channels
  // Weights as given: element (seg, i, column) lies at column·wj + seg_w[seg] + (i / cin)·wtap + (i % cin)·wcin.
  const uint8_t *w;
  int w_u8;
  long wj, wtap, wcin, cin;
  const long *seg_w;
  const float *xs, *ws, *ys; // scales; ws has ws_n elements, 1 or n; ys is NULL for F32 and I32
  long ws_n, wz_n;
  const uint8_t *xz, *wz, *yz; // zero points, in their factors' types
  const int32_t *ibias;        // NULL or n
  const float *fbias;          // NULL or n
  const float *residual;       // NULL or as y
  int act, out, in_float;      // RG_ACT_*, RG_Q_*
  void *y;                     // pixel p, column j: y + p·ldy + j, in elements
  long ldy;
  // Prepared by rg_q8_prepare in memory of the sizes that rg_q8_sizes gives; parts is 1 where w − wz is known to fit int8.
  int kind, parts;
  int8_t *packed;
  float *mul;
  int32_t *bias, *sums; // sums: Σ over k of w − wz per column, which x's zero point is multiplied by
} rg_q8;

// rg_q8_choose picks the microkernel; it and the shape must stand before rg_q8_sizes.
void rg_q8_choose(rg_q8 *g);
void rg_q8_sizes(const rg_q8 *g, long *packed_bytes, long *columns);
// rg_q8_prepare packs the weights, rg_q8_scale computes multipliers and biases from scales and zero points; each again
// where what it reads has changed.
void rg_q8_prepare(const rg_q8 *g);
void rg_q8_scale(const rg_q8 *g);
void rg_q8_run(const rg_q8 *g);
// rg_q8_cap keeps products from kinds above the given one (RG_Q8_*), for tests; RG_Q8_AMX is no cap.
enum { RG_Q8_PLAIN = 0, RG_Q8_VNNI = 1, RG_Q8_AMX = 2 };
void rg_q8_cap(int kind);

// q = saturate(round(x/scale) + zero), count slices of inner elements, slice i with scale and zero i % scales.
void rg_quantize(const float *x, long count, long inner, const float *scale, const uint8_t *zero, long scales, int u8, uint8_t *q);
void rg_dequantize(const void *q, int type, long count, long inner, const float *scale, const void *zero, long scales, float *y);

// fake_quantize and, where dy is given, its gradient: count slices of inner elements, slice i with range i % ranges.
typedef struct { long count, inner, ranges; int symmetric; } rg_fake;
void rg_fake_quantize(const rg_fake *s, const float *x, const float *lo, const float *hi, const float *dy, float *y);

// ONNX DynamicQuantizeLinear: the range of x, with 0 in it, over 255 steps.
void rg_dynamic_quantize(const float *x, long n, uint8_t *q, float *scale, uint8_t *zero);

// Copies images (h,w,c) into (h+pt+pb, w+pl+pr, c) with `fill` around them.
void rg_q8_pad(const uint8_t *x, long images, long h, long w, long c, const long pad[4], const uint8_t *fill, uint8_t *y);

typedef struct { long n, h, w, c, oh, ow, kh, kw, sh, sw, dh, dw, pt, pl; int u8; } rg_q8_pool;
// Maximum over windows of x (N,H,W,C).
void rg_q8_maxpool(const rg_q8_pool *s, const uint8_t *x, uint8_t *y);
