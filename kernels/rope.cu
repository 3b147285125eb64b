// Rotary position embedding. The plain version is rope.go. Angles are computed in double, once per position and pair:
// at long positions a float has no digits left for them.
#include "device.cuh"

#define ROPE_THREADS 256

// turns (rows, D/2): cos and sin of position·base^(−2i/D). pos: null for t = row % time, one number that is added to t
// (single), or one per row. sign −1 turns back.
KERNEL(rope_turns, ROPE_THREADS, (const int *pos, float2 *turns, int64_t rows, int time, int half, float base, int single, float sign)) {
  for (int64_t i = first_index(); i < rows * half; i += index_stride()) {
    int64_t row = i / half;
    int pair = (int)(i - row * half);
    double p = (double)(row % time);
    if (pos) p = single ? p + pos[0] : pos[row];
    double angle = p * pow((double)base, -(double)pair / half);
    turns[i] = make_float2((float)cos(angle), sign * (float)sin(angle));
  }
}

// Pair by pair: (a, b) → (a·cos − b·sin, a·sin + b·cos). x, y (tokens, all, 2·half), of which the first `turn` heads are
// turned and the others copied; turns has `period` rows, token's row token % period. y may be x.
template <class T>
DEVICE void rope(const T *x, const float2 *turns, T *y, int64_t tokens, int64_t period, int turn, int all, int half, int interleaved) {
  int64_t per = (int64_t)all * half, n = tokens * per;
  for (int64_t i = first_index(); i < n; i += index_stride()) {
    int64_t token = i / per;
    int rest = (int)(i - token * per), head = rest / half, pair = rest - head * half;
    int64_t a = (token * all + head) * 2 * half + (interleaved ? 2 * pair : pair), b = a + (interleaved ? 1 : half);
    if (head >= turn) {
      if (x != y) {
        y[a] = x[a];
        y[b] = x[b];
      }
      continue;
    }
    float2 t = turns[token % period * half + pair];
    float u = to_float(x[a]), v = to_float(x[b]);
    y[a] = from_float<T>(u * t.x - v * t.y);
    y[b] = from_float<T>(u * t.y + v * t.x);
  }
}

#define ROPE(suffix, T)                                                                                                \
  KERNEL(rope_##suffix, ROPE_THREADS, (const T *x, const float2 *turns, T *y, int64_t tokens, int64_t period, int turn, \
                                       int all, int half, int interleaved)) {                                          \
    rope<T>(x, turns, y, tokens, period, turn, all, half, interleaved);                                                \
  }
ROPE(f32, float)
ROPE(bf16, bf16)
