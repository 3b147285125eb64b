// Between the files of the integer product.
#pragma once
#include "gemm.h"
#include "quant.h"

enum { RG_Q8_PANEL = 16 }; // columns of a packed panel: a vector of AVX-512, a tile of AMX

// Dwords (4 bytes of k) of a packed stretch: AMX takes whole tiles of 16.
RG_SMALL long rg_q8_dwords(const rg_q8 *g) {
  long d = rg_ceil_div(g->seg_len, 4);
  return g->kind == RG_Q8_AMX ? rg_ceil_div(d, 16) * 16 : d;
}
RG_SMALL long rg_q8_panel_bytes(const rg_q8 *g) { return g->parts * g->segs * rg_q8_dwords(g) * 64; }
RG_SMALL long rg_q8_panels(const rg_q8 *g) { return rg_ceil_div(g->n, RG_Q8_PANEL); }

// rg_q8_byte reads a number of 8 bits.
RG_SMALL int rg_q8_byte(const uint8_t *p, int u8, long i) { return u8 ? p[i] : (int8_t)p[i]; }

// rg_q8_at finds tile t, `rows` pixels of one row of an image: its first byte in x, and its first pixel.
RG_SMALL const uint8_t *rg_q8_at(const rg_q8 *g, long t, long rows, long *pixel, long *count, int shift) {
  long per_row = rg_ceil_div(g->ow, rows), row = t / per_row, col = t % per_row * rows, image = row / g->oh;
  *count = rg_min(rows, g->ow - col);
  if (shift && *count < rows) col = g->ow - rows; // whole tiles only: the last one begins earlier
  *pixel = row * g->ow + col;
  return g->x + image * g->img_step + row % g->oh * g->row_step + col * g->pix_step;
}

// rg_q8_end writes rows of columns [col, col+cols) from sums that lie ld apart.
void rg_q8_end(const rg_q8 *g, const int32_t *sums, long ld, long pixel, long rows, long col, long cols);

// A kind computes tiles [t0,t1) of at most tile(g) pixels each, for panels [p0,p1).
int rg_q8_vnni_usable(void);
void rg_q8_vnni(const rg_q8 *g, long t0, long t1, long p0, long p1);
int rg_q8_amx_usable(void);
void rg_q8_amx(const rg_q8 *g, long t0, long t1, long p0, long p1);
RG_SMALL long rg_q8_tile(const rg_q8 *g) {
  long most = g->kind == RG_Q8_AMX ? 16 : 6;
  return g->kind == RG_Q8_AMX ? rg_ceil_div(g->ow, rg_ceil_div(g->ow, most)) : rg_min(most, g->ow);
}
