// Kernels with one mistake each, and twins without it, for tests that the PTX machine tells them apart. The compiler that ships
// makes PTX of them; they are in no GPU's image. x holds 0, 1, 2, …; a block has 64 threads where nothing else is said.
#include "mma.cuh"

// y[i] = x[i] by 16 bytes at a time, from addresses that lie `off` floats after such a boundary.
DEVICE void packs(const float *x, float *y, int off) { store_pack(y + 4 * threadIdx.x, load_pack(x + off + 4 * threadIdx.x)); }
KERNEL(planted_misaligned, 64, (const float *x, float *y)) { packs(x, y, 1); }
KERNEL(planted_misaligned_twin, 64, (const float *x, float *y)) { packs(x, y, 4); }

// One past the end of the allocation, which has 512 floats.
KERNEL(planted_out_of_bounds, 64, (const float *x, float *y)) { y[threadIdx.x] = x[449 + threadIdx.x]; }
KERNEL(planted_out_of_bounds_twin, 64, (const float *x, float *y)) { y[threadIdx.x] = x[448 + threadIdx.x]; }

// y[i] = x[63 − i] by way of shared memory, without and with the barrier between writing and reading.
template <bool barrier> DEVICE void swap_all(const float *x, float *y) {
  __shared__ float all[64];
  all[threadIdx.x] = x[threadIdx.x];
  if (barrier) __syncthreads();
  y[threadIdx.x] = all[63 - threadIdx.x];
}
KERNEL(planted_missing_barrier, 64, (const float *x, float *y)) { swap_all<false>(x, y); }
KERNEL(planted_missing_barrier_twin, 64, (const float *x, float *y)) { swap_all<true>(x, y); }

// Lanes of one warp are not in order either: without and with __syncwarp.
template <bool barrier> DEVICE void swap_lanes(const float *x, float *y) {
  __shared__ float all[64];
  all[threadIdx.x] = x[threadIdx.x];
  if (barrier) __syncwarp();
  y[threadIdx.x] = all[threadIdx.x ^ 31];
}
KERNEL(planted_missing_syncwarp, 64, (const float *x, float *y)) { swap_lanes<false>(x, y); }
KERNEL(planted_missing_syncwarp_twin, 64, (const float *x, float *y)) { swap_lanes<true>(x, y); }

// The second round writes what others may still be reading.
template <bool barrier> DEVICE void rounds(const float *x, float *y) {
  __shared__ float all[64];
  float sum = 0.f;
  for (int k = 0; k < 2; k++) {
    all[threadIdx.x] = x[64 * k + threadIdx.x];
    __syncthreads();
    sum += all[63 - threadIdx.x];
    if (barrier) __syncthreads();
  }
  y[threadIdx.x] = sum;
}
KERNEL(planted_write_after_read, 64, (const float *x, float *y)) { rounds<false>(x, y); }
KERNEL(planted_write_after_read_twin, 64, (const float *x, float *y)) { rounds<true>(x, y); }

// Each block reads what the one before wrote; the twin reads its own.
KERNEL(planted_block_reads_block, 64, (const float *x, float *y)) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  y[i] = x[i];
  __syncthreads();
  if (blockIdx.x) y[i] += y[i - 64];
}
KERNEL(planted_block_reads_block_twin, 64, (const float *x, float *y)) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  y[i] = x[i];
  __syncthreads();
  if (blockIdx.x) y[i] += y[i ^ 63];
}

// Two blocks write the same; the twin has a place for each.
KERNEL(planted_blocks_write, 64, (const float *x, float *y)) { y[threadIdx.x] = x[threadIdx.x]; }
KERNEL(planted_blocks_write_twin, 64, (const float *x, float *y)) { y[64 * blockIdx.x + threadIdx.x] = x[threadIdx.x]; }

