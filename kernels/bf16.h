// Rows of bf16 to f32 and back, for the bodies that rg_multi.h compiles once per level. Rounding is to nearest, ties to
// even; NaN stays NaN (as rg_to_bf16; the compiler does not vectorise loops over rg.h's functions well).
static void RG_NAME(widen)(const uint16_t *x, float *y, long n) {
  long i = 0;
#if RG_WIDTH == 16
  for (; i + 16 <= n; i += 16) {
    __m512i u = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(x + i)));
    _mm512_storeu_si512(y + i, _mm512_slli_epi32(u, 16));
  }
#elif RG_WIDTH == 8
  for (; i + 8 <= n; i += 8) {
    __m256i u = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(x + i)));
    _mm256_storeu_si256((__m256i *)(y + i), _mm256_slli_epi32(u, 16));
  }
#endif
  for (; i < n; i++) y[i] = rg_from_bf16(x[i]);
}

static void RG_NAME(narrow)(const float *x, uint16_t *y, long n) {
  long i = 0;
#if RG_WIDTH == 16
  for (; i + 16 <= n; i += 16) {
    __m512 v = _mm512_loadu_ps(x + i);
    __m512i u = _mm512_castps_si512(v), high = _mm512_srli_epi32(u, 16);
    __m512i odd = _mm512_and_si512(high, _mm512_set1_epi32(1));
    __m512i r = _mm512_srli_epi32(_mm512_add_epi32(u, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff))), 16);
    r = _mm512_mask_or_epi32(r, _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q), high, _mm512_set1_epi32(0x40));
    _mm256_storeu_si256((__m256i *)(y + i), _mm512_cvtepi32_epi16(r));
  }
#elif RG_WIDTH == 8
  for (; i + 8 <= n; i += 8) {
    __m256 v = _mm256_loadu_ps(x + i);
    __m256i u = _mm256_castps_si256(v), high = _mm256_srli_epi32(u, 16);
    __m256i odd = _mm256_and_si256(high, _mm256_set1_epi32(1));
    __m256i r = _mm256_srli_epi32(_mm256_add_epi32(u, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff))), 16);
    __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(v, v, _CMP_UNORD_Q));
    r = _mm256_blendv_epi8(r, _mm256_or_si256(high, _mm256_set1_epi32(0x40)), nan);
    r = _mm256_permute4x64_epi64(_mm256_packus_epi32(r, r), 0x08);
    _mm_storeu_si128((__m128i *)(y + i), _mm256_castsi256_si128(r));
  }
#endif
  for (; i < n; i++) y[i] = rg_to_bf16(x[i]);
}
