// Lists of device commands, run or captured in one call from Go.
#ifndef RINGO_CUDA_COMMANDS_H
#define RINGO_CUDA_COMMANDS_H

#include <cuda.h>
#include <stdint.h>

enum { RINGO_LAUNCH, RINGO_FILL, RINGO_COPY, RINGO_CALL };

// What a library's call returned, from here on: the driver's own results are all below.
enum { RINGO_LIBRARY_STATUS = 100000 };

// One command. All memory it points to lives outside the Go heap.
typedef struct {
  uint32_t kind;
  uint32_t grid[3], block[3], shared; // RINGO_LAUNCH
  uint32_t value;                     // RINGO_FILL: the byte
  CUfunction function;
  void **params;
  uint64_t dst, src, bytes;              // RINGO_FILL and RINGO_COPY
  int (*call)(void *what, CUstream s);   // RINGO_CALL: a library's own launch, 0 on success
  void *what;
} ringo_command;

// ringo_run_commands enqueues commands [from,to) on a stream. On failure *failed is the index of the command, and the
// result the driver's, or RINGO_LIBRARY_STATUS and what the library said.
CUresult ringo_run_commands(const ringo_command *list, long from, long to, CUcontext ctx, CUstream s, long *failed);

// ringo_capture_commands records commands [from,to) into a graph and makes it executable.
CUresult ringo_capture_commands(const ringo_command *list, long from, long to, CUcontext ctx, CUstream s, CUgraphExec *out, long *failed);

// ringo_replay enqueues a captured graph.
CUresult ringo_replay(CUgraphExec graph, CUcontext ctx, CUstream s);

#endif
