// Calls of C functions, bound to their argument.
#pragma once

typedef void (*rg_call_fn)(const void *arg);
typedef struct {
  rg_call_fn fn;
  const void *arg;
} rg_call;

static inline void rg_run_list(const rg_call *list, long n) {
  for (long i = 0; i < n; i++) list[i].fn(list[i].arg);
}
