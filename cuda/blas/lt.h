// Matrix products by cuBLASLt, bound with dlopen. Only functions that create, set and destroy are used: the opaque
// structures change their size between versions.
#ifndef RINGO_CUDA_LT_H
#define RINGO_CUDA_LT_H

#include <cuda.h>
#include <stddef.h>
#include <stdint.h>

// A product as the library sees it, column-major: D (m,n) = epilogue(alpha·op(A)·op(B) + beta·C), C laid out as D.
typedef struct {
  int m, n, k, batch;
  int trans_a, trans_b;
  int in, out;      // cudaDataType of A and B; of C
  int compute;      // cublasComputeType_t
  int epilogue;     // cublasLtEpilogue_t
  int64_t lda, ldb, ldc, step_a, step_b, step_c;
  uint64_t a, b, c, d, bias, aux; // aux is laid out as D
  float alpha, beta;
} ringo_product;

// One way to compute a product, as the library returns it: 96 bytes in versions 11 to 13.
typedef struct {
  uint64_t algo[8];
  size_t workspace;
  int state;
  float waves;
  int reserved[4];
} ringo_algorithm;

typedef struct ringo_plan ringo_plan;

// ringo_lt_bind takes the functions of a library that was loaded and returns its version, 0 where one is missing.
size_t ringo_lt_bind(void *library);
const char *ringo_lt_why(void);

// ringo_lt_handle makes a handle for the device of the current context, NULL where the library refuses; one serves one
// device. ringo_lt_close frees it.
void *ringo_lt_handle(void);
void ringo_lt_close(void *handle);

// ringo_plan_new makes the descriptors; NULL where the library refuses them. workspace is device memory.
ringo_plan *ringo_plan_new(void *handle, const ringo_product *p, uint64_t workspace, size_t workspace_bytes);
void ringo_plan_free(ringo_plan *p);

// ringo_plan_ask fills up to max algorithms, best first by the library's estimate, and returns how many.
int ringo_plan_ask(ringo_plan *p, ringo_algorithm *out, int max);
void ringo_plan_use(ringo_plan *p, const ringo_algorithm *a);

// ringo_plan_time returns the shortest of `runs` times in milliseconds, negative where the algorithm fails.
float ringo_plan_time(ringo_plan *p, CUstream s, int runs);

// ringo_plan_run enqueues the product; 0 on success. Its type is that of RINGO_CALL.
int ringo_plan_run(void *plan, CUstream s);

#endif
