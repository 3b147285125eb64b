// What nccl.c believes of NCCL, held against NVIDIA's own header, by a compiler with -Werror=cast-function-type: it compares the
// number, size and kind of parameters.
#define __CUDA_FP16_H__ // nccl.h wants no type of these headers
#define __CUDA_BF16_H__
typedef struct { unsigned short x; } __half;
typedef struct { unsigned short x; } __nv_bfloat16;
#include <nccl.h>
#ifndef ALONE // whether that header has what it needs

#include "../nccl.c"
#include <stddef.h>

#define SAME(ours, theirs) _Static_assert((long)(ours) == (long)(theirs), #ours " is not " #theirs)
SAME(RINGO_NCCL_OK, ncclSuccess);
SAME(RINGO_NCCL_IN_PROGRESS, ncclInProgress);
SAME(RINGO_NCCL_F32, ncclFloat32);
SAME(RINGO_NCCL_BF16, ncclBfloat16);
SAME(SUM, ncclSum);
SAME(UNDEFINED, NCCL_CONFIG_UNDEF_INT);
SAME(FIRST, NCCL_VERSION(2, 14, 0));
SAME(sizeof(ringo_nccl_id), sizeof(ncclUniqueId));
// A library copies as many bytes as `size` says, so the first fields must lie where they are in its own.
SAME(offsetof(config, size), offsetof(ncclConfig_t, size));
SAME(offsetof(config, magic), offsetof(ncclConfig_t, magic));
SAME(offsetof(config, version), offsetof(ncclConfig_t, version));
SAME(offsetof(config, blocking), offsetof(ncclConfig_t, blocking));
SAME(offsetof(config, rest), offsetof(ncclConfig_t, cgaClusterSize));

#define FITS(ours, theirs) (void)(__typeof__(nccl.ours))theirs
void functions(ncclComm_t *comm, ncclUniqueId id, ncclConfig_t *c) {
  FITS(get_version, ncclGetVersion), FITS(new_id, ncclGetUniqueId), FITS(async_error, ncclCommGetAsyncError);
  FITS(all_reduce, ncclAllReduce), FITS(finalize, ncclCommFinalize), FITS(destroy, ncclCommDestroy), FITS(abort, ncclCommAbort);
  FITS(error_string, ncclGetErrorString), FITS(last_error, ncclGetLastError);
  ncclCommInitRankConfig(comm, 1, id, 0, c); // in this order; the id by value, as a structure that the cast would not compare
  ncclConfig_t whole = NCCL_CONFIG_INITIALIZER;
  *c = whole;
}
#endif
