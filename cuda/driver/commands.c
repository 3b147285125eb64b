//go:build cuda

#include "commands.h"

static CUresult enqueue(const ringo_command *c, CUstream s) {
  switch (c->kind) {
  case RINGO_LAUNCH:
    return cuLaunchKernel(c->function, c->grid[0], c->grid[1], c->grid[2], c->block[0], c->block[1], c->block[2],
                          c->shared, s, c->params, NULL);
  case RINGO_FILL:
    return cuMemsetD8Async(c->dst, (unsigned char)c->value, c->bytes, s);
  case RINGO_COPY:
    return cuMemcpyDtoDAsync(c->dst, c->src, c->bytes, s);
  case RINGO_CALL: {
    int status = c->call(c->what, s);
    return status ? (CUresult)(RINGO_LIBRARY_STATUS + status) : CUDA_SUCCESS;
  }
  }
  return CUDA_ERROR_INVALID_VALUE;
}

static CUresult enqueue_all(const ringo_command *list, long from, long to, CUstream s, long *failed) {
  for (long i = from; i < to; i++) {
    CUresult rc = enqueue(&list[i], s);
    if (rc != CUDA_SUCCESS) {
      *failed = i;
      return rc;
    }
  }
  return CUDA_SUCCESS;
}

// A goroutine may come from any thread: the context is made current first.
CUresult ringo_run_commands(const ringo_command *list, long from, long to, CUcontext ctx, CUstream s, long *failed) {
  CUresult rc = cuCtxSetCurrent(ctx);
  return rc != CUDA_SUCCESS ? rc : enqueue_all(list, from, to, s, failed);
}

CUresult ringo_capture_commands(const ringo_command *list, long from, long to, CUcontext ctx, CUstream s, CUgraphExec *out, long *failed) {
  CUresult rc = cuCtxSetCurrent(ctx);
  if (rc == CUDA_SUCCESS) rc = cuStreamBeginCapture(s, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL);
  if (rc != CUDA_SUCCESS) return rc;
  CUresult recorded = enqueue_all(list, from, to, s, failed);
  CUgraph graph = NULL;
  rc = cuStreamEndCapture(s, &graph); // also after a failure: the stream must leave capture
  if (recorded != CUDA_SUCCESS) rc = recorded;
  if (rc == CUDA_SUCCESS) rc = cuGraphInstantiateWithFlags(out, graph, 0);
  if (graph) cuGraphDestroy(graph);
  return rc;
}

CUresult ringo_replay(CUgraphExec graph, CUcontext ctx, CUstream s) {
  CUresult rc = cuCtxSetCurrent(ctx);
  return rc != CUDA_SUCCESS ? rc : cuGraphLaunch(graph, s);
}
