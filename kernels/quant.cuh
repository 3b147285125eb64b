// Numbers of 8-bit quantization. The plain version, which these match bit for bit, is quant.go: every operation rounds
// once, so nothing here may be fused.
#pragma once
#include "device.cuh"

// Integer types as numbers: quantTypes of quant_cuda.go.
enum QuantType { kI8, kU8, kI32, kF32, kBF16 };

DEVICE int load_quantized(const void *p, int type, int64_t i) {
  switch (type) {
  case kI8: return reinterpret_cast<const int8_t *>(p)[i];
  case kU8: return reinterpret_cast<const uint8_t *>(p)[i];
  }
  return reinterpret_cast<const int *>(p)[i];
}

DEVICE float load_real(const void *p, int type, int64_t i) {
  return type == kBF16 ? to_float(reinterpret_cast<const bf16 *>(p)[i]) : reinterpret_cast<const float *>(p)[i];
}

DEVICE void store_real(void *p, int type, int64_t i, float v) {
  if (type == kBF16)
    reinterpret_cast<bf16 *>(p)[i] = float_to_bf16(v);
  else
    reinterpret_cast<float *>(p)[i] = v;
}

// round_to is saturate(round(v) + zero): v is cut first, so that infinities saturate; a NaN gives the least number.
DEVICE int round_to(float v, int zero, int type) {
  float z = (float)zero, lo = type == kU8 ? 0.f : -128.f, hi = type == kU8 ? 255.f : 127.f;
  if (!(v > lo - z)) v = lo - z;
  if (v > hi - z) v = hi - z;
  return (int)(rintf(v) + z);
}

// store_quantized keeps the low byte, which is the same for both types.
DEVICE void store_quantized(void *p, int64_t i, int q) { reinterpret_cast<uint8_t *>(p)[i] = (uint8_t)q; }

// ScaleOf finds the scale of element i: one for all, one per slice along an axis, or one per block along it. It is
// scaleArgs of quant_cuda.go.
struct ScaleOf {
  int64_t inner, size; // elements after the axis, and along it
  int64_t block, scales; // elements per block, 0 for none, and blocks along the axis
  int64_t single;
  DEVICE_MEMBER int64_t at(int64_t i) const {
    if (single) return 0;
    int64_t line = i / inner, k = line % size;
    if (!block) return k;
    return (line / size * scales + k / block) * inner + i % inner;
  }
};
