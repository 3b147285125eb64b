// Activations and their derivatives. The plain versions are in matmul.go and activation.go.
#pragma once
#include "device.cuh"

DEVICE float sigmoid(float x) { return 1.f / (1.f + expf(-x)); }

// gelu(x) = x·Φ(x) = ½·x·erfc(−x/√2), which keeps its digits where Φ is small; the tanh form is
// ½·x·(1 + tanh z) = x·σ(2z) with z = √(2/π)·(x + 0.044715·x³).
DEVICE float gelu_erf(float x) { return 0.5f * x * erfcf(x * -0.70710678118654752f); }
#define GELU_ROOT 0.79788456080286536f // √(2/π)
DEVICE float gelu_tanh(float x) { return x * sigmoid(2.f * GELU_ROOT * (x + 0.044715f * x * x * x)); }

// gelu'(x) = Φ(x) + x·φ(x); of the tanh form, with s = σ(2z): s + 2·x·s·(1−s)·z'.
DEVICE float gelu_erf_grad(float x) {
  const float density = 0.39894228040143268f; // 1/√(2π)
  return 0.5f * erfcf(x * -0.70710678118654752f) + x * density * expf(-0.5f * x * x);
}
DEVICE float gelu_tanh_grad(float x) {
  float s = sigmoid(2.f * GELU_ROOT * (x + 0.044715f * x * x * x));
  return s + 2.f * x * s * (1.f - s) * GELU_ROOT * (1.f + 3.f * 0.044715f * x * x);
}
// silu'(x) = σ + x·σ·(1−σ)
DEVICE float silu_grad(float x) {
  float s = sigmoid(x);
  return s + x * s * (1.f - s);
}

// The activations of fused products, numbered as deviceActivation of matmul_cuda.go does.
enum Activation { kNone, kRelu, kGeluTanh, kGelu, kSilu, kSlope };

DEVICE float activate(int act, float x) {
  switch (act) {
  case kRelu: return x < 0.f ? 0.f : x; // a NaN passes
  case kGeluTanh: return gelu_tanh(x);
  case kGelu: return gelu_erf(x);
  case kSilu: return x * sigmoid(x);
  }
  return x;
}

DEVICE float activate_grad(int act, float x) {
  switch (act) {
  case kRelu: return x > 0.f ? 1.f : 0.f;
  case kGeluTanh: return gelu_tanh_grad(x);
  case kGelu: return gelu_erf_grad(x);
  case kSilu: return silu_grad(x);
  case kSlope: return x; // it is the derivative already
  }
  return 1.f;
}
