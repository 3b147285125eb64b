// Sums and maxima over a warp or a block, always in the same order: the same numbers give the same bits.
#pragma once
#include "device.cuh"

#define ALL_LANES 0xffffffffu
#define MAX_WARPS 32

struct Sum {
  static DEVICE_MEMBER float identity() { return 0.f; }
  static DEVICE_MEMBER float join(float a, float b) { return a + b; }
};

// Max keeps a NaN of either side.
struct Max {
  static DEVICE_MEMBER float identity() { return -INFINITY; }
  static DEVICE_MEMBER float join(float a, float b) { return a > b || a != a ? a : b; }
};

// warp_reduce gives every lane of a full warp the result over the warp, by a butterfly.
template <class Op> DEVICE float warp_reduce(float v) {
#pragma unroll
  for (int o = 16; o > 0; o >>= 1) v = Op::join(v, __shfl_xor_sync(ALL_LANES, v, o));
  return v;
}

// block_reduce gives every thread the result over the block. blockDim.x is a multiple of 32 and at most 1024,
// blocks have one dimension; scratch is shared memory of MAX_WARPS floats, free again on return.
template <class Op> DEVICE float block_reduce(float v, float *scratch) {
  int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, warps = blockDim.x >> 5;
  v = warp_reduce<Op>(v);
  if (warps == 1) return v;
  if (lane == 0) scratch[warp] = v;
  __syncthreads();
  v = warp_reduce<Op>(lane < warps ? scratch[lane] : Op::identity());
  __syncthreads();
  return v;
}

// block_sum_pair gives every thread both sums over the block, at the price of one; scratch is 2·MAX_WARPS floats, free again on return.
DEVICE void block_sum_pair(float &a, float &b, float *scratch) {
  int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, warps = blockDim.x >> 5;
  a = warp_reduce<Sum>(a);
  b = warp_reduce<Sum>(b);
  if (warps == 1) return;
  if (lane == 0) scratch[warp] = a, scratch[MAX_WARPS + warp] = b;
  __syncthreads();
  a = warp_reduce<Sum>(lane < warps ? scratch[lane] : 0.f);
  b = warp_reduce<Sum>(lane < warps ? scratch[MAX_WARPS + lane] : 0.f);
  __syncthreads();
}

DEVICE float warp_sum(float v) { return warp_reduce<Sum>(v); }
DEVICE float warp_max(float v) { return warp_reduce<Max>(v); }
DEVICE float block_sum(float v, float *scratch) { return block_reduce<Sum>(v, scratch); }
DEVICE float block_max(float v, float *scratch) { return block_reduce<Max>(v, scratch); }
