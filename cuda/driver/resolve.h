// Which library the driver's functions come from; see resolve.c.
#ifndef RINGO_CUDA_RESOLVE_H
#define RINGO_CUDA_RESOLVE_H

// ringo_cuda_open loads the driver library and calls its cuInit. An empty path means the usual names.
// It returns the driver's result, 100 (no device) where no library loads; the reason is in ringo_cuda_why.
int ringo_cuda_open(const char *path);

// ringo_cuda_why says in words why the last ringo_cuda_open failed, "" where it did not.
const char *ringo_cuda_why(void);

#endif
