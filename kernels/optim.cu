// Optimizer updates in one pass over flat f32 buffers: each element is read and written once, so a step of AdamW moves
// 28 bytes per parameter. The plain versions are optim.go.
#include "reduce.cuh"

#define OPTIM_THREADS 256

// hyper: learning rate, scale of the gradient, 1 − β₁ᵗ, 1 − β₂ᵗ, as graph.HyperLR and the rest. norm is grad_norm's output
// or null; its second number is the clipping factor.
struct Hyper {
  float lr, scale, bias1, bias2;
};

DEVICE Hyper load_hyper(const float *hyper, const float *norm) {
  Hyper h = {hyper[0], hyper[1], hyper[2], hyper[3]};
  if (norm) h.scale *= norm[1];
  return h;
}

// for_packs calls f.at(i) for every element: whole packs of 16 bytes first, the tail one by one. F holds the pointers.
template <class F> DEVICE void for_packs(F f, int64_t n) {
  int64_t packs = n / Pack<float>::n;
  for (int64_t i = first_index(); i < packs; i += index_stride()) f.pack(i * Pack<float>::n);
  for (int64_t i = packs * Pack<float>::n + first_index(); i < n; i += index_stride()) f.one(i);
}

// p −= lr·wd·p; m = β₁·m + (1−β₁)·g; v = β₂·v + (1−β₂)·g²; p −= lr·(m/bias₁)/(√(v/bias₂) + eps)
struct AdamWArgs {
  float beta1, beta2, eps, decay;
};
// load4 reads four gradients, which lie on as many elements' bytes.
DEVICE void load4(float v[4], const float *g) {
  Pack<float> x = load_pack(g);
#pragma unroll
  for (int k = 0; k < 4; k++) v[k] = x.v[k];
}
DEVICE void load4(float v[4], const bf16 *g) {
  uint2 x = *(const uint2 *)g;
  v[0] = __uint_as_float(x.x << 16), v[1] = __uint_as_float(x.x & 0xffff0000u);
  v[2] = __uint_as_float(x.y << 16), v[3] = __uint_as_float(x.y & 0xffff0000u);
}

template <class G> struct AdamW {
  float *p, *m, *v;
  const G *g;
  AdamWArgs a;
  Hyper h;
  DEVICE_MEMBER void step(float &p, float g, float &m, float &v) const {
    g *= h.scale;
    m = a.beta1 * m + (1.f - a.beta1) * g;
    v = a.beta2 * v + (1.f - a.beta2) * g * g;
    p = p * (1.f - h.lr * a.decay) - h.lr * (m / h.bias1) / (sqrtf(v / h.bias2) + a.eps);
  }
  DEVICE_MEMBER void one(int64_t i) const { step(p[i], to_float(g[i]), m[i], v[i]); }
  DEVICE_MEMBER void pack(int64_t i) const {
    Pack<float> P = load_pack(p + i), M = load_pack(m + i), V = load_pack(v + i);
    float d[4];
    load4(d, g + i);
#pragma unroll
    for (int k = 0; k < Pack<float>::n; k++) step(P.v[k], d[k], M.v[k], V.v[k]);
    store_pack(p + i, P);
    store_pack(m + i, M);
    store_pack(v + i, V);
  }
};

// By the type of the gradient.
#define ADAMW(suffix, G)                                                                                                        \
  KERNEL(adamw_##suffix, OPTIM_THREADS, (float *p, const G *g, float *m, float *v, const float *hyper, const float *norm,       \
                                         AdamWArgs a, int64_t n)) {                                                             \
    AdamW<G> f = {p, m, v, g, a, load_hyper(hyper, norm)};                                                                      \
    for_packs(f, n);                                                                                                            \
  }
ADAMW(f32, float)
ADAMW(bf16, bf16)

// Rules with one state. g += wd·p; s = μ·s + g; p −= lr·(nesterov ? g + μ·s : s)
struct SGDArgs {
  float momentum, decay;
  int nesterov;
};
struct SGD {
  SGDArgs a;
  DEVICE_MEMBER void step(float &p, float g, float &s, const Hyper &h) const {
    g = g * h.scale + a.decay * p;
    s = a.momentum * s + g;
    p -= h.lr * (a.nesterov ? g + a.momentum * s : s);
  }
};