// y = x through asynchronous copies: nobody waits for them; the barrier alone is there; and as it should be.
template <bool wait, bool barrier> DEVICE void copies(const float *x, float *y) {
  __shared__ __align__(16) float all[256];
  copy_async16(&all[4 * threadIdx.x], x + 4 * threadIdx.x, true);
  copy_async_commit();
  if (wait) copy_async_wait<0>();
  if (barrier) __syncthreads();
  for (int k = 0; k < 4; k++) y[4 * threadIdx.x + k] = all[(4 * threadIdx.x + k + 128) % 256];
}
KERNEL(planted_missing_wait, 64, (const float *x, float *y)) { copies<false, true>(x, y); }
KERNEL(planted_missing_wait_twin, 64, (const float *x, float *y)) { copies<true, true>(x, y); }
KERNEL(planted_wait_without_barrier, 64, (const float *x, float *y)) { copies<true, false>(x, y); }

// A stage of a pipeline is filled again while others read it.
template <bool barrier> DEVICE void refill(const float *x, float *y) {
  __shared__ __align__(16) float all[256];
  float sum = 0.f;
  for (int k = 0; k < 2; k++) {
    copy_async16(&all[4 * threadIdx.x], x + 256 * k + 4 * threadIdx.x, true);
    copy_async_commit();
    copy_async_wait<0>();
    __syncthreads();
    sum += all[255 - 4 * threadIdx.x];
    if (barrier) __syncthreads();
  }
  y[threadIdx.x] = sum;
}
KERNEL(planted_refilled_too_soon, 64, (const float *x, float *y)) { refill<false>(x, y); }
KERNEL(planted_refilled_too_soon_twin, 64, (const float *x, float *y)) { refill<true>(x, y); }

// Shared memory: past its end, and never written.
KERNEL(planted_shared_out_of_bounds, 64, (const float *x, float *y)) {
  DYN_SHARED(float, all);
  all[threadIdx.x + 1] = x[threadIdx.x];
  y[threadIdx.x] = all[threadIdx.x + 1];
}
KERNEL(planted_shared_out_of_bounds_twin, 64, (const float *x, float *y)) {
  DYN_SHARED(float, all);
  all[threadIdx.x] = x[threadIdx.x];
  y[threadIdx.x] = all[threadIdx.x];
}
KERNEL(planted_shared_unwritten, 64, (const float *x, float *y)) {
  __shared__ float all[65];
  all[threadIdx.x] = x[threadIdx.x];
  __syncthreads();
  y[threadIdx.x] = all[threadIdx.x + 1];
}

// Half of the block never reaches the barrier; half of a warp reaches another.
KERNEL(planted_divergent_barrier, 64, (const float *x, float *y)) {
  if (threadIdx.x < 32) return;
  __syncthreads();
  y[threadIdx.x] = x[threadIdx.x];
}
KERNEL(planted_two_barriers, 64, (const float *x, float *y)) {
  if (threadIdx.x & 1) {
    __syncthreads();
    y[threadIdx.x] = x[threadIdx.x];
  } else {
    __syncthreads();
    y[threadIdx.x] = -x[threadIdx.x];
  }
}

// Shuffles from a lane outside the mask, from one that has ended, and under a mask without the lane itself.
KERNEL(planted_half_mask, 64, (const float *x, float *y)) {
  y[threadIdx.x] = __shfl_xor_sync(threadIdx.x & 16 ? 0xffff0000u : 0x0000ffffu, x[threadIdx.x], 16);
}
KERNEL(planted_half_mask_twin, 64, (const float *x, float *y)) {
  y[threadIdx.x] = __shfl_xor_sync(threadIdx.x & 16 ? 0xffff0000u : 0x0000ffffu, x[threadIdx.x], 8);
}
KERNEL(planted_ended_lane, 64, (const float *x, float *y)) {
  if (threadIdx.x % 32 == 31) return;
  y[threadIdx.x] = __shfl_xor_sync(0xffffffffu, x[threadIdx.x], 1);
}
KERNEL(planted_wrong_mask, 64, (const float *x, float *y)) { y[threadIdx.x] = __shfl_sync(0x7fffffffu, x[threadIdx.x], 0); }

// A product of a warp that has lost a lane.
KERNEL(planted_divergent_product, 64, (const float *x, float *y)) {
  float c[4] = {0.f, 0.f, 0.f, 0.f};
  unsigned a[4] = {1, 2, 3, 4}, b[2] = {1, 2};
  if (x[threadIdx.x] != 5.f) mma_bf16(c, a, b);
  y[threadIdx.x] = c[0];
}
