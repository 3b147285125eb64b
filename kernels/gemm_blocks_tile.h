// The microkernel of products with weights in blocks, and what it does beside its tiles: AMX leaves the vector and load ports idle, so
// some 64 of their instructions after every four tile products cost nothing, as long as no branch among them is hard to foresee.
#pragma once
#include "gemm_amx.h"
#include "gemm_blocks.h"
#define RG_NAME(x) x##_amx
#define RG_WIDTH 16
#include "rg_vec.h"
#include "rg_act.h"

enum {
  SIDE = RG_BLOCK,
  NUMBERS = RG_BLOCK_SIZE,
  HALF = NUMBERS / 2,   // one tile of bf16
  LINES = NUMBERS / 32, // of 64 bytes in a block
  PAIRS = SIDE / 2,     // of rows in a tile of C
};

// Ends that run beside the next tile's products; OTHER runs by itself.
enum { OTHER, ADD, ADD_MORE, TIMES, GELU, ENDS };

typedef struct {
  // The tile before: its end, or NULL.
  const float *tile;
  char *c, *pre;    // its first number in C, and where act' is kept
  const char *with; // in what is added (ADD_MORE) or multiplied (TIMES)
  long next;        // bytes from these to the next tile's
  long ld;          // bytes from row to row of these
  int past, far;    // C is written past the caches; or through them, and its lines come from memory
  __m512 bias[2];
  // Lines that are asked for, evenly: `share`, a multiple of four, in a step; `gap` bytes lie between two blocks.
  const char *ahead;
  long blocks, share, line, gap;
  // Blocks of W that are turned: half blocks by step, so that two for each of `tall` steps are done.
  const uint16_t *source;
  long source_next, half, halves, owed, tall; // source_next: numbers from block to block
  uint16_t *turned;
  // Rows of A that are packed: `rows` of them from `from`, one step's 32 k of each in a step.
  const char *from;
  long from_next;               // bytes from there to the rows that are packed next
  long rows, row_bytes, pieces; // pieces: of 32 k, the last of them with `tail` numbers
  uint16_t *packed;
  __mmask32 tail;
  int bf16;
} beside;

// --- ends -------------------------------------------------------------------------------------------------------------
RG_VEC vf get(const char *p, const int bf16) {
  if (!bf16) return (vf)_mm512_loadu_ps(p);
  return (vf)_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p)), 16);
}
RG_VEC void put_line(char *p, __m512i x, int past) {
  if (past) _mm512_stream_si512((__m512i *)p, x);
  else _mm512_storeu_si512(p, x);
}
RG_VEC void put_row(char *p, vf left, vf right, const int bf16, int past) {
  if (bf16) put_line(p, (__m512i)_mm512_cvtne2ps_pbh((__m512)right, (__m512)left), past); // to nearest even
  else put_line(p, (__m512i)left, past), put_line(p + 64, (__m512i)right, past);
}

// end_pair writes rows 2q and 2q+1 of the tile before.
RG_VEC void end_pair(const beside *w, long q, const int end, const int bf16) {
  const float *t = w->tile + 2 * q * SIDE;
  const long at = 2 * q * w->ld, half = bf16 ? 32 : 64;
  vf x[4];
#pragma GCC unroll 4
  for (int e = 0; e < 4; e++) x[e] = (vf)_mm512_load_ps(t + 16 * e) + (vf)w->bias[e % 2];
  if (w->far)
    for (const char *p = w->c + at + w->next, *last = p + w->ld; p <= last; p += w->ld) { // to be written; rows need not begin lines
      __asm__ volatile("prefetchw (%0)" : : "r"(p));
      __asm__ volatile("prefetchw 63(%0)" : : "r"(p));
      if (!bf16) __asm__ volatile("prefetchw 127(%0)" : : "r"(p));
    }
  if (end == GELU) {
    vf y[4];
#pragma GCC unroll 4
    for (int e = 0; e < 4; e++) x[e] = v_gelu_tanh_both(x[e], y + e);
    put_row(w->pre + at, y[0], y[1], bf16, w->past), put_row(w->pre + at + w->ld, y[2], y[3], bf16, w->past);
  }
  if (end == TIMES || end == ADD_MORE) {
#pragma GCC unroll 4
    for (int e = 0; e < 4; e++) {
      const char *p = w->with + at + e / 2 * w->ld + e % 2 * half;
      vf y = get(p, bf16);
      if (!bf16 || e % 2 == 0) _mm_prefetch(p + w->next, _MM_HINT_T0);
      if (end == TIMES) x[e] *= y;
      else x[e] += y;
    }
  }
  put_row(w->c + at, x[0], x[1], bf16, w->past), put_row(w->c + at + w->ld, x[2], x[3], bf16, w->past);
}

