//go:build cgo

// CPU detection, the thread pool and scratch memory behind rg.h.
#define _GNU_SOURCE
#include "rg.h"
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int rg_isa = RG_GENERIC;

// --- instruction sets ---------------------------------------------------------------------------------------------
#ifdef __x86_64__
#include <cpuid.h>

// xcr0 returns the register state that the operating system saves.
static uint64_t xcr0(void) {
  uint32_t lo, hi;
  __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
  return (uint64_t)hi << 32 | lo;
}

// amx_usable: AMX needs the CPU's tiles and bf16 products (CPUID leaf 7, EDX bits 24 and 22), an operating system that
// saves tile state (XCR0 bits 17 and 18), and the process's permission to use it (Linux 5.16, arch_prctl(2)).
static int amx_usable(void) {
  unsigned a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE) || !__get_cpuid_count(7, 0, &a, &b, &c, &d)) return 0;
  if (!(d >> 24 & 1) || !(d >> 22 & 1) || (xcr0() >> 17 & 3) != 3) return 0;
  if (!__get_cpuid_count(7, 1, &a, &b, &c, &d) || !(a >> 5 & 1)) return 0; // AVX512_BF16, for packing
  enum { ARCH_REQ_XCOMP_PERM = 0x1023, XTILEDATA = 18 };
  return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XTILEDATA) == 0;
}

static int detect(void) {
  __builtin_cpu_init(); // its answers include the operating system's support for ymm and zmm state
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return RG_GENERIC;
  if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") || !__builtin_cpu_supports("avx512vl") ||
      !__builtin_cpu_supports("avx512dq") || !__builtin_cpu_supports("avx512cd"))
    return RG_AVX2;
  return amx_usable() ? RG_AMX : RG_AVX512;
}
static inline void relax(void) { __builtin_ia32_pause(); }
#else
static int detect(void) { return RG_GENERIC; }
static inline void relax(void) { __asm__ volatile("" ::: "memory"); }
#endif

// --- the pool -----------------------------------------------------------------------------------------------------
// A job's indices are dealt out in equal stretches, one a thread: the same thread, and so most likely the same core, gets the
// same part of a tensor in every kernel and every step, and finds it in its second-level cache. A thread that is through
// takes over what is left of another's stretch, from its end.
//
// What is left of a stretch is one word: the job's number in the upper half, then the first unit and the end. Threads
// take an index by compare-and-swap, so one that looks at an old job can never take an index of the new one; while the
// caller writes the next job's fields all stretches are empty. Long jobs are dealt out in units of several indices.
enum { SPIN_NS = 80000 }; // about what a futex sleep and wake-up cost together; kernels follow each other faster
#define MOST_UNITS UINT16_MAX

typedef void (*task_fn)(void *, long);
typedef struct {
  _Alignas(64) _Atomic uint64_t left;
  _Atomic long base; // the first index
} stretch;
static struct {
  _Alignas(64) _Atomic(task_fn) fn;
  _Atomic(void *) ctx;
  _Atomic long n;
  _Atomic long unit; // indices in a unit
  _Atomic uint32_t units;
  stretch *stretches; // of each thread, the caller first
  _Alignas(64) _Atomic uint32_t done; // units finished; the caller's futex
  _Atomic uint32_t caller_sleeps;
  _Alignas(64) _Atomic uint32_t wake; // the workers' futex
  _Atomic uint32_t sleepers, stop;
  uint32_t job;
  _Atomic int threads;
  int spin;
  pthread_t *workers;
  pthread_mutex_t owner; // held by the caller of the running job
} pool = {.threads = 1, .owner = PTHREAD_MUTEX_INITIALIZER};

static _Thread_local int inside; // this thread is running a task

static long futex(_Atomic uint32_t *at, int op, uint32_t val) {
  return syscall(SYS_futex, (uint32_t *)at, op | FUTEX_PRIVATE_FLAG, val, NULL, NULL, 0);
}
static int64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000ll + t.tv_nsec;
}

static uint64_t stretch_of(uint32_t job, uint32_t from, uint32_t to) { return (uint64_t)job << 32 | from << 16 | to; }
static int empty(uint64_t left) { return (uint16_t)(left >> 16) >= (uint16_t)left; }

