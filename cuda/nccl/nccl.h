// NCCL, bound with dlopen. Result codes and types are those of nccl.h.
#ifndef RINGO_CUDA_NCCL_H
#define RINGO_CUDA_NCCL_H

#include <cuda.h>
#include <stddef.h>
#include <stdint.h>

enum { RINGO_NCCL_OK = 0, RINGO_NCCL_IN_PROGRESS = 7 };           // ncclResult_t
enum { RINGO_NCCL_F32 = 7, RINGO_NCCL_BF16 = 9 };                 // ncclDataType_t

typedef struct { char bytes[128]; } ringo_nccl_id; // ncclUniqueId

// ringo_nccl_bind takes the functions of a library that was loaded and returns its version, 0 where one is missing.
int ringo_nccl_bind(void *library);
const char *ringo_nccl_why(void);

int ringo_nccl_new_id(ringo_nccl_id *id);
// ringo_nccl_init begins to make a nonblocking communicator on the current device.
int ringo_nccl_init(void **comm, int size, const ringo_nccl_id *id, int rank);
// ringo_nccl_state is how far the last call is, or what went wrong since.
int ringo_nccl_state(void *comm);
// ringo_nccl_sum enqueues the sum of n elements at `at` over all ranks, in place.
int ringo_nccl_sum(void *comm, uint64_t at, size_t n, int type, CUstream s);
int ringo_nccl_finalize(void *comm);
int ringo_nccl_destroy(void *comm);
int ringo_nccl_abort(void *comm);
// ringo_nccl_text explains a result code, with what the library last said where it can tell.
void ringo_nccl_text(int rc, void *comm, char *text, size_t size);

#endif
