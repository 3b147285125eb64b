// Products: y = act(op(a)·op(b) + bias) [+ residual] and its relatives, per batch entry. The plain version is matmul.go; tiles
// are in gemm_ffma.cuh (f32) and gemm_mma.cuh (bf16 factors on tensor cores).
#include "gemm_ffma.cuh"
#include "gemm_mma.cuh"
#include "matmul.cuh"
#include "panels.cuh"

template <bool trans_a, bool trans_b> DEVICE void matmul_ffma(const MatMulArgs &p) {
  __shared__ FfmaPanels s;
  const float *a = (const float *)p.a, *b = (const float *)p.b;
  BlockTile t = block_tile(p, FFMA_BM, FFMA_BM);
  FfmaLoad<float, !trans_a> la;
  FfmaLoad<float, trans_b> lb;
  FfmaTile c;
  c.clear();
  la.fetch(a + t.a, p.lda, t.row, t.from, p.m, t.to, p.packed_a);
  lb.fetch(b + t.b, p.ldb, t.col, t.from, p.n, t.to, p.packed_b);
  int stage = 0;
  for (int k = t.from; k < t.to; k += FFMA_BK, stage ^= 1) {
    la.stash(s.a[stage]);
    lb.stash(s.b[stage]);
    __syncthreads(); // and the other stage has been read by all
    if (k + FFMA_BK < t.to) {
      la.fetch(a + t.a, p.lda, t.row, k + FFMA_BK, p.m, t.to, p.packed_a);
      lb.fetch(b + t.b, p.ldb, t.col, k + FFMA_BK, p.n, t.to, p.packed_b);
    }
    c.multiply(s.a[stage], s.b[stage]);
  }
#pragma unroll
  for (int i = 0; i < 8; i++)
#pragma unroll
    for (int h = 0; h < 2; h++) store_sums<float, 4>(p, t, c.acc[i] + 4 * h, t.row + c.row(i), t.col + c.col(h));
}

// T is the type of the factors, Y that of the result.
template <class T, class Y, class LoadA, class LoadB> DEVICE void matmul_mma(const MatMulArgs &p) {
  const int MT = 4, ahead = MMA_STAGES - 1;
  typedef MmaTile<MT> Tile;
  typedef typename LoadA::Panel PanelA;
  typedef typename LoadB::Panel PanelB;
  DYN_SHARED(uint4, stages);
  BlockTile t = block_tile(p, Tile::BM, GEMM_BN);
  const T *a = (const T *)p.a + t.a, *b = (const T *)p.b + t.b;
  LoadA la;
  LoadB lb;
  Tile c;
  c.clear();
  const int second = PanelA::chunks; // where B's panel starts
#pragma unroll
  for (int i = 0; i < ahead; i++) {
    uint4 *to = stages + i * Tile::stage;
    la.fetch(to, a, p.lda, t.row, t.from + i * MMA_BK, p.m, t.to, p.packed_a);
    lb.fetch(to + second, b, p.ldb, t.col, t.from + i * MMA_BK, p.n, t.to, p.packed_b);
    la.stash(to);
    lb.stash(to + second);
    copy_async_commit();
  }
  int at = 0;
  for (int k = t.from; k < t.to; k += MMA_BK) {
    copy_async_wait<ahead - 1>();
    __syncthreads(); // stage `at` is there, and the one before it has been read by all
    uint4 *to = stages + (at + ahead) % MMA_STAGES * Tile::stage;
    la.fetch(to, a, p.lda, t.row, k + ahead * MMA_BK, p.m, t.to, p.packed_a);
    lb.fetch(to + second, b, p.ldb, t.col, k + ahead * MMA_BK, p.n, t.to, p.packed_b);
    copy_async_commit();
    uint4 *from = stages + at * Tile::stage;
    c.template multiply<PanelA, PanelB>(from, from + second);
    la.stash(to);
    lb.stash(to + second);
    at = (at + 1) % MMA_STAGES;
  }
  copy_async_wait<0>();
  __syncthreads();
  float *tile = (float *)stages;
  c.spill(tile);
  __syncthreads();
  for (int i = threadIdx.x; i < Tile::BM * GEMM_BN / 8; i += GEMM_THREADS) {
    int r = i / (GEMM_BN / 8), col = i % (GEMM_BN / 8) * 8;
    float v[8];
    load8(v, tile + Tile::at(r, col));
    store_sums<Y, 8>(p, t, v, t.row + r, t.col + col);
  }
}

