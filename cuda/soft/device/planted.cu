// Kernels with one mistake each, for tests that the software device shows it. They are in no GPU's image.
#include "../../../kernels/device.cuh"

// y[i] = x[255 − i] by way of shared memory, without the barrier between writing and reading.
KERNEL(planted_missing_barrier, 256, (const float *x, float *y)) {
  __shared__ float all[256];
  all[threadIdx.x] = x[threadIdx.x];
  y[threadIdx.x] = all[255 - threadIdx.x];
}

// The same with the barrier.
KERNEL(planted_barrier, 256, (const float *x, float *y)) {
  __shared__ float all[256];
  all[threadIdx.x] = x[threadIdx.x];
  __syncthreads();
  y[threadIdx.x] = all[255 - threadIdx.x];
}

// Half of the block never reaches the barrier.
KERNEL(planted_divergent_barrier, 256, (const float *x, float *y)) {
  if (threadIdx.x < 128) return;
  __syncthreads();
  y[threadIdx.x] = x[threadIdx.x];
}

// y[i] = x[i + 1], which for the last thread lies one past the end.
KERNEL(planted_out_of_bounds, 256, (const float *x, float *y)) { y[threadIdx.x] = x[threadIdx.x + 1]; }

// y[i] = x[i + 1] by 16 bytes at a time, from addresses that lie four bytes off.
KERNEL(planted_misaligned, 8, (const float *x, float *y)) { store_pack(y + 4 * threadIdx.x, load_pack(x + 1 + 4 * threadIdx.x)); }

// A warp's sum whose masks leave out the lanes that it reads from.
KERNEL(planted_half_mask, 32, (const float *x, float *y)) {
  float v = x[threadIdx.x];
  for (int o = 16; o > 0; o >>= 1) v += __shfl_xor_sync(threadIdx.x < 16 ? 0x0000ffffu : 0xffff0000u, v, o);
  y[threadIdx.x] = v;
}

// y[i] = x[i] through an asynchronous copy that nobody waits for.
#include "../../../kernels/mma.cuh"
KERNEL(planted_missing_wait, 32, (const float *x, float *y)) {
  __shared__ __align__(16) float all[128];
  copy_async16(&all[4 * threadIdx.x], x + 4 * threadIdx.x, true);
  copy_async_commit();
  __syncthreads();
  for (int k = 0; k < 4; k++) y[4 * threadIdx.x + k] = all[4 * threadIdx.x + k];
}

// y[i] is a sum of C = X·Xᵀ over the first 16 of 64 columns, X being 64 rows of x read as bf16, by a warpgroup: right, read without waiting
// for it, and of rows whose copies no fence made visible to the product.
#include "../../../kernels/wgmma.cuh"
template <bool fence, bool wait> DEVICE void product_of(const float *x, float *y) {
  DYN_SHARED(char, dynamic);
  shared_at tile = (shared_address(dynamic) + 1023) & ~(shared_at)1023;
  for (int i = threadIdx.x; i < 64 * 8; i += WARPGROUP) copy_async16(tile + i / 8 * 128 + ((i ^ i / 8) & 7) * 16, x + 4 * i, true);
  copy_async_commit();
  copy_async_wait<0>();
  if (fence) fence_async();
  __syncthreads();
  float c[32];
  wgmma_fence();
  wgmma_rows<64>(c, rows_at(tile), rows_at(tile), false);
  wgmma_commit();
  if (wait) wgmma_wait<0>(c);
  y[threadIdx.x] = c[0];
  wgmma_wait<0>(c);
}
KERNEL(planted_product, WARPGROUP, (const float *x, float *y)) { product_of<true, true>(x, y); }
KERNEL(planted_product_missing_wait, WARPGROUP, (const float *x, float *y)) { product_of<true, false>(x, y); }
KERNEL(planted_product_missing_fence, WARPGROUP, (const float *x, float *y)) { product_of<false, true>(x, y); }

// Eight parameters and no work, to time and to count launches.
KERNEL(planted_nothing, 32, (float *a, float *b, float *c, float *d, int64_t e, int f, float g, unsigned h)) {
  (void)a, (void)b, (void)c, (void)d, (void)e, (void)f, (void)g, (void)h;
}
