// Products and convolutions of 8-bit numbers on tensor cores (mma.m16n8k32), exact in 32 bits, and what becomes of them. The plain
// version, matched bit for bit, is qmatmul.go.
//
// Unsigned numbers lose their upper bit's meaning first: u − 128 is signed, and so moves the zero point. Zero points come in at
// the end, modulo 2³²:  Σ(x−zx)(w−zw) = Σxw − zw·Σx − zx·Σw + k·zx·zw.
//
// A block of 64×64 reads 8 KB per 64 of k for 0.52 MOP: 64 operations per byte. Tiles of this size suit the small batches of
// inference.
#include "mma.cuh"
#include "requant.cuh"

#define QTHREADS 128 // 2×2 warps of 32×32
#define QTILE 64     // rows, columns, and k of a panel, in bytes
#define QPITCH 80    // bytes from row to row in shared memory: a fragment's 8 rows fall on different banks

// QProduct is qproductArgs of qmatmul_cuda.go: x (m,k), w (n,k), or (k,n) for qmatmul_down, per group.
struct QProduct {
  const void *x, *w, *xz, *wz;
  void *y;
  int xt, wt, wz_many, m, n, k;
  int packed_x, packed_w; // lines along k start on 16 bytes
};

// A thread brings 32 bytes of a panel: half of line t/2. flip turns unsigned bytes into signed ones.
DEVICE int panel_line() { return threadIdx.x / 2; }
DEVICE int panel_from() { return threadIdx.x % 2 * 32; }
DEVICE unsigned flip_of(int type) { return type == kU8 ? 0x80808080u : 0u; }
DEVICE int signed_zero(const void *z, int type, int i) { return load_quantized(z, type, i) - (type == kU8 ? 128 : 0); }

// Bytes collects single bytes into words.
struct Bytes {
  unsigned word[8];
  DEVICE_MEMBER void clear() {
#pragma unroll
    for (int i = 0; i < 8; i++) word[i] = 0;
  }
  DEVICE_MEMBER void put(int i, unsigned byte) { word[i / 4] |= (byte & 0xffu) << i % 4 * 8; }
  DEVICE_MEMBER void stash(uint4 *panel) const {
    uint4 *to = panel + (panel_line() * QPITCH + panel_from()) / 16;
    to[0] = make_uint4(word[0], word[1], word[2], word[3]);
    to[1] = make_uint4(word[4], word[5], word[6], word[7]);
  }
};

// LineBytes reads lines along k, or down (k,n).
template <bool down> struct LineBytes {
  const uint8_t *p;
  unsigned flip;
  int lines, k, packed;
  DEVICE_MEMBER void fetch(Bytes &b, int line0, int k0) const {
    int line = line0 + panel_line(), from = k0 + panel_from();
    b.clear();
    if (line >= lines) return;
    if (packed && !down) {
#pragma unroll
      for (int h = 0; h < 2; h++)
        if (from + 16 * h < k) { // k is whole packs
          uint4 v = *(const uint4 *)(p + (int64_t)line * k + from + 16 * h);
          b.word[4 * h] = v.x ^ flip, b.word[4 * h + 1] = v.y ^ flip, b.word[4 * h + 2] = v.z ^ flip, b.word[4 * h + 3] = v.w ^ flip;
        }
      return;
    }
    int64_t step = down ? lines : 1;
    const uint8_t *first = down ? p + (int64_t)from * lines + line : p + (int64_t)line * k + from;
#pragma unroll
    for (int i = 0; i < 32; i++)
      if (from + i < k) b.put(i, first[i * step] ^ flip);
  }
};

// WindowBytes reads a pixel's window: line is the pixel, k the tap (channel, r, s). Padding is the zero point.
struct WindowBytes {
  const uint8_t *p;
  unsigned flip;
  int lines, k, group;
  unsigned zero; // as a signed byte
  QConv q;
  DEVICE_MEMBER void fetch(Bytes &b, int line0, int k0) const {
    int line = line0 + panel_line(), from = k0 + panel_from(), cg = q.c / q.groups, window = q.kh * q.kw;
    b.clear();
    if (line >= lines) return;
    int ox = line % q.ow, oy = line / q.ow % q.oh, image = line / q.ow / q.oh;
#pragma unroll
    for (int i = 0; i < 32; i++) {
      if (from + i >= k) continue;
      int tap = (from + i) % window, channel = group * cg + (from + i) / window;
      int y = oy * q.sh + tap / q.kw * q.dh - q.top, x = ox * q.sw + tap % q.kw * q.dw - q.left;
      unsigned byte = zero;
      if ((unsigned)y < (unsigned)q.h && (unsigned)x < (unsigned)q.w) {
        int64_t at = q.nhwc ? (((int64_t)image * q.h + y) * q.w + x) * q.c + channel : (((int64_t)image * q.c + channel) * q.h + y) * q.w + x;
        byte = p[at] ^ flip;
      }
      b.put(i, byte);
    }
  }
};

// Where element (row, col) of y lies.
struct ToRows {
  int n;
  DEVICE_MEMBER int64_t at(int row, int col) const { return (int64_t)row * n + col; }
};
struct ToPixels {
  QConv q;
  DEVICE_MEMBER int64_t at(int row, int col) const {
    if (q.nhwc) return (int64_t)row * q.o + col;
    int plane = q.oh * q.ow;
    return ((int64_t)(row / plane) * q.o + col) * plane + row % plane;
  }
};

