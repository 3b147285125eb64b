//go:build cuda

#include "nccl.h"
#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>

// The configuration as it was when nonblocking communicators came, in NCCL 2.14. Newer versions take it: what it lacks
// gets their defaults, by `version`.
typedef struct {
  size_t size;
  unsigned magic, version;
  int blocking;
  int rest; // cgaClusterSize in newer versions
} config;
enum { MAGIC = 0xcafebeef, FIRST = 21400, UNDEFINED = INT_MIN, SUM = 0 };

static struct {
  int (*get_version)(int *);
  int (*new_id)(ringo_nccl_id *);
  int (*init)(void **, int, ringo_nccl_id, int, config *); // the id goes by value
  int (*async_error)(void *, int *);
  int (*all_reduce)(const void *, void *, size_t, int, int, void *, CUstream);
  int (*finalize)(void *), (*destroy)(void *), (*abort)(void *);
  const char *(*error_string)(int);
  const char *(*last_error)(void *); // optional
} nccl;
static char why[512];

int ringo_nccl_bind(void *library) {
  const struct { void **f; const char *name; } all[] = {
      {(void **)&nccl.get_version, "ncclGetVersion"}, {(void **)&nccl.new_id, "ncclGetUniqueId"},
      {(void **)&nccl.init, "ncclCommInitRankConfig"}, {(void **)&nccl.async_error, "ncclCommGetAsyncError"},
      {(void **)&nccl.all_reduce, "ncclAllReduce"}, {(void **)&nccl.finalize, "ncclCommFinalize"},
      {(void **)&nccl.destroy, "ncclCommDestroy"}, {(void **)&nccl.abort, "ncclCommAbort"},
      {(void **)&nccl.error_string, "ncclGetErrorString"},
  };
  for (size_t i = 0; i < sizeof all / sizeof *all; i++)
    if (!(*all[i].f = dlsym(library, all[i].name)))
      return snprintf(why, sizeof why, "the library has no %s: NCCL 2.14 or newer is needed", all[i].name), 0;
  *(void **)&nccl.last_error = dlsym(library, "ncclGetLastError");
  int v = 0, rc = nccl.get_version(&v);
  if (rc) return snprintf(why, sizeof why, "ncclGetVersion failed with result %d", rc), 0;
  if (v < FIRST) return snprintf(why, sizeof why, "the library's version code is %d: NCCL 2.14 (%d) or newer is needed", v, FIRST), 0;
  return v;
}

const char *ringo_nccl_why(void) { return why; }

int ringo_nccl_new_id(ringo_nccl_id *id) { return nccl.new_id(id); }

int ringo_nccl_init(void **comm, int size, const ringo_nccl_id *id, int rank) {
  config c = {sizeof c, MAGIC, FIRST, 0, UNDEFINED};
  return nccl.init(comm, size, *id, rank, &c);
}

int ringo_nccl_state(void *comm) {
  int state = 0, rc = nccl.async_error(comm, &state);
  return rc ? rc : state;
}

int ringo_nccl_sum(void *comm, uint64_t at, size_t n, int type, CUstream s) {
  return nccl.all_reduce((void *)at, (void *)at, n, type, SUM, comm, s);
}

int ringo_nccl_finalize(void *comm) { return nccl.finalize(comm); }
int ringo_nccl_destroy(void *comm) { return nccl.destroy(comm); }
int ringo_nccl_abort(void *comm) { return nccl.abort(comm); }

void ringo_nccl_text(int rc, void *comm, char *text, size_t size) {
  const char *more = nccl.last_error ? nccl.last_error(comm) : NULL;
  snprintf(text, size, more && *more ? "%s (%s)" : "%s", nccl.error_string(rc), more);
}
