// What products read while their algorithms are timed: those of zeros take less power, and so less time, than those of data.
#include "philox.cuh"

#define NOISE_THREADS 256

// Packs of bf16 of [−1,1); two of them read as an f32 are a number of that range too.
KERNEL(noise, NOISE_THREADS, (bf16 *x, int64_t packs)) {
  for (int64_t i = first_index(); i < packs; i += index_stride()) {
    unsigned c[4] = {(unsigned)i, (unsigned)(i >> 32), 0, 0};
    philox(c, 1, 2);
    Pack<bf16> v;
#pragma unroll
    for (int k = 0; k < Pack<bf16>::n; k++) v.v[k] = float_to_bf16(((int)(c[k / 2] >> k % 2 * 16 & 0xffff) - 32768) / 32768.f);
    store_pack(x + i * Pack<bf16>::n, v);
  }
}
