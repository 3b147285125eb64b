// The CUDA language for g++: kernels compiled with this header run on the software device. A block's threads are
// fibers on one OS thread, run one after another between barriers, so that a missing barrier shows. Kernels
// register themselves by name when the library is loaded.
#pragma once
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __restrict__ __restrict
#define __align__(n) __attribute__((aligned(n)))
#define __shared__ thread_local static // one block at a time per OS thread
#define __constant__ static const

struct dim3 { unsigned x = 1, y = 1, z = 1; };
struct alignas(8) float2 { float x, y; };
struct alignas(16) float4 { float x, y, z, w; };
struct alignas(8) uint2 { unsigned x, y; };
struct alignas(16) uint4 { unsigned x, y, z, w; };
struct alignas(8) int2 { int x, y; };
struct alignas(16) int4 { int x, y, z, w; };
static inline float2 make_float2(float x, float y) { return {x, y}; }
static inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
static inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
static inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
static inline int4 make_int4(int x, int y, int z, int w) { return {x, y, z, w}; }

namespace simt {

// Thread is one CUDA thread of the block that runs.
struct Thread {
  void *stack;      // saved stack pointer of its fiber
  dim3 index;
  unsigned linear;  // index in the block
  bool done;
  unsigned slot;    // which exchange buffer its next shuffle uses
  unsigned mask;    // lanes that it waits for at a warp barrier
  unsigned waiting; // for: 0 nothing, 1 the block, 2 its warp
};

// Block is what the fibers of one block share.
struct Block {
  Thread *current;
  dim3 index, size, grid;
  char *dynamic;               // dynamic shared memory
  uint64_t exchange[2][1024];  // one slot per thread for warp shuffles, used in turn
};
extern thread_local Block *block;

void wait_block();              // __syncthreads
void wait_warp(unsigned mask);  // __syncwarp

// Asynchronous copies of 16 bytes (cp.async) arrive when their thread waits for their group, and not before.
void copy_later(void *to, const void *from, bool valid);
void commit_copies();
void finish_copies(unsigned left); // until at most so many groups are under way

// Kernel is a registered kernel and how to call it with a driver's array of parameter addresses.
struct Kernel {
  const char *name;
  unsigned threads; // largest block
  void *function;
  void (*invoke)(void *function, void **params);
  unsigned count;
  const unsigned *sizes; // of the parameters
  template <class... A> Kernel(const char *name, unsigned threads, void (*f)(A...));
};
void enlist(Kernel *k);

template <class... A, size_t... I> void apply(void *f, void **p, std::index_sequence<I...>) {
  (void)p;
  ((void (*)(A...))f)(*(typename std::remove_cv<A>::type *)p[I]...);
}
template <class... A> Kernel::Kernel(const char *name, unsigned threads, void (*f)(A...)) : name(name), threads(threads), function((void *)f), count(sizeof...(A)) {
  static const unsigned table[] = {(unsigned)sizeof(A)..., 0};
  sizes = table;
  invoke = [](void *f, void **p) { apply<A...>(f, p, std::index_sequence_for<A...>{}); };
  enlist(this);
}

// exchange publishes v, waits for the lanes of mask, and returns the value of thread `from`. Two buffers in
// turn make one barrier per exchange enough.
template <class T> T exchange(T v, unsigned from, unsigned mask) {
  static_assert(sizeof(T) <= 8, "shuffles move up to 8 bytes");
  Thread *me = block->current;
  unsigned slot = me->slot ^= 1;
  memcpy(&block->exchange[slot][me->linear], &v, sizeof v);
  wait_warp(mask);
  if (mask >> (from & 31) & 1)
    memcpy(&v, &block->exchange[slot][from], sizeof v);
  else
    memset((void *)&v, 0xFF, sizeof v); // a lane outside the mask: undefined
  return v;
}

static inline unsigned lane() { return block->current->linear & 31; }
static inline unsigned warp_start() { return block->current->linear & ~31u; }

} // namespace simt

#define KERNEL(name, threads, args)                          \
  static void name args;                                     \
  static simt::Kernel kernel_##name(#name, threads, name);   \
  static void name args
#define KERNEL_BLOCKS(name, threads, blocks, args) KERNEL(name, threads, args)
#define DYN_SHARED(T, name) T *name = (T *)simt::block->dynamic

#define threadIdx (simt::block->current->index)
#define blockIdx (simt::block->index)
#define blockDim (simt::block->size)
#define gridDim (simt::block->grid)
constexpr int warpSize = 32;

static inline void __syncthreads() { simt::wait_block(); }
static inline void __syncwarp(unsigned mask = ~0u) { simt::wait_warp(mask); }
static inline void __threadfence() {}
static inline void __threadfence_block() {}

template <class T> T __shfl_sync(unsigned mask, T v, int from, int width = 32) {
  return simt::exchange(v, simt::warp_start() + simt::lane() / width * width + (unsigned)from % width, mask);
}
template <class T> T __shfl_xor_sync(unsigned mask, T v, int x, int width = 32) {
  unsigned l = simt::lane(), s = l ^ x;
  return simt::exchange(v, simt::warp_start() + (s / width == l / width ? s : l), mask);
}
template <class T> T __shfl_down_sync(unsigned mask, T v, unsigned d, int width = 32) {
  unsigned l = simt::lane(), s = l + d;
  return simt::exchange(v, simt::warp_start() + (s / width == l / width ? s : l), mask);
}
template <class T> T __shfl_up_sync(unsigned mask, T v, unsigned d, int width = 32) {
  unsigned l = simt::lane();
  return simt::exchange(v, simt::warp_start() + (l % width < d ? l : l - d), mask);
}
static inline unsigned __ballot_sync(unsigned mask, int predicate) {
  simt::Thread *me = simt::block->current;
  unsigned slot = me->slot ^= 1, base = simt::warp_start(), bits = 0;
  simt::block->exchange[slot][me->linear] = predicate != 0;
  simt::wait_warp(mask);
  for (int i = 0; i < 32; i++)
    if (mask >> i & 1) bits |= (unsigned)(simt::block->exchange[slot][base + i] & 1) << i;
  return bits;
}
static inline int __any_sync(unsigned mask, int p) { return __ballot_sync(mask, p) != 0; }
static inline int __all_sync(unsigned mask, int p) { return __ballot_sync(mask, p) == mask; }

// Atomics on integers; kernels add no floats atomically.
template <class T> T atomicAdd(T *p, T v) {
  static_assert(std::is_integral<T>::value, "sums of floats have a fixed order: no float atomics");
  return __atomic_fetch_add(p, v, __ATOMIC_ACQ_REL);
}
template <class T> T atomicMax(T *p, T v) {
  T old = __atomic_load_n(p, __ATOMIC_RELAXED);
  while (old < v && !__atomic_compare_exchange_n(p, &old, v, true, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) {}
  return old;
}

#include "simt_math.h"
