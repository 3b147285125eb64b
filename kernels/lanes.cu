// Sums over lanes: the flat gradient plus a waiting partial sum; see runtime/step.go.
#include "device.cuh"

// gradient ← partial + gradient, f32 (n). A range may start anywhere: without alignment it goes one by one.
KERNEL(lanes_add, 256, (const float *partial, float *gradient, int64_t n)) {
  bool aligned = (((uint64_t)partial | (uint64_t)gradient) & 15) == 0;
  int64_t packs = aligned ? n / 4 : 0;
  for (int64_t i = first_index(); i < packs; i += index_stride()) {
    Pack<float> a = load_pack(partial + 4 * i), b = load_pack(gradient + 4 * i);
#pragma unroll
    for (int k = 0; k < 4; k++) b.v[k] = a.v[k] + b.v[k];
    store_pack(gradient + 4 * i, b);
  }
  for (int64_t i = 4 * packs + first_index(); i < n; i += index_stride()) gradient[i] = partial[i] + gradient[i];
}
