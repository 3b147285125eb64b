// Between the files of the driver of matrix products: one pass, and the tasks that it is cut into.
#pragma once
#include "gemm_update.h"

// A pass multiplies k0…k0+kc−1 of one chunk of the shared factor with one chunk of the other.
typedef struct {
  const rg_gemm *g;
  const rg_kind *kind;
  rg_side shared, own; // op(A) or op(B), both ways
  int shares_a;
  long shared_width, own_width; // of a strip
  long k0, kc, kpad;
  int first, last; // of the passes over k
  int keep;        // tiles are visited several times
  int bare;        // C is the product and nothing else
  long shared0, shared_strips, own0, own_strips; // the chunks
  char *packed;                                  // the shared chunk, NULL where every thread packs one for itself
  float *partial;                                // sums between passes over k, NULL where one pass suffices
  long group;                                    // strips of the shared chunk packed in one task
  long panel, block;                             // strips of own and shared in one task
  uint64_t number;                               // of this pass, in the process
} rg_pass;

RG_SMALL long rg_strip_bytes(const rg_pass *s, long width) { return s->kpad * width * s->kind->bytes; }

// rg_pass_pack packs group `task` of the shared chunk.
void rg_pass_pack(void *pass, long task);

// rg_pass_multiply computes the part of C that is panel task / blocks of own times block task % blocks of shared: it packs the
// panel, then multiplies.
void rg_pass_multiply(void *pass, long task);

// rg_pass_forget says that the calling thread's scratch no longer holds what passes have packed.
void rg_pass_forget(void);
