// Matrix products for every kernel of this folder: one description, run in parallel or by the calling thread.
//
//   C = act(op(A)·op(B) + bias) ∘ dact'(dact_pre) + residual + beta·C,   pre = op(A)·op(B) + bias
//
// Zero-initialise the structure and set what is used: rg_gemm g = {.m = m, .n = n, .k = k, ...}; batch 0 means 1.
// Sums are accumulated in f32. Every bit of C follows from the description, the data and the instruction set alone:
// never from the number of threads, from which of the two entry points ran it, or from its place in a batch.
#pragma once
#include "rg.h"

// Factors may be rounded to bf16 (RG_GEMM_BF16) or must count in full (RG_GEMM_F32).
enum { RG_GEMM_F32 = 0, RG_GEMM_BF16 = 1 };
// Activations of the epilogue; gelu_tanh is the tanh form, gelu the exact one.
// slope, as dact: dact_pre is the derivative itself.
enum { RG_ACT_NONE = 0, RG_ACT_RELU = 1, RG_ACT_GELU_TANH = 2, RG_ACT_GELU = 3, RG_ACT_SILU = 4, RG_ACT_SLOPE = 5 };

struct rg_update;

typedef struct rg_gemm {
  long m, n, k, batch;
  // a is (m,k) with row stride lda, or (k,m) where ta; b is (k,n), or (n,k) where tb. Element type f32, or bf16 where
  // a_bf16, b_bf16. Strides count elements; item i of the batch starts at i·stride_a (0 repeats one matrix), or at
  // a_off[i], b_off[i] where those are given.
  const void *a;
  long lda, stride_a;
  const long *a_off;
  int ta, a_bf16;
  const void *b;
  long ldb, stride_b;
  const long *b_off;
  int tb, b_bf16;
  int b_blocks; // b is a matrix in blocks, gemm_blocks.h, (k,n) or (n,k) as tb says; precision must be bf16 and the CPU have AMX
  // c, pre, dact_pre and residual share row stride ldc, batch stride stride_c and element type (bf16 where c_bf16).
  // residual may be c itself.
  void *c;
  long ldc, stride_c;
  int c_bf16;
  const void *bias; // (n), or (m) where bias_rows; NULL for none. The same for the whole batch.
  int bias_bf16, bias_rows;
  int act;              // RG_ACT_*
  void *pre;            // NULL, or where the sums before act are kept,
  int slope;            // or act' there
  const void *dact_pre; // NULL, or the pre whose activation's derivative multiplies the product
  int dact;             // RG_ACT_*, of dact_pre
  const void *residual; // NULL, or what is added after act
  float *b_sums;        // NULL, or where the sums of b's rows, n of them, are written too: only by products of rg_gemm_adds_rows
  float beta;           // c's old contents count this much; 0 never reads c
  int precision;        // RG_GEMM_*
  const struct rg_update *update; // NULL, or c is a parameter and the product its gradient: gemm_update.h
} rg_gemm;

// rg_gemm_run uses the pool's threads; not from inside an rg_parallel task.
void rg_gemm_run(const rg_gemm *g);
// rg_gemm_serial uses the calling thread only; meant for rg_parallel tasks. It uses scratch slots 0–3.
void rg_gemm_serial(const rg_gemm *g);

// rg_gemm_adds_rows says whether a product C = Aᵀ·B can write b_sums.
int rg_gemm_adds_rows(const rg_gemm *g);

// rg_gemm_f32_path makes f32 products use multiply-add (0), AMX where the CPU has it (1), or what suits their shape (−1,
// the default), as the environment variable RINGO_F32=fma or amx does. For tests; no product may be running.
void rg_gemm_f32_path(int path);
// rg_gemm_peak_work runs the microkernel of a precision on panels that stay in the first-level cache, on every thread, and
// returns the floating-point operations done.
double rg_gemm_peak_work(int precision, long repeats);