// run_next runs a unit of thread t's stretch, the first or the last; 0 where none is left.
static int run_next(int t, int last) {
  uint64_t left = atomic_load(&pool.stretches[t].left);
  while (!empty(left)) {
    task_fn fn = atomic_load_explicit(&pool.fn, memory_order_relaxed);
    void *ctx = atomic_load_explicit(&pool.ctx, memory_order_relaxed);
    long n = atomic_load_explicit(&pool.n, memory_order_relaxed);
    long unit = atomic_load_explicit(&pool.unit, memory_order_relaxed);
    long base = atomic_load_explicit(&pool.stretches[t].base, memory_order_relaxed);
    if (!atomic_compare_exchange_weak(&pool.stretches[t].left, &left, last ? left - 1 : left + (1 << 16))) continue;
    long i = base + (last ? (uint16_t)left - 1 : (uint16_t)(left >> 16)) * unit;
    for (long end = rg_min(n, i + unit); i < end; i++) fn(ctx, i);
    return 1;
  }
  return 0;
}

// run_units runs units of the open job until none is left: those of this thread's stretch first.
static void run_units(int self) {
  uint32_t count = 0;
  for (int t = 0; t < pool.threads; t++) {
    int victim = self + t < pool.threads ? self + t : self + t - pool.threads;
    while (run_next(victim, t > 0)) count++;
  }
  if (count == 0) return;
  uint32_t all = atomic_load_explicit(&pool.units, memory_order_relaxed); // before the job can end
  if (atomic_fetch_add(&pool.done, count) + count == all && atomic_load(&pool.caller_sleeps)) futex(&pool.done, FUTEX_WAKE, 1);
}

// work_left: the open job has an index to take.
static int work_left(void) {
  for (int t = 0; t < pool.threads; t++)
    if (!empty(atomic_load(&pool.stretches[t].left))) return 1;
  return 0;
}

static void *worker(void *arg) {
  int self = (int)(intptr_t)arg;
  inside = 1;
  while (!atomic_load(&pool.stop)) {
    run_units(self);
    int64_t end = pool.spin ? now_ns() + SPIN_NS : 0;
    do {
      for (int i = 0; i < 32 && !work_left(); i++) relax();
    } while (!work_left() && pool.spin && now_ns() < end && !atomic_load(&pool.stop));
    if (work_left()) continue;
    uint32_t seen = atomic_load(&pool.wake);
    atomic_fetch_add(&pool.sleepers, 1); // before the last look, so that a caller who published since sees it
    if (!work_left() && !atomic_load(&pool.stop)) futex(&pool.wake, FUTEX_WAIT, seen);
    atomic_fetch_sub(&pool.sleepers, 1);
  }
  return NULL;
}

static void wake_workers(uint32_t count) {
  if (atomic_load(&pool.sleepers) == 0) return;
  atomic_fetch_add(&pool.wake, 1);
  futex(&pool.wake, FUTEX_WAKE, count);
}

static void resize(int threads) {
  if (threads < 1) threads = 1;
  if (threads == pool.threads) return;
  atomic_store(&pool.stop, 1);
  atomic_fetch_add(&pool.wake, 1);
  futex(&pool.wake, FUTEX_WAKE, INT_MAX);
  for (int i = 1; i < pool.threads; i++) pthread_join(pool.workers[i], NULL);
  pool.threads = 1;
  free(pool.workers);
  free(pool.stretches);
  atomic_store(&pool.stop, 0);
  pool.workers = calloc((size_t)threads, sizeof(pthread_t));
  pool.stretches = aligned_alloc(64, (size_t)threads * sizeof(stretch));
  if (!pool.workers || !pool.stretches) return; // fewer threads are slower, not wrong
  memset(pool.stretches, 0, (size_t)threads * sizeof(stretch));
  pool.spin = threads <= sysconf(_SC_NPROCESSORS_ONLN); // spinning would take a CPU from a thread that works
  // Signals belong to the Go runtime's own threads.
  sigset_t all, old;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &old);
  for (int i = 1; i < threads; i++, pool.threads++)
    if (pthread_create(&pool.workers[i], NULL, worker, (void *)(intptr_t)i) != 0) break;
  pthread_sigmask(SIG_SETMASK, &old, NULL);
}