// Adds the partial sums in the order of k and finishes; partial (batch, splits, m·n).
template <class T> DEVICE void matmul_sum(const MatMulArgs &p) {
  int64_t matrix = (int64_t)p.m * p.n, count = p.batch.n * matrix;
  for (int64_t i = first_index(); i < count; i += index_stride()) {
    int64_t entry = i / matrix, at = i - entry * matrix;
    float v[8] = {0.f};
    for (int s = 0; s < p.splits; s++) v[0] += p.partial[(entry * p.splits + s) * matrix + at];
    float kept;
    v[0] = apply<T>(p.end, v[0], (int)(at / p.n), (int)(at % p.n), p.end.pre ? to_float(((const T *)p.end.pre)[i]) : 0.f,
                    p.end.residual ? to_float(((const T *)p.end.residual)[i]) : 0.f, &kept);
    ((T *)p.end.y)[i] = from_float<T>(v[0]);
    if (p.end.kept) ((T *)p.end.kept)[i] = from_float<T>(kept);
  }
}

// The epilogue by itself, without the bias, after the device's library has left the sums in x; y or kept may be x. Two elements per
// thread: activations are called, and what is alive across a call must fit few registers.
template <class T> struct __align__(2 * sizeof(T)) Pair { T v[2]; };

template <class T> DEVICE void matmul_end(const T *x, const Epilogue &e, int64_t count) {
  typedef Pair<T> P;
  for (int64_t i = first_index(); i < count / 2; i += index_stride()) {
    P v = ((const P *)x)[i], pre = v, residual = v, kept;
    if (e.pre) pre = ((const P *)e.pre)[i];
    if (e.residual) residual = ((const P *)e.residual)[i];
#pragma unroll
    for (int k = 0; k < 2; k++) {
      float keep;
      v.v[k] = from_float<T>(apply<T>(e, to_float(v.v[k]), 0, 0, to_float(pre.v[k]), to_float(residual.v[k]), &keep));
      kept.v[k] = from_float<T>(keep);
    }
    ((P *)e.y)[i] = v;
    if (e.kept) ((P *)e.kept)[i] = kept;
  }
  int64_t i = count / 2 * 2 + first_index();
  if (i >= count) return;
  float keep, pre = e.pre ? to_float(((const T *)e.pre)[i]) : 0.f, residual = e.residual ? to_float(((const T *)e.residual)[i]) : 0.f;
  ((T *)e.y)[i] = from_float<T>(apply<T>(e, to_float(x[i]), 0, 0, pre, residual, &keep));
  if (e.kept) ((T *)e.kept)[i] = from_float<T>(keep);
}

#define MATMUL(suffix, trans_a, trans_b)                                                                   \
  KERNEL(matmul_f32_##suffix, GEMM_THREADS, (MatMulArgs p)) { matmul_ffma<trans_a, trans_b>(p); }          \
  KERNEL(matmul_bf16_##suffix, GEMM_THREADS, (MatMulArgs p)) {                                             \
    matmul_mma<bf16, bf16, AsyncLoad<128, !trans_a>, AsyncLoad<128, trans_b>>(p);                                \
  }                                                                                                        \
  KERNEL(matmul_ragged_##suffix, GEMM_THREADS, (MatMulArgs p)) { /* bf16, lines not on 16 bytes */         \
    matmul_mma<bf16, bf16, SyncLoad<bf16, 128, !trans_a>, SyncLoad<bf16, 128, trans_b>>(p);                      \
  }                                                                                                        \
  KERNEL(matmul_round_##suffix, GEMM_THREADS, (MatMulArgs p)) { /* f32, factors rounded to bf16 */         \
    matmul_mma<float, float, SyncLoad<float, 128, !trans_a>, SyncLoad<float, 128, trans_b>>(p);                   \
  }

MATMUL(nn, false, false)
MATMUL(nt, false, true)
MATMUL(tn, true, false)
MATMUL(tt, true, true)

// Terms of a weight's gradient: bf16 factors, f32 sums.
KERNEL(matmul_term_tn, GEMM_THREADS, (MatMulArgs p)) { matmul_mma<bf16, float, AsyncLoad<128, false>, AsyncLoad<128, false>>(p); }
KERNEL(matmul_term_ragged_tn, GEMM_THREADS, (MatMulArgs p)) {
  matmul_mma<bf16, float, SyncLoad<bf16, 128, false>, SyncLoad<bf16, 128, false>>(p);
}

KERNEL(matmul_sum_f32, 256, (MatMulArgs p)) { matmul_sum<float>(p); }
KERNEL(matmul_sum_bf16, 256, (MatMulArgs p)) { matmul_sum<bf16>(p); }
KERNEL(matmul_end_f32, 256, (const float *x, Epilogue e, int64_t count)) { matmul_end<float>(x, e, count); }
KERNEL(matmul_end_bf16, 256, (const bf16 *x, Epilogue e, int64_t count)) { matmul_end<bf16>(x, e, count); }
