// What the attention kernels share: their arguments and which keys a query sees.
#pragma once
#include "reduce.cuh"

#define LOG2_E 1.4426950408889634f
#define LN_2 0.69314718055994531f

// AttentionArgs is laid out as attentionDevice of attention_cuda.go. Element (b,t,h,d) of an operand is at ((b·N + t)·row + h·D + d)
// from its pointer, with N = T for q, y and their gradients, S for k, v and theirs: packed operands point into one array.
struct AttentionArgs {
  const void *q, *k, *v, *dy;
  void *y, *dq, *dk, *dv;
  float *lse;         // (B,H,T), the log of the softmax's denominator; null: not wanted
  const float *dlse;  // (B,H,T) or null
  float *delta;       // (B,H,T), rowsum(dy∘y) − dlse
  const int *pos;     // where query 0 stands in the keys, per sequence or one for all; null: `first` for all
  int64_t q_row, kv_row, y_row;
  int batch, queries, keys, heads, kv_heads, dim;
  int first;    // S − T where causal, S where every query sees every key
  int pos_each; // pos has an entry per sequence
  float scale;
};

// first_of returns where query 0 of sequence b stands; seen_by how many keys query t sees: s ≤ t + first, at least 1.
DEVICE int first_of(const AttentionArgs &p, int b) { return p.pos ? p.pos[p.pos_each ? b : 0] : p.first; }
DEVICE int seen_by(const AttentionArgs &p, int first, int t) {
  int64_t seen = (int64_t)first + t + 1;
  return (int)(seen < 1 ? 1 : seen > p.keys ? p.keys : seen);
}

// One head's rows of an operand with `rows` rows per sequence.
template <class T> DEVICE T *head_rows(const void *x, int64_t row, int rows, int dim, int b, int h) {
  return (T *)x + (int64_t)b * rows * row + (int64_t)h * dim;
}

// exp2 of a difference of scores: −∞ − m gives 0.
DEVICE float weight(float score, float m) { return exp2f(score - m); }
