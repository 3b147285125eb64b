// A padded copy of a plane, for kernels whose windows reach over its edge; compiled once per level inside a body
// that has included rg_vec.h.

// Lane numbers: in order, the even ones of two vectors, and those that interleave the lower halves of two.
#undef RG_LANE
#undef RG_EVEN
#undef RG_LOW
#if RG_WIDTH == 16
#define RG_LANE (vi){0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}
#define RG_LOW (vi){0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23}
#elif RG_WIDTH == 8
#define RG_LANE (vi){0, 1, 2, 3, 4, 5, 6, 7}
#define RG_LOW (vi){0, 8, 1, 9, 2, 10, 3, 11}
#else
#define RG_LANE (vi){0, 1, 2, 3}
#define RG_LOW (vi){0, 4, 1, 5}
#endif
#define RG_EVEN (2 * RG_LANE)

// pad_plane writes rows [r0,r1) of a padded copy of src (h,w), `fill` around it. Row i of the copy is row i·down − top of
// src, column j is column j − left. A row holds `parts` parts of `pitch` floats: column j lies in part j mod phases
// at j / phases, so that windows at a stride of `phases` read neighbouring floats; parts beyond the first `parts` are
// left out.
static inline void RG_NAME(pad_plane)(float *dst, const float *src, long h, long w, long top, long left, long r0, long r1,
                                      long down, long phases, long parts, long pitch, float fill) {
  vf around = v_set(fill);
  for (long f = 0; f < parts; f++) {
    long shift = f - left, first = shift < 0 ? rg_min(pitch, rg_ceil_div(-shift, phases)) : 0;
    long end = w > shift ? rg_max(first, rg_min(pitch, (w - 1 - shift) / phases + 1)) : first;
    for (long i = r0; i < r1; i++) {
      long r = i * down - top, j, inside = r >= 0 && r < h;
      float *to = dst + (i * parts + f) * pitch;
      const float *x = src + r * w + shift;
      for (j = 0; j < (inside ? first : pitch); j += RG_WIDTH) v_store(to + j, around, pitch - j);
      if (!inside) continue;
      if (phases == 1)
        for (j = first; j < end; j += RG_WIDTH) v_store(to + j, v_load(x + j, end - j, 0), pitch - j);
      else if (phases == 2)
        for (j = first; j < end; j += RG_WIDTH) {
          long k = 2 * (end - j) - 1; // floats of x left
          vf lo = v_load(x + 2 * j, k, 0), hi = k > RG_WIDTH ? v_load(x + 2 * j + RG_WIDTH, k - RG_WIDTH, 0) : lo;
          v_store(to + j, __builtin_shuffle(lo, hi, RG_EVEN), pitch - j);
        }
      else
        for (j = first; j < end; j++) to[j] = x[phases * j];
      for (j = end; j < pitch; j += RG_WIDTH) v_store(to + j, around, pitch - j);
    }
  }
}
