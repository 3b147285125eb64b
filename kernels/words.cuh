// Moving elements without looking into them: Word<size> is an unsigned integer of so many bytes, 16 for whole packs.
#pragma once
#include "device.cuh"

template <int size> struct Word;
template <> struct Word<1> { typedef unsigned char type; };
template <> struct Word<2> { typedef unsigned short type; };
template <> struct Word<4> { typedef unsigned type; };
template <> struct Word<8> { typedef uint64_t type; };
template <> struct Word<16> { typedef uint4 type; };

// fill_word is the bytes of `pattern`, repeated or cut to the word.
template <class W> DEVICE W fill_word(uint64_t pattern) { return (W)pattern; }
template <> DEVICE_MEMBER uint4 fill_word<uint4>(uint64_t pattern) {
  unsigned lo = (unsigned)pattern, hi = (unsigned)(pattern >> 32);
  return make_uint4(lo, hi, lo, hi);
}

// FOR_WORDS(F) expands F(size) for every size.
#define FOR_WORDS(F) F(1) F(2) F(4) F(8) F(16)

// split cuts i into quotient and remainder, by 32-bit division where the numbers allow: 64-bit division is slow.
DEVICE void split(int64_t i, int64_t by, int64_t &quotient, int64_t &rest) {
  if (((i | by) >> 32) == 0)
    quotient = (unsigned)i / (unsigned)by;
  else
    quotient = i / by;
  rest = i - quotient * by;
}
