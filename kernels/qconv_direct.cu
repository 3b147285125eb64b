// Convolutions of 8-bit numbers in groups too narrow for tiles of qproduct.cu, and their maxima over windows. The plain version,
// matched bit for bit, is qmatmul.go.
#include "requant.cuh"
#include "words.cuh"

#define QTHREADS 256

// A thread per element of y.
KERNEL(qconv2d_direct, QTHREADS, (const void *x, int xt, const void *xz, const void *w, int wt, const void *wz, int wz_many, void *y, QConv q, Requant p)) {
  int zx = load_quantized(xz, xt, 0), cg = q.c / q.groups, og = q.o / q.groups;
  for (int64_t i = first_index(); i < q.n; i += index_stride()) {
    int64_t rest = i;
    int o, oy, ox;
    if (q.nhwc) {
      o = (int)(rest % q.o), rest /= q.o;
      ox = (int)(rest % q.ow), rest /= q.ow;
      oy = (int)(rest % q.oh), rest /= q.oh;
    } else {
      ox = (int)(rest % q.ow), rest /= q.ow;
      oy = (int)(rest % q.oh), rest /= q.oh;
      o = (int)(rest % q.o), rest /= q.o;
    }
    int zw = load_quantized(wz, wt, wz_many ? o : 0);
    unsigned sum = 0;
    for (int c = 0; c < cg; c++)
      for (int r = 0; r < q.kh; r++) {
        int yy = oy * q.sh + r * q.dh - q.top, channel = o / og * cg + c;
        if (yy < 0 || yy >= q.h) continue;
        for (int s = 0; s < q.kw; s++) {
          int xx = ox * q.sw + s * q.dw - q.left;
          if (xx < 0 || xx >= q.w) continue;
          int64_t at = q.nhwc ? ((rest * q.h + yy) * q.w + xx) * q.c + channel : ((rest * q.c + channel) * q.h + yy) * q.w + xx;
          int64_t tap = (((int64_t)o * cg + c) * q.kh + r) * q.kw + s;
          sum += (unsigned)((load_quantized(x, xt, at) - zx) * (load_quantized(w, wt, tap) - zw));
        }
      }
    requantize(p, (int)sum, y, i, o);
  }
}

// The largest of every window; the least number of the type where it has no pixel. q.c = q.o planes.
KERNEL(qmaxpool2d, QTHREADS, (const void *x, int xt, void *y, QConv q)) {
  for (int64_t i = first_index(); i < q.n; i += index_stride()) {
    int64_t rest = i, c = 0, oy, ox;
    if (q.nhwc) split(i, q.o, rest, c);
    split(rest, q.ow, rest, ox);
    split(rest, q.oh, rest, oy); // without nhwc, rest is the plane
    int best = xt == kU8 ? 0 : -128;
    for (int r = 0; r < q.kh; r++)
      for (int s = 0; s < q.kw; s++) {
        int yy = (int)oy * q.sh + r * q.dh - q.top, xx = (int)ox * q.sw + s * q.dw - q.left;
        if (yy < 0 || yy >= q.h || xx < 0 || xx >= q.w) continue;
        int64_t at = (rest * q.h + yy) * q.w + xx;
        int v = load_quantized(x, xt, q.nhwc ? at * q.c + c : at);
        best = v > best ? v : best;
      }
    store_quantized(y, i, best);
  }
}
