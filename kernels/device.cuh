// What every CUDA kernel file starts with. One source, two builds: nvcc or NVRTC compile it for GPUs, g++ with
// simt.h (-DSOFTCUDA) for the software device.
//
//   KERNEL(name, threads, (parameters)) { … }   a kernel; threads is the largest block it is launched with
//   KERNEL_BLOCKS(name, threads, blocks, (parameters)) { … }   with registers for so many blocks at once per multiprocessor
//   DYN_SHARED(T, name);                        the block's dynamic shared memory as T *name
//
// Element types: float, bf16. Arithmetic is in float; load and store convert: to_float, from_float<T>.
#pragma once
#ifdef SOFTCUDA
#include "simt.h"
#else
#ifdef __CUDACC_RTC__
typedef signed char int8_t;
typedef unsigned char uint8_t;
typedef short int16_t;
typedef unsigned short uint16_t;
typedef int int32_t;
typedef unsigned int uint32_t;
typedef long long int64_t;
typedef unsigned long long uint64_t;
#define INFINITY __int_as_float(0x7f800000)
#define NAN __int_as_float(0x7fffffff)
#else
#include <cmath>
#include <cstdint>
#endif
#define KERNEL(name, threads, args) extern "C" __global__ void __launch_bounds__(threads) name args
#define KERNEL_BLOCKS(name, threads, blocks, args) extern "C" __global__ void __launch_bounds__(threads, blocks) name args
#define DYN_SHARED(T, name)                                     \
  extern __shared__ __align__(128) unsigned char dyn_shared_[]; \
  T *name = reinterpret_cast<T *>(dyn_shared_)
#endif

// DEVICE marks a function that kernels call, DEVICE_MEMBER one inside a struct.
#define DEVICE_MEMBER __device__ __forceinline__
#define DEVICE static DEVICE_MEMBER
// DEVICE_CALL is a function that is called, not copied: for long branches in unrolled loops.
#ifdef SOFTCUDA
#define DEVICE_CALL static __attribute__((noinline)) // g++'s own headers use the name __noinline__
#else
#define DEVICE_CALL static __device__ __noinline__
#endif

// The upper half of a float: 8 bits of exponent, 7 of mantissa.
struct bf16 {
  unsigned short bits;
};

DEVICE float to_float(float x) { return x; }
DEVICE float to_float(bf16 x) { return __uint_as_float((unsigned)x.bits << 16); }

// float_to_bf16 rounds to nearest, ties to even; a NaN stays one.
DEVICE bf16 float_to_bf16(float x) {
  bf16 y;
#if defined(__CUDA_ARCH__)
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
#else
  unsigned u = __float_as_uint(x);
  y.bits = (u & 0x7fffffffu) > 0x7f800000u ? 0x7fff : (unsigned short)((u + 0x7fffu + (u >> 16 & 1)) >> 16);
#endif
  return y;
}

template <class T> DEVICE_MEMBER T from_float(float x);
template <> DEVICE_MEMBER float from_float<float>(float x) { return x; }
template <> DEVICE_MEMBER bf16 from_float<bf16>(float x) { return float_to_bf16(x); }

// A Pack is 16 bytes of consecutive elements, moved in one access. The address must be 16-aligned: tensors start
// on 64 bytes, rows only where their length is a multiple of Pack<T>::n.
template <class T> struct __align__(16) Pack {
  static const int n = 16 / sizeof(T);
  T v[n];
};

template <class T> DEVICE Pack<T> load_pack(const T *p) {
  union { uint4 raw; Pack<T> pack; } u;
  u.raw = *reinterpret_cast<const uint4 *>(p);
  return u.pack;
}

template <class T> DEVICE void store_pack(T *p, const Pack<T> &x) {
  union { uint4 raw; Pack<T> pack; } u;
  u.pack = x;
  *reinterpret_cast<uint4 *>(p) = u.raw;
}

// The grid-stride loop over n elements: for (int64_t i = first_index(); i < n; i += index_stride()).
DEVICE int64_t first_index() { return (int64_t)blockIdx.x * blockDim.x + threadIdx.x; }
DEVICE int64_t index_stride() { return (int64_t)gridDim.x * blockDim.x; }
