// The software twins of mma.cuh: warp-wide instructions by exchange through memory, asynchronous copies that arrive
// only when they are waited for.
#pragma once

namespace simt {
// What the lanes of each warp publish for a warp-wide instruction, in two buffers used in turn.
struct WarpBoard { uint64_t words[32][32][3]; };
static inline float upper_half(unsigned short h) { return __uint_as_float((unsigned)h << 16); }

// board publishes up to 24 bytes of this lane and returns the whole warp's.
static inline const uint64_t (*board(const void *mine, size_t n))[3] {
  thread_local static WarpBoard boards[2];
  Thread *me = block->current;
  unsigned slot = me->slot ^= 1, warp = me->linear >> 5;
  memcpy(boards[slot].words[warp][lane()], mine, n);
  wait_warp(~0u);
  return boards[slot].words[warp];
}
} // namespace simt

static inline void mma_bf16(float c[4], const unsigned a[4], const unsigned b[2]) {
  unsigned mine[6] = {a[0], a[1], a[2], a[3], b[0], b[1]};
  auto all = simt::board(mine, sizeof mine);
  // Register r of lane l, half h.
  auto half = [&](unsigned l, unsigned r, unsigned h) { return simt::upper_half(((const unsigned short *)all[l])[2 * r + h]); };
  unsigned g = simt::lane() / 4, t = simt::lane() % 4;
  for (unsigned i = 0; i < 4; i++) {
    unsigned row = g + i / 2 * 8, col = 2 * t + i % 2;
    float s = 0;
    for (unsigned k = 0; k < 16; k++) {
      float x = half(row % 8 * 4 + k % 8 / 2, row / 8 + k / 8 * 2, k % 2);
      float y = half(col * 4 + k % 8 / 2, 4 + k / 8, k % 2);
      s += x * y;
    }
    c[i] += s;
  }
}

static inline void mma_s8(int c[4], const unsigned a[4], const unsigned b[2]) {
  unsigned mine[6] = {a[0], a[1], a[2], a[3], b[0], b[1]};
  auto all = simt::board(mine, sizeof mine);
  auto byte = [&](unsigned l, unsigned r, unsigned i) { return (int)((const signed char *)all[l])[4 * r + i]; };
  unsigned g = simt::lane() / 4, t = simt::lane() % 4;
  for (unsigned i = 0; i < 4; i++) {
    unsigned row = g + i / 2 * 8, col = 2 * t + i % 2, s = 0;
    for (unsigned k = 0; k < 32; k++)
      s += (unsigned)(byte(row % 8 * 4 + k % 16 / 4, row / 8 + k / 16 * 2, k % 4) * byte(col * 4 + k % 16 / 4, 4 + k / 16, k % 4));
    c[i] = (int)((unsigned)c[i] + s);
  }
}

typedef uintptr_t shared_at;
static inline shared_at shared_address(const void *p) { return (shared_at)p; }

template <bool trans> static inline void load_matrix_x4(unsigned r[4], shared_at row) {
  auto all = simt::board(&row, sizeof row);
  unsigned g = simt::lane() / 4, t = simt::lane() % 4;
  auto element = [&](unsigned matrix, unsigned i, unsigned k) { return (unsigned)((const unsigned short *)all[8 * matrix + i][0])[k]; };
  for (unsigned j = 0; j < 4; j++)
    r[j] = trans ? element(j, 2 * t, g) | element(j, 2 * t + 1, g) << 16 : element(j, g, 2 * t) | element(j, g, 2 * t + 1) << 16;
}

static inline void copy_async16(shared_at shared, const void *global, bool valid) { simt::copy_later((void *)shared, global, valid); }
static inline void copy_async_commit() { simt::commit_copies(); }
template <int n> static inline void copy_async_wait() { simt::finish_copies(n); }

static inline float exp2_approx(float x) { return x < -126.f ? 0.f : exp2f(x); }
