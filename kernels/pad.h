// A padded copy of a plane, for kernels whose windows reach over its edge; compiled once per level inside a body
// that has included rg_vec.h.

// pad_plane writes rows [r0,r1) of a copy of src (h,w) that starts `top` rows above and `left` columns before it, with
// `fill` around it. A row of the copy holds `phases` parts of `pitch` floats: column j lies in part j mod phases at
// j / phases, so that windows at a stride of `phases` read neighbouring floats.
static inline void RG_NAME(pad_plane)(float *dst, const float *src, long h, long w, long top, long left, long r0, long r1,
                                      long phases, long pitch, float fill) {
  vf around = v_set(fill);
  for (long f = 0; f < phases; f++) {
    long shift = f - left, first = shift < 0 ? rg_min(pitch, rg_ceil_div(-shift, phases)) : 0;
    long end = w > shift ? rg_max(first, rg_min(pitch, (w - 1 - shift) / phases + 1)) : first;
    for (long i = r0; i < r1; i++) {
      long r = i - top, j, inside = r >= 0 && r < h;
      float *to = dst + (i * phases + f) * pitch;
      const float *x = src + r * w + shift;
      for (j = 0; j < (inside ? first : pitch); j += RG_WIDTH) v_store(to + j, around, pitch - j);
      if (!inside) continue;
      if (phases == 1)
        for (j = first; j < end; j += RG_WIDTH) v_store(to + j, v_load(x + j, end - j, 0), pitch - j);
      else if (phases == 2)
        for (j = first; j < end; j++) to[j] = x[2 * j];
      else
        for (j = first; j < end; j++) to[j] = x[phases * j];
      for (j = end; j < pitch; j += RG_WIDTH) v_store(to + j, around, pitch - j);
    }
  }
}
