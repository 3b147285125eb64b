// Muon's element-wise parts; the products of its Newton–Schulz iteration are those of matmul.cu. The plain version is muon.go. The
// products, 5 steps of 4r²c + 2r³ FLOP for a matrix of r×c, dominate.
#include "reduce.cuh"

#define MUON_THREADS 256
#define MUON_CHUNK 16384

struct MuonArgs {
  float momentum, decay, scale; // scale: √max(1, out/in)
  int nesterov;
};

// mom = μ·mom + g; u = nesterov ? g + μ·mom : mom. Each block takes a chunk, as long on every device, and sums u² in double.
KERNEL(muon_momentum, MUON_THREADS, (const float *grad, float *mom, float *u, double *chunks, const float *hyper, const float *norm, MuonArgs a, int64_t n)) {
  __shared__ double part[MUON_THREADS];
  float scale = norm ? hyper[1] * norm[1] : hyper[1];
  int64_t from = (int64_t)blockIdx.x * MUON_CHUNK, to = from + MUON_CHUNK < n ? from + MUON_CHUNK : n;
  double s = 0;
  for (int64_t i = from + threadIdx.x; i < to; i += MUON_THREADS) {
    float g = grad[i] * scale, m = a.momentum * mom[i] + g, v = a.nesterov ? g + a.momentum * m : m;
    mom[i] = m;
    u[i] = v;
    s += (double)v * v;
  }
  part[threadIdx.x] = s;
  for (unsigned half = MUON_THREADS / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half) part[threadIdx.x] += part[threadIdx.x + half];
  }
  if (threadIdx.x == 0) chunks[blockIdx.x] = part[0];
}

// u /= ‖u‖ + 1e-7; every block adds the chunks in the same order.
KERNEL(muon_normalise, MUON_THREADS, (float *u, const double *chunks, int count, int64_t n)) {
  __shared__ double part[MUON_THREADS];
  double s = 0;
  for (int i = threadIdx.x; i < count; i += MUON_THREADS) s += chunks[i];
  part[threadIdx.x] = s;
  for (unsigned half = MUON_THREADS / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half) part[threadIdx.x] += part[threadIdx.x + half];
  }
  __syncthreads();
  float factor = 1.f / (sqrtf((float)part[0]) + 1e-7f);
  for (int64_t i = first_index(); i < n; i += index_stride()) u[i] *= factor;
}

// p = (1 − lr·wd)·p − lr·scale·x
KERNEL(muon_update, MUON_THREADS, (float *p, const float *x, const float *hyper, MuonArgs a, int64_t n)) {
  float keep = 1.f - hyper[0] * a.decay, step = hyper[0] * a.scale;
  for (int64_t i = first_index(); i < n; i += index_stride()) p[i] = keep * p[i] - step * x[i];
}
