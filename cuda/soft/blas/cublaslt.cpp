// The part of cuBLASLt that ringo uses, for the software device: it checks what it is asked and computes it plainly, so
// that descriptors, layouts and epilogues are tested without a GPU. Meaning of attributes: NVIDIA's cuBLAS manual.
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <vector>

#define API extern "C" __attribute__((visibility("default")))
enum { OK = 0, INVALID = 7, NOT_SUPPORTED = 15 };
extern "C" int cuLaunchHostFunc(void *stream, void (*f)(void *), void *data);

namespace {
// A descriptor's attributes as 64-bit words, by number.
struct Attributes {
  std::map<int, int64_t> value;
  int64_t get(int a, int64_t otherwise = 0) const {
    auto i = value.find(a);
    return i == value.end() ? otherwise : i->second;
  }
  int set(int a, const void *v, size_t n) {
    int64_t word = 0;
    if (n == 4) {
      int32_t w;
      memcpy(&w, v, 4);
      word = w;
    } else if (n == 8) {
      memcpy(&word, v, 8);
    } else {
      return INVALID;
    }
    value[a] = word;
    return OK;
  }
};
struct Desc : Attributes { int compute, scale; };
struct Layout : Attributes { int type; int64_t rows, cols, ld; };

enum { TRANSA = 3, TRANSB = 4, EPILOGUE = 7, BIAS = 8, AUX = 11, AUX_LD = 12, AUX_STEP = 13, BATCH = 5, STEP = 6, WORKSPACE = 1, SCHEMES = 3, ALIGN_A = 5 };
enum { F32 = 0, BF16 = 14, COMPUTE_32F = 68, COMPUTE_FAST_16BF = 75 };

float load(const void *p, int type, int64_t i) {
  if (type == F32) return ((const float *)p)[i];
  uint32_t u = (uint32_t)((const uint16_t *)p)[i] << 16;
  float f;
  memcpy(&f, &u, 4);
  return f;
}
uint16_t round_bf16(float x) {
  uint32_t u;
  memcpy(&u, &x, 4);
  return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}
void store(void *p, int type, int64_t i, float x) {
  if (type == F32)
    ((float *)p)[i] = x;
  else
    ((uint16_t *)p)[i] = round_bf16(x);
}

struct Product {
  Desc d;
  Layout a, b, c;
  float alpha, beta;
  const void *pa, *pb, *pc;
  void *pd;
};

float gelu_grad(float x) {
  float t = tanhf(0.79788456f * (x + 0.044715f * x * x * x));
  return 0.5f * (1 + t) + 0.5f * x * (1 - t * t) * 0.79788456f * (1 + 3 * 0.044715f * x * x);
}

float factor(const Product &q, const void *p, const Layout &l, bool trans, int64_t row, int64_t col, int64_t batch) {
  float x = load(p, l.type, batch * l.get(STEP) + (trans ? row * l.ld + col : col * l.ld + row));
  if (q.d.compute != COMPUTE_FAST_16BF) return x;
  uint16_t r = round_bf16(x);
  return load(&r, BF16, 0);
}

void compute(void *data) {
  Product *q = (Product *)data;
  bool ta = q->d.get(TRANSA), tb = q->d.get(TRANSB);
  int64_t m = q->c.rows, n = q->c.cols, k = ta ? q->a.rows : q->a.cols, epilogue = q->d.get(EPILOGUE, 1);
  for (int64_t z = 0; z < q->c.get(BATCH, 1); z++)
    for (int64_t j = 0; j < n; j++)
      for (int64_t i = 0; i < m; i++) {
        double s = 0;
        for (int64_t l = 0; l < k; l++) s += (double)factor(*q, q->pa, q->a, ta, i, l, z) * factor(*q, q->pb, q->b, tb, l, j, z);
        int64_t at = z * q->c.get(STEP) + j * q->c.ld + i;
        float x = q->alpha * (float)s;
        if (q->beta) x += q->beta * load(q->pc, q->c.type, at);
        if (epilogue & 4) x += load((void *)q->d.get(BIAS), q->c.type, i);
        int64_t aux = z * q->d.get(AUX_STEP) + j * q->d.get(AUX_LD) + i;
        if (epilogue & 64)
          x *= gelu_grad(load((void *)q->d.get(AUX), q->c.type, aux));
        else if (epilogue & 128)
          store((void *)q->d.get(AUX), q->c.type, aux, x);
        if (epilogue & 32) x = 0.5f * x * (1 + tanhf(0.79788456f * (x + 0.044715f * x * x * x)));
        store(q->pd, q->c.type, at, x);
      }
  for (int64_t i = 0; i < m && (epilogue & 256); i++) {
    double s = 0;
    for (int64_t l = 0; l < k; l++) s += factor(*q, q->pa, q->a, ta, i, l, 0);
    store((void *)q->d.get(BIAS), q->c.type, i, (float)s);
  }
}
} // namespace

