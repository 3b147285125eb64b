// Shared by the elementwise, shape and index kernels: op codes and loops over strided operands.
#pragma once
#include "rg.h"

// RG_CHUNK is the number of elements that one parallel task covers; shorter loops run on the caller.
enum { RG_CHUNK = 16384, RG_ND = 8 };

// Storage types that elementwise kernels read and write; arithmetic is f32.
enum { RG_F32 = 0, RG_BF16 = 1 };

enum {
  RG_U_NEG, RG_U_ABS, RG_U_SQRT, RG_U_RSQRT, RG_U_EXP, RG_U_LOG, RG_U_RELU, RG_U_SILU, RG_U_TANH, RG_U_SIGMOID,
  RG_U_ERF, RG_U_SQUARE, RG_U_SIGN, RG_U_FLOOR, RG_U_CEIL, RG_U_ROUND, RG_U_RECIPROCAL, RG_U_SOFTPLUS,
  RG_U_GELU_ERF, RG_U_GELU_TANH, RG_U_CLIP,
};
// Codes from RG_B_EQ on write bytes (Bool).
enum {
  RG_B_ADD, RG_B_SUB, RG_B_MUL, RG_B_DIV, RG_B_MAXIMUM, RG_B_MINIMUM, RG_B_RELU_GRAD, RG_B_SILU_GRAD,
  RG_B_GELU_ERF_GRAD, RG_B_GELU_TANH_GRAD, RG_B_POW,
  RG_B_EQ, RG_B_NE, RG_B_LT, RG_B_LE, RG_B_GT, RG_B_GE,
};

// A loop nest over operands: dim[nd-1] is innermost; s[o] holds operand o's strides in elements.
typedef struct {
  int32_t nd;
  int64_t dim[RG_ND], s[4][RG_ND];
} rg_loop;

// y[i] = f(x[i]) for i < n; lo and hi are clip's limits.
void rg_unary(int op, int dt, const void *x, void *y, long n, float lo, float hi);
// y = f(a, b) over a loop whose operands are y (contiguous), a, b with innermost strides 0 or 1.
void rg_binary(int op, int dt, const rg_loop *l, const void *a, const void *b, void *y);
// y = c ? a : b for elements of 4 bytes; the operands are y (contiguous), c, a, b.
void rg_where(const rg_loop *l, const uint8_t *c, const void *a, const void *b, void *y);
// Rows of gate|up (2f) to rows of f; and gate|up, dy to d(gate|up).
void rg_swiglu(int dt, const void *x, void *y, long rows, long f);
void rg_swiglu_grad(int dt, const void *x, const void *dy, void *dx, long rows, long f);

void rg_fill(void *y, int size, uint64_t bits, long n);
void rg_copy(void *y, const void *x, long bytes);
// Conversions; codes are tensor.DType's numbers. Returns 0 where the pair is not covered (with n = 0 to ask).
int rg_cast(int from, int to, const void *x, void *y, long n);