// --- weights ----------------------------------------------------------------------------------------------------------
AMX_INLINE void load_ahead(beside *w) {
  if (w->blocks <= 0) return;
  const char *at = w->ahead;
  for (long n = w->share; n > 0; n -= 4, at += 256)
    for (int line = 0; line < 4; line++) _mm_prefetch(at + 64 * line, _MM_HINT_T1);
  w->line += w->share;
  int whole = w->line == LINES;
  w->ahead = at + (whole ? w->gap : 0), w->line = whole ? 0 : w->line, w->blocks -= whole;
}

// turn_next: half a block, 16 rows of W, becomes a tile of Wᵀ: 16 pairs of columns 2p, 2p+1 by those rows.
AMX_INLINE void turn_next(beside *w) {
  const uint16_t *half = w->source + w->half / 2 * w->source_next + w->half % 2 * (NUMBERS / 4);
  __m512i *tile = (__m512i *)(w->turned + w->half++ * HALF), v[16];
  const __m512i even = _mm512_set_epi16(62, 60, 58, 56, 54, 52, 50, 48, 46, 44, 42, 40, 38, 36, 34, 32, 30, 28, 26, 24, 22, 20,
                                        18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
  const __m512i odd = _mm512_add_epi16(even, _mm512_set1_epi16(1));
#pragma GCC unroll 8
  for (int q = 0; q < 8; q++) {
    __m512i left = _mm512_load_si512(half + 32 * q), right = _mm512_load_si512(half + HALF + 32 * q);
    v[2 * q] = _mm512_permutex2var_epi16(left, even, right);
    v[2 * q + 1] = _mm512_permutex2var_epi16(left, odd, right);
  }
  transpose16(v);
#pragma GCC unroll 16
  for (int e = 0; e < 16; e++) _mm512_store_si512(tile + e, v[e]);
}

AMX_INLINE void turn(beside *w) {
  for (w->owed += 2; w->owed >= w->tall; w->owed -= w->tall)
    if (w->half < w->halves) turn_next(w);
}

// --- A ----------------------------------------------------------------------------------------------------------------
// pack_piece packs piece s of a row: line `row` of block s of a strip.
AMX_INLINE void pack_piece(const char *from, uint16_t *to, int bf16, __mmask32 m) {
  if (bf16) _mm512_store_si512(to, _mm512_maskz_loadu_epi16(m, from));
  else _mm512_store_si512(to, (__m512i)_mm512_cvtne2ps_pbh(_mm512_maskz_loadu_ps((__mmask16)(m >> 16), (const float *)from + 16),
                                                           _mm512_maskz_loadu_ps((__mmask16)m, (const float *)from)));
}
AMX_INLINE void pack_pieces(beside *w, long s) {
  if (s >= w->pieces) return;
  const char *from = w->from + s * (w->bf16 ? 64 : 128);
  uint16_t *to = w->packed + s * NUMBERS;
  __mmask32 m = s == w->pieces - 1 ? w->tail : 0xffffffff;
  for (long r = w->rows; r > 0; r--, from += w->row_bytes, to += SIDE) {
    pack_piece(from, to, w->bf16, m);
    _mm_prefetch(from + w->from_next, _MM_HINT_T0);
    if (!w->bf16) _mm_prefetch(from + w->from_next + 64, _MM_HINT_T0);
  }
}

// --- tiles ------------------------------------------------------------------------------------------------------------
// Both factors are loaded with TILELOADDT1, which does not push out what the first-level cache holds: with 24 blocks of k, A in the second,
// a step takes 27 ns; with TILELOADD for the weights 34, for both 43.
//
// products is one step; the tiles of the next are loaded as soon as their registers are free.
#define PRODUCTS()                                                                                                     \
  a.upper += a.step, a.lower += a.step, b += NUMBERS;                                                                  \
  DOT(0, 4, 6), DOT(1, 4, 7);                                                                                          \
  LOAD_ONCE(4, a.upper, a.ld), DOT(2, 5, 6);                                                                           \
  LOAD_ONCE(6, b, 64), DOT(3, 5, 7);                                                                                        \
  LOAD_ONCE(5, a.lower, a.ld), LOAD_ONCE(7, b + HALF, 64)

AMX_INLINE void multiply_with(long steps, strip a, const uint16_t *b, float *c, int acc, beside *w, const int end, const int bf16, const int pairs) {
  const long with = end ? rg_min(steps - 1, PAIRS / pairs) : 0;
  long s = 0;
  load_sums(c, acc);
  LOAD_ONCE(4, a.upper, a.ld), LOAD_ONCE(6, b, 64);
  LOAD_ONCE(5, a.lower, a.ld), LOAD_ONCE(7, b + HALF, 64);
  for (; s < with; s++) {
    PRODUCTS();
#pragma GCC unroll 4
    for (int p = 0; p < pairs; p++) end_pair(w, s * pairs + p, end, bf16);
    load_ahead(w), turn(w), pack_pieces(w, s);
  }
  for (; s < steps - 1; s++) {
    PRODUCTS();
    load_ahead(w), turn(w), pack_pieces(w, s);
  }
  DOT(0, 4, 6), DOT(1, 4, 7), DOT(2, 5, 6), DOT(3, 5, 7);
  if (end)
    for (long q = with * pairs; q < PAIRS; q++) end_pair(w, q, end, bf16);
  load_ahead(w), turn(w), pack_pieces(w, s);
  store_sums(c);
}

typedef void multiply_fn(long steps, strip a, const uint16_t *b, float *c, int acc, beside *w);
#define MULTIPLY(name, end, bf16, pairs)                                                                               \
  static void name(long steps, strip a, const uint16_t *b, float *c, int acc, beside *w) { multiply_with(steps, a, b, c, acc, w, end, bf16, pairs); }
#define MULTIPLIES(end, bf16)                                                                                          \
  MULTIPLY(multiply_##end##bf16##_1, end, bf16, 1)                                                                     \
  MULTIPLY(multiply_##end##bf16##_2, end, bf16, 2)                                                                     \
  MULTIPLY(multiply_##end##bf16##_4, end, bf16, 4)
MULTIPLY(multiply_alone, OTHER, 0, 1)
MULTIPLIES(ADD, 0)
MULTIPLIES(ADD, 1)
MULTIPLIES(ADD_MORE, 0)
MULTIPLIES(ADD_MORE, 1)
MULTIPLIES(TIMES, 0)
MULTIPLIES(TIMES, 1)
MULTIPLIES(GELU, 0)
MULTIPLIES(GELU, 1)
#define OF(end, bf16) {multiply_##end##bf16##_1, multiply_##end##bf16##_2, multiply_##end##bf16##_4}
static multiply_fn *const multiply_ending[ENDS][2][3] = {[ADD] = {OF(ADD, 0), OF(ADD, 1)}, [ADD_MORE] = {OF(ADD_MORE, 0), OF(ADD_MORE, 1)},
    [TIMES] = {OF(TIMES, 0), OF(TIMES, 1)}, [GELU] = {OF(GELU, 0), OF(GELU, 1)}};

// multiply sets or adds (acc) c (32,32) = A·B over `steps` steps of 32 k, and does beside it what w says.
static void multiply(long steps, strip a, const uint16_t *b, float *c, int acc, beside *w, int end, int bf16) {
  multiply_fn *fn = !w->tile ? multiply_alone : multiply_ending[end][bf16][steps >= PAIRS ? 0 : steps >= PAIRS / 2 ? 1 : 2];
  fn(steps, a, b, c, acc, w);
  for (long s = steps; s < w->pieces; s++) pack_pieces(w, s);
  w->tile = NULL;
}

// last is the end of a tile that no other one follows.
static void last(beside *w, int end, int bf16) {
#define EACH(e)                                                                                                        \
  for (long q = 0; end == e && q < PAIRS; q++) {                                                                       \
    if (bf16) end_pair(w, q, e, 1);                                                                                    \
    else end_pair(w, q, e, 0);                                                                                         \
  }
  if (!w->tile) return;
  EACH(ADD) EACH(ADD_MORE) EACH(TIMES) EACH(GELU)
  w->tile = NULL;
#undef EACH
}
