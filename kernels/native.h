// Calls of C functions, bound to their argument.
#pragma once

typedef void (*rg_call_fn)(const void *arg);
struct rg_group;
typedef struct {
  rg_call_fn fn;
  const void *arg;
  const struct rg_group *group; // NULL, or one call in place of this and the next ones
} rg_call;
typedef struct rg_group {
  rg_call_fn fn;
  const void *arg;
  long count; // calls that it stands for
} rg_group;

static inline void rg_run_list(const rg_call *list, long n) {
  for (long i = 0; i < n;) {
    const rg_group *group = list[i].group;
    if (group && i + group->count <= n) {
      group->fn(group->arg);
      i += group->count;
    } else {
      list[i].fn(list[i].arg);
      i++;
    }
  }
}
