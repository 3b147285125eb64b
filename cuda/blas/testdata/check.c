// What lt.c believes of cuBLASLt, held against NVIDIA's own header, by a compiler with -Werror=cast-function-type: it compares
// the number, size and kind of parameters. With the path of a library as its argument, the program also sets each attribute and
// asks the library for its size.
#define __CUDA_FP16_H__ // cublas_api.h wants two types of the many that these headers bring
#define __CUDA_BF16_H__
typedef struct { unsigned short x; } __half;
typedef struct { unsigned short x; } __nv_bfloat16;
#include <cublasLt.h>
#ifndef ALONE // whether that header has what it needs

#include "../lt.c"
#include <stddef.h>

// The driver is not needed: nothing is timed here.
CUresult cuEventCreate(CUevent *e, unsigned flags) { return (void)e, (void)flags, CUDA_ERROR_NO_DEVICE; }
CUresult cuEventDestroy(CUevent e) { return (void)e, CUDA_ERROR_NO_DEVICE; }
CUresult cuEventRecord(CUevent e, CUstream s) { return (void)e, (void)s, CUDA_ERROR_NO_DEVICE; }
CUresult cuEventSynchronize(CUevent e) { return (void)e, CUDA_ERROR_NO_DEVICE; }
CUresult cuEventElapsedTime(float *ms, CUevent from, CUevent to) { return (void)ms, (void)from, (void)to, CUDA_ERROR_NO_DEVICE; }

#define SAME(ours, theirs) _Static_assert((int)(ours) == (int)(theirs), #ours " is not " #theirs)
SAME(DESC_TRANSA, CUBLASLT_MATMUL_DESC_TRANSA);
SAME(DESC_TRANSB, CUBLASLT_MATMUL_DESC_TRANSB);
SAME(DESC_EPILOGUE, CUBLASLT_MATMUL_DESC_EPILOGUE);
SAME(DESC_BIAS_POINTER, CUBLASLT_MATMUL_DESC_BIAS_POINTER);
SAME(DESC_AUX_POINTER, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER);
SAME(DESC_AUX_LD, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD);
SAME(DESC_AUX_STEP, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_BATCH_STRIDE);
SAME(LAYOUT_BATCH_COUNT, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT);
SAME(LAYOUT_STRIDED_BATCH_OFFSET, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET);
SAME(PREF_MAX_WORKSPACE_BYTES, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES);
SAME(PREF_REDUCTION_SCHEME_MASK, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK);
SAME(PREF_MIN_ALIGNMENT_A, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES);
SAME(PREF_MIN_ALIGNMENT_A + 1, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES);
SAME(PREF_MIN_ALIGNMENT_A + 2, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES);
SAME(PREF_MIN_ALIGNMENT_A + 3, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES);
SAME(REDUCTION_COMPUTE_TYPE, CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE);
SAME(R_32F, CUDA_R_32F);
SAME(0, CUBLAS_OP_N); // trans_a, trans_b
SAME(1, CUBLAS_OP_T);
// The constants of blas.go.
SAME(14, CUDA_R_16BF);
SAME(68, CUBLAS_COMPUTE_32F);
SAME(75, CUBLAS_COMPUTE_32F_FAST_16BF);
SAME(1, CUBLASLT_EPILOGUE_DEFAULT);
SAME(4, CUBLASLT_EPILOGUE_BIAS);
SAME(32, CUBLASLT_EPILOGUE_GELU);
SAME(32 | 4, CUBLASLT_EPILOGUE_GELU_BIAS);
SAME(32 | 128, CUBLASLT_EPILOGUE_GELU_AUX);
SAME(32 | 128 | 4, CUBLASLT_EPILOGUE_GELU_AUX_BIAS);
SAME(64 | 128, CUBLASLT_EPILOGUE_DGELU);
SAME(256, CUBLASLT_EPILOGUE_BGRADA);
SAME(sizeof(ringo_algorithm), sizeof(cublasLtMatmulHeuristicResult_t));
SAME(offsetof(ringo_algorithm, workspace), offsetof(cublasLtMatmulHeuristicResult_t, workspaceSize));
SAME(offsetof(ringo_algorithm, state), offsetof(cublasLtMatmulHeuristicResult_t, state));
SAME(sizeof((ringo_algorithm *)0)->algo, sizeof(cublasLtMatmulAlgo_t));

#define FITS(ours, theirs) (void)(__typeof__(lt.ours))theirs
void functions(void) {
  FITS(create, cublasLtCreate), FITS(destroy, cublasLtDestroy), FITS(version, cublasLtGetVersion);
  FITS(desc_create, cublasLtMatmulDescCreate), FITS(desc_set, cublasLtMatmulDescSetAttribute), FITS(desc_destroy, cublasLtMatmulDescDestroy);
  FITS(layout_create, cublasLtMatrixLayoutCreate), FITS(layout_set, cublasLtMatrixLayoutSetAttribute), FITS(layout_destroy, cublasLtMatrixLayoutDestroy);
  FITS(pref_create, cublasLtMatmulPreferenceCreate), FITS(pref_set, cublasLtMatmulPreferenceSetAttribute), FITS(pref_destroy, cublasLtMatmulPreferenceDestroy);
  FITS(heuristic, cublasLtMatmulAlgoGetHeuristic), FITS(matmul, cublasLtMatmul);
}

// A library: whether every attribute that lt.c sets has the size that it sets.
typedef int (*getter)(const void *, int, void *, size_t, size_t *);
static int bad;
static void sized(void *library, const char *function, const void *object, int attribute, size_t want) {
  size_t size = 0;
  getter get = (getter)dlsym(library, function);
  int rc = get ? get(object, attribute, NULL, 0, &size) : -1;
  if (rc || size != want) bad++, printf("%s: attribute %d has %zu bytes, lt.c sets %zu (status %d)\n", function, attribute, size, want, rc);
}

int main(int argc, char **argv) {
  void *library = argc > 1 ? dlopen(argv[1], RTLD_NOW) : NULL, *desc = NULL, *layout = NULL, *pref = NULL;
  if (!library || !ringo_lt_bind(library)) return printf("%s\n", library ? why : dlerror()), 1;
  if (lt.desc_create(&desc, CUBLAS_COMPUTE_32F, R_32F) || lt.layout_create(&layout, CUDA_R_16BF, 8, 8, 8) || lt.pref_create(&pref))
    return printf("no descriptors\n"), 1;
  for (int i = DESC_TRANSA; i <= DESC_EPILOGUE; i++) sized(library, "cublasLtMatmulDescGetAttribute", desc, i, 4);
  sized(library, "cublasLtMatmulDescGetAttribute", desc, DESC_BIAS_POINTER, 8);
  for (int i = DESC_AUX_POINTER; i <= DESC_AUX_STEP; i++) sized(library, "cublasLtMatmulDescGetAttribute", desc, i, 8);
  sized(library, "cublasLtMatrixLayoutGetAttribute", layout, LAYOUT_BATCH_COUNT, 4);
  sized(library, "cublasLtMatrixLayoutGetAttribute", layout, LAYOUT_STRIDED_BATCH_OFFSET, 8);
  sized(library, "cublasLtMatmulPreferenceGetAttribute", pref, PREF_MAX_WORKSPACE_BYTES, sizeof(size_t));
  sized(library, "cublasLtMatmulPreferenceGetAttribute", pref, PREF_REDUCTION_SCHEME_MASK, 4);
  for (int i = 0; i < 4; i++) sized(library, "cublasLtMatmulPreferenceGetAttribute", pref, PREF_MIN_ALIGNMENT_A + i, 4);
  return bad;
}
#endif