// qproduct computes one tile of y: columns col0.. of the group that starts at column first.
template <class A, class B, class To> DEVICE void qproduct(const A &a, const B &b, const To &to, const QProduct &g, const Requant &p, int zx, int first) {
  __shared__ uint4 panels[2][2][QTILE * QPITCH / 16];
  __shared__ int sums[2][QTILE]; // of x's rows, of w's columns
  int row0 = blockIdx.x * QTILE, col0 = blockIdx.y * QTILE;
  int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, q = lane / 4, t = lane % 4, row = warp / 2 * 32, col = warp % 2 * 32;
  int c[2][4][4], sum = 0;
#pragma unroll
  for (int i = 0; i < 2; i++)
#pragma unroll
    for (int j = 0; j < 4; j++)
#pragma unroll
      for (int e = 0; e < 4; e++) c[i][j][e] = 0;
  Bytes x, w;
  a.fetch(x, row0, 0);
  b.fetch(w, col0, 0);
  int stage = 0;
  for (int k = 0; k < g.k; k += QTILE, stage ^= 1) {
    x.stash(panels[stage][0]);
    w.stash(panels[stage][1]);
    __syncthreads(); // and the other stage has been read by all
    if (k + QTILE < g.k) a.fetch(x, row0, k + QTILE), b.fetch(w, col0, k + QTILE);
    const uint8_t *pa = (const uint8_t *)panels[stage][0], *pb = (const uint8_t *)panels[stage][1];
    // The sum of one line: rows by the first half of the threads, columns by the other.
    const int *line = (const int *)((const uint8_t *)panels[stage][threadIdx.x / QTILE] + threadIdx.x % QTILE * QPITCH);
#pragma unroll
    for (int i = 0; i < QTILE / 4; i++) sum = __dp4a(line[i], 0x01010101, sum);
#pragma unroll
    for (int s = 0; s < QTILE; s += 32) {
      unsigned fa[2][4], fb[4][2];
#pragma unroll
      for (int i = 0; i < 2; i++)
#pragma unroll
        for (int e = 0; e < 4; e++) fa[i][e] = *(const unsigned *)(pa + (row + 16 * i + q + e % 2 * 8) * QPITCH + s + e / 2 * 16 + 4 * t);
#pragma unroll
      for (int j = 0; j < 4; j++)
#pragma unroll
        for (int e = 0; e < 2; e++) fb[j][e] = *(const unsigned *)(pb + (col + 8 * j + q) * QPITCH + s + e * 16 + 4 * t);
#pragma unroll
      for (int i = 0; i < 2; i++)
#pragma unroll
        for (int j = 0; j < 4; j++) mma_s8(c[i][j], fa[i], fb[j]);
    }
  }
  __syncthreads(); // all have read the panels: the tile takes their place
  int *tile = (int *)panels;
#pragma unroll
  for (int i = 0; i < 2; i++)
#pragma unroll
    for (int j = 0; j < 4; j++)
#pragma unroll
      for (int e = 0; e < 4; e++) tile[(row + 16 * i + q + e / 2 * 8) * QTILE + col + 8 * j + 2 * t + e % 2] = c[i][j][e];
  sums[threadIdx.x / QTILE][threadIdx.x % QTILE] = sum;
  __syncthreads();
  for (int i = threadIdx.x; i < QTILE * QTILE; i += QTHREADS) {
    int r = i / QTILE, k = i % QTILE, column = first + col0 + k;
    if (row0 + r >= g.m || col0 + k >= g.n) continue;
    unsigned zw = (unsigned)signed_zero(g.wz, g.wt, g.wz_many ? column : 0);
    unsigned total = (unsigned)tile[i] - zw * (unsigned)sums[0][r] - (unsigned)zx * (unsigned)sums[1][k] + (unsigned)g.k * (unsigned)zx * zw;
    requantize(p, (int)total, g.y, to.at(row0 + r, column), column);
  }
}

template <bool down> DEVICE void qmatmul_of(const QProduct &g, const Requant &p) {
  LineBytes<false> a = {(const uint8_t *)g.x, flip_of(g.xt), g.m, g.k, g.packed_x};
  LineBytes<down> b = {(const uint8_t *)g.w, flip_of(g.wt), g.n, g.k, g.packed_w};
  ToRows to = {g.n};
  qproduct(a, b, to, g, p, signed_zero(g.xz, g.xt, 0), 0);
}

KERNEL(qmatmul, QTHREADS, (QProduct g, Requant p)) { qmatmul_of<false>(g, p); }
KERNEL(qmatmul_down, QTHREADS, (QProduct g, Requant p)) { qmatmul_of<true>(g, p); }

// Rows are pixels of all images, columns the group's output channels: blockIdx.z is the group.
KERNEL(qconv2d, QTHREADS, (QProduct g, QConv q, Requant p)) {
  int group = blockIdx.z, zx = signed_zero(g.xz, g.xt, 0);
  WindowBytes a = {(const uint8_t *)g.x, flip_of(g.xt), g.m, g.k, group, (unsigned)zx, q};
  LineBytes<false> b = {(const uint8_t *)g.w + (int64_t)group * g.n * g.k, flip_of(g.wt), g.n, g.k, g.packed_w};
  ToPixels to = {q};
  qproduct(a, b, to, g, p, zx, group * g.n);
}
