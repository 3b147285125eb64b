// What the attention kernels are told. Element (b,t,h,d) of an operand lies at
// p[b·batch + t·row + h·D + d], so that packed and separate tensors are one case.
#pragma once
#include "rg.h"

typedef struct {
  long B, T, S, H, KV, D; // batch, queries, keys, query heads, key/value heads, elements per head
  long causal;            // query t sees keys s ≤ t + S − T
  float scale;
  const float *q, *k, *v;
  long q_row, q_batch, kv_row, kv_batch;
  float *y;   // (B,T,H,D), read by the gradient
  float *lse; // (B,H,T), may be null on the way forward
  // Gradient only; dq is laid out as q, dk and dv as k.
  const float *dy, *dlse; // (B,T,H,D), and (B,H,T) or null
  float *dq, *dk, *dv;
} rg_attention_args;

void rg_attention(const rg_attention_args *a);
void rg_attention_grad(const rg_attention_args *a);

// rg_attention_cached: q (B,T,H,D) at positions pos[b·pos_step]+t over caches (B,S,KV,D).
void rg_attention_cached(const rg_attention_args *a, const int32_t *pos, long pos_step);
// rg_kv_write copies rows of `row_bytes` bytes: x (B,T,…) into cache (B,S,…) from row pos on; rows outside are dropped.
void rg_kv_write(char *cache, const char *x, const int32_t *pos, long pos_step, long B, long S, long T, long row_bytes);

enum {
  RG_ATTN_TILE = 64, // queries and keys per tile: score tile, key tile and query tile together fill the first-level cache
  RG_ATTN_GRAIN = 16 // masked work is skipped in steps of this; all tile sizes are padded to it
};