void rg_init(int max_isa, int threads) {
  pthread_mutex_lock(&pool.owner);
  int isa = detect();
  rg_isa = isa < max_isa ? isa : max_isa;
  resize(threads);
  pthread_mutex_unlock(&pool.owner);
}

int rg_threads(void) { return pool.threads; }

// deal gives every thread its stretch of a job of n indices and returns the number of units.
static uint32_t deal(long n, task_fn fn, void *ctx) {
  long threads = pool.threads, unit = rg_ceil_div(n, threads * MOST_UNITS), units = rg_ceil_div(n, unit);
  atomic_store_explicit(&pool.fn, fn, memory_order_relaxed);
  atomic_store_explicit(&pool.ctx, ctx, memory_order_relaxed);
  atomic_store_explicit(&pool.n, n, memory_order_relaxed);
  atomic_store_explicit(&pool.unit, unit, memory_order_relaxed);
  atomic_store_explicit(&pool.units, (uint32_t)units, memory_order_relaxed);
  atomic_store(&pool.done, 0);
  pool.job++;
  for (long t = 0; t < threads; t++) {
    long from = units * t / threads, to = units * (t + 1) / threads;
    pool.stretches[t].base = from * unit;
    atomic_store(&pool.stretches[t].left, stretch_of(pool.job, 0, (uint32_t)(to - from)));
  }
  return (uint32_t)units;
}

void rg_parallel(long n, void (*fn)(void *, long), void *ctx) {
  if (n <= 1 || n > UINT32_MAX || pool.threads == 1 || inside || pthread_mutex_trylock(&pool.owner) != 0) {
    for (long i = 0; i < n; i++) fn(ctx, i);
    return;
  }
  inside = 1;
  uint32_t units = deal(n, fn, ctx);
  wake_workers((uint32_t)rg_min(n - 1, pool.threads - 1));
  run_units(0);
  int64_t end = now_ns() + SPIN_NS;
  uint32_t done;
  while ((done = atomic_load(&pool.done)) != units) {
    for (int i = 0; i < 32 && atomic_load(&pool.done) != units; i++) relax();
    if (pool.spin && now_ns() < end) continue;
    atomic_store(&pool.caller_sleeps, 1);
    done = atomic_load(&pool.done);
    if (done != units) futex(&pool.done, FUTEX_WAIT, done);
    atomic_store(&pool.caller_sleeps, 0);
  }
  inside = 0;
  pthread_mutex_unlock(&pool.owner);
}

// --- scratch ------------------------------------------------------------------------------------------------------
enum { SLOTS = 8 };
typedef struct { void *at; size_t size; } block;
static pthread_key_t scratch_key;
static pthread_once_t scratch_once = PTHREAD_ONCE_INIT;
static _Thread_local block *scratch;

static void scratch_free(void *p) {
  block *b = p;
  for (int i = 0; i < SLOTS; i++) free(b[i].at);
  free(b);
}
static void scratch_make_key(void) { pthread_key_create(&scratch_key, scratch_free); }

static void *out_of_memory(size_t bytes) {
  fprintf(stderr, "ringo: out of memory: %zu bytes of kernel scratch\n", bytes);
  abort();
}

void *rg_scratch(int slot, size_t bytes) {
  if (!scratch) {
    pthread_once(&scratch_once, scratch_make_key);
    scratch = calloc(SLOTS, sizeof(block));
    if (!scratch) return out_of_memory(bytes);
    pthread_setspecific(scratch_key, scratch); // frees the blocks when the thread ends
  }
  block *b = &scratch[slot];
  if (bytes > b->size) {
    bytes = (bytes + bytes / 4 + 4095) & ~(size_t)4095;
    free(b->at);
    b->at = aligned_alloc(4096, bytes); // whole pages: tiles of different blocks never share a line
    b->size = b->at ? bytes : 0;
    if (!b->at) return out_of_memory(bytes);
  }
  return b->at;
}