API size_t cublasLtGetVersion() { return 120603; }
API int cublasLtCreate(void **h) { *h = new int(0); return OK; }
API int cublasLtDestroy(void *h) { delete (int *)h; return OK; }
API int cublasLtMatmulDescCreate(void **d, int compute, int scale) {
  Desc *x = new Desc;
  x->compute = compute, x->scale = scale, *d = x;
  return (compute == COMPUTE_32F || compute == COMPUTE_FAST_16BF) && scale == F32 ? OK : INVALID;
}
API int cublasLtMatmulDescSetAttribute(void *d, int a, const void *v, size_t n) { return ((Desc *)d)->set(a, v, n); }
API int cublasLtMatmulDescDestroy(void *d) { delete (Desc *)d; return OK; }
API int cublasLtMatrixLayoutCreate(void **l, int type, uint64_t rows, uint64_t cols, int64_t ld) {
  Layout *x = new Layout;
  x->type = type, x->rows = rows, x->cols = cols, x->ld = ld, *l = x;
  return ld < (int64_t)rows || (type != F32 && type != BF16) ? INVALID : OK;
}
API int cublasLtMatrixLayoutSetAttribute(void *l, int a, const void *v, size_t n) { return ((Layout *)l)->set(a, v, n); }
API int cublasLtMatrixLayoutDestroy(void *l) { delete (Layout *)l; return OK; }
API int cublasLtMatmulPreferenceCreate(void **p) { *p = new Attributes; return OK; }
API int cublasLtMatmulPreferenceSetAttribute(void *p, int a, const void *v, size_t n) { return ((Attributes *)p)->set(a, v, n); }
API int cublasLtMatmulPreferenceDestroy(void *p) { delete (Attributes *)p; return OK; }

// plain is a library that can add a bias and nothing else at the end of a product: SOFTCUBLASLT_PLAIN=1. What a product adds from
// elsewhere it refuses when it runs, as real ones may.
static bool plain() {
  static const bool on = getenv("SOFTCUBLASLT_PLAIN") && !strcmp(getenv("SOFTCUBLASLT_PLAIN"), "1");
  return on;
}

// check refuses what does not fit together, and what the library documents as not supported.
static int check(const Desc *d, const Layout *a, const Layout *b, const Layout *c) {
  bool ta = d->get(TRANSA), tb = d->get(TRANSB);
  int64_t m = ta ? a->cols : a->rows, k = ta ? a->rows : a->cols, n = tb ? b->rows : b->cols, kb = tb ? b->cols : b->rows;
  if (m != c->rows || n != c->cols || k != kb || a->type != b->type) return INVALID;
  int64_t epilogue = d->get(EPILOGUE, 1);
  if ((epilogue & 128) && (d->get(AUX_LD) % 8 || d->get(AUX_LD) < m)) return NOT_SUPPORTED;
  if ((epilogue & (4 | 256)) && !d->get(BIAS)) return INVALID;
  if ((epilogue & 256) && (epilogue != 256 || c->get(BATCH, 1) > 1)) return NOT_SUPPORTED;
  if ((epilogue & 128) && c->get(BATCH, 1) > 1 && (!d->get(AUX_STEP) || d->get(AUX_STEP) % 8)) return NOT_SUPPORTED;
  if ((epilogue & 64) && (epilogue & (4 | 32))) return NOT_SUPPORTED;
  if (plain() && (epilogue & ~(1 | 4))) return NOT_SUPPORTED;
  return OK;
}

struct Heuristic { uint64_t algo[8]; size_t workspace; int state; float waves; int reserved[4]; };
static_assert(sizeof(Heuristic) == 96, "as in cublasLt.h");

API int cublasLtMatmulAlgoGetHeuristic(void *, void *d, void *a, void *b, void *c, void *, void *p, int asked, Heuristic *out, int *found) {
  *found = 0;
  if (int r = check((Desc *)d, (Layout *)a, (Layout *)b, (Layout *)c)) return r;
  const int compute_type = 2; // the one scheme that neither rounds partial sums nor adds them as they come
  if (((Attributes *)p)->get(SCHEMES, 7) & ~compute_type) return INVALID;
  for (; *found < 2 && *found < asked; ++*found) out[*found] = Heuristic{{(uint64_t)*found + 1}, 0, 0, 1, {}};
  return OK;
}

API int cublasLtMatmul(void *, void *d, const void *alpha, const void *pa, void *a, const void *pb, void *b, const void *beta,
                       const void *pc, void *c, void *pd, void *, const uint64_t *algo, void *workspace, size_t, void *stream) {
  if (int r = check((Desc *)d, (Layout *)a, (Layout *)b, (Layout *)c)) return r;
  if ((algo[0] != 1 && algo[0] != 2) || (uint64_t)workspace % 256) return INVALID;
  if (plain() && *(const float *)beta != 0 && pc != pd) return NOT_SUPPORTED;
  static std::vector<Product *> kept; // a graph may run a product any number of times
  kept.push_back(new Product{*(Desc *)d, *(Layout *)a, *(Layout *)b, *(Layout *)c, *(const float *)alpha, *(const float *)beta, pa, pb, pc, pd});
  return cuLaunchHostFunc(stream, compute, kept.back()) ? INVALID : OK;
}