// p −= lr·(sign(β₁·m + (1−β₁)·g) + wd·p); m = β₂·m + (1−β₂)·g. A NaN gradient stays visible.
struct LionArgs {
  float beta1, beta2, decay;
};
struct Lion {
  LionArgs a;
  DEVICE_MEMBER void step(float &p, float g, float &m, const Hyper &h) const {
    g *= h.scale;
    float u = a.beta1 * m + (1.f - a.beta1) * g;
    float sign = u > 0.f ? 1.f : u < 0.f ? -1.f : u;
    p -= h.lr * (sign + a.decay * p);
    m = a.beta2 * m + (1.f - a.beta2) * g;
  }
};

template <class Rule> struct OneState {
  float *p, *s;
  const float *g;
  Rule rule;
  Hyper h;
  DEVICE_MEMBER void one(int64_t i) const { rule.step(p[i], g[i], s[i], h); }
  DEVICE_MEMBER void pack(int64_t i) const {
    Pack<float> P = load_pack(p + i), G = load_pack(g + i), S = load_pack(s + i);
#pragma unroll
    for (int k = 0; k < Pack<float>::n; k++) rule.step(P.v[k], G.v[k], S.v[k], h);
    store_pack(p + i, P);
    store_pack(s + i, S);
  }
};

KERNEL(sgd_f32, OPTIM_THREADS, (float *p, const float *g, float *s, const float *hyper, const float *norm, SGDArgs a, int64_t n)) {
  OneState<SGD> f = {p, s, g, {a}, load_hyper(hyper, norm)};
  for_packs(f, n);
}

KERNEL(lion_f32, OPTIM_THREADS, (float *p, const float *g, float *s, const float *hyper, const float *norm, LionArgs a, int64_t n)) {
  OneState<Lion> f = {p, s, g, {a}, load_hyper(hyper, norm)};
  for_packs(f, n);
}

// s = keep·s + part·x: running averages.
struct LerpBody {
  float *s;
  const float *x;
  float keep, part;
  DEVICE_MEMBER void one(int64_t i) const { s[i] = keep * s[i] + part * x[i]; }
  DEVICE_MEMBER void pack(int64_t i) const {
    Pack<float> S = load_pack(s + i), X = load_pack(x + i);
#pragma unroll
    for (int k = 0; k < Pack<float>::n; k++) S.v[k] = keep * S.v[k] + part * X.v[k];
    store_pack(s + i, S);
  }
};

KERNEL(lerp_f32, OPTIM_THREADS, (float *s, const float *x, float keep, float part, int64_t n)) {
  LerpBody f = {s, x, keep, part};
  for_packs(f, n);
}

// The gradient's norm. Each block adds the squares of one chunk, in double, and a last block adds the chunks in order; a
// chunk is as long on every device.
#define NORM_CHUNK 16384

KERNEL(grad_norm_chunks, OPTIM_THREADS, (const float *g, double *chunks, int64_t n)) {
  __shared__ double part[OPTIM_THREADS];
  int64_t from = (int64_t)blockIdx.x * NORM_CHUNK, to = from + NORM_CHUNK < n ? from + NORM_CHUNK : n;
  double s = 0;
  for (int64_t i = from + threadIdx.x; i < to; i += OPTIM_THREADS) s += (double)g[i] * g[i];
  part[threadIdx.x] = s;
  __syncthreads();
  for (int half = OPTIM_THREADS / 2; half > 0; half /= 2) {
    if ((int)threadIdx.x < half) part[threadIdx.x] += part[threadIdx.x + half];
    __syncthreads();
  }
  if (threadIdx.x == 0) chunks[blockIdx.x] = part[0];
}

// out = {‖g‖, min(1, limit/‖g‖)}, ‖g‖ = scale·√Σ; limit 0 measures only. A NaN norm passes into neither comparison.
KERNEL(grad_norm_end, OPTIM_THREADS, (const double *chunks, const float *hyper, float *out, int count, float limit)) {
  __shared__ double part[OPTIM_THREADS];
  double s = 0;
  for (int i = threadIdx.x; i < count; i += OPTIM_THREADS) s += chunks[i];
  part[threadIdx.x] = s;
  __syncthreads();
  for (int half = OPTIM_THREADS / 2; half > 0; half /= 2) {
    if ((int)threadIdx.x < half) part[threadIdx.x] += part[threadIdx.x + half];
    __syncthreads();
  }
  if (threadIdx.x == 0) {
    double norm = sqrt(part[0]) * hyper[1];
    out[0] = (float)norm;
    out[1] = limit > 0.f && norm > limit ? (float)(limit / norm) : 1.f;
  }
}
