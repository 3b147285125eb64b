// Rotary position embedding. The plain version is rope.go. Angles are computed in double, once per position and pair:
// at long positions a float has no digits left for them.
#include "runs.cuh"
#include "words.cuh"

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
// turned and the others copied; turns has `period` rows, token's row token % period. y may be x. A thread turns W pairs, whole packs
// where halves have them; interleaved pairs come one by one.
template <class T, int W>
DEVICE void rope(const T *x, const float2 *turns, T *y, int64_t tokens, int64_t period, int turn, int all, int half, int interleaved) {
  int64_t per = (int64_t)all * (half / W), n = tokens * per;
  for (int64_t i = first_index(); i < n; i += index_stride()) {
    int64_t token, rest, row, q;
    split(i, per, token, rest);
    split(token, period, q, row);
    int head = (int)rest / (half / W), pair = ((int)rest - head * (half / W)) * W;
    int64_t a = (token * all + head) * 2 * half + (interleaved ? 2 * pair : pair), b = a + (interleaved ? 1 : half);
    if (head >= turn && x == y) continue;
    float u[W], v[W];
    load_run<W>(u, x + a);
    load_run<W>(v, x + b);
    if (head < turn) {
#pragma unroll
      for (int k = 0; k < W; k++) {
        float2 t = turns[row * half + pair + k];
        float turned = u[k] * t.x - v[k] * t.y;
        v[k] = u[k] * t.y + v[k] * t.x;
        u[k] = turned;
      }
    }
    store_run<W>(y + a, u);
    store_run<W>(y + b, v);
  }
}

#define ROPE(suffix, T)                                                                                                \
  KERNEL(rope_##suffix, ROPE_THREADS, (const T *x, const float2 *turns, T *y, int64_t tokens, int64_t period, int turn, \
                                       int all, int half, int interleaved)) {                                          \
    if (interleaved || half % Pack<T>::n)                                                                              \
      rope<T, 1>(x, turns, y, tokens, period, turn, all, half, interleaved);                                           \
    else                                                                                                               \
      rope<T, Pack<T>::n>(x, turns, y, tokens, period, turn, all, half, 0);                                            \
  }
ROPE(f32, float)
ROPE(bf16, bf16)
