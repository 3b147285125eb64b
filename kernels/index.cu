// Reading by index: rows of tables, slices and single elements. The plain version is index.go. An index outside the axis
// reads `absent`: NaN, or 0 where the type has none.
#include "broadcast.cuh"
#include "words.cuh"

#define INDEX_THREADS 256

// wrapped maps −n…n−1 to 0…n−1 where indices count from the end too, anything else to −1.
DEVICE int64_t wrapped(int64_t i, int64_t n, int wrap) {
  if (wrap && i < 0) i += n;
  return i < 0 || i >= n ? -1 : i;
}

// y (outer,count,inner) = x (outer,n,inner) at ids (count), one word per thread.
template <class W, class I>
DEVICE void take(const W *x, const I *ids, W *y, int64_t words, int64_t count, int64_t n, int64_t inner, int wrap, uint64_t absent) {
  for (int64_t i = first_index(); i < words; i += index_stride()) {
    int64_t row, at, o, k;
    split(i, inner, row, at);
    split(row, count, o, k);
    int64_t id = wrapped(ids[k], n, wrap);
    y[i] = id < 0 ? fill_word<W>(absent) : x[(o * n + id) * inner + at];
  }
}

// y[i] = x[the place of i, but ids[i] along the axis]: the nest runs over ids, stride 0 along the axis, whose own stride and
// size are step and n.
template <class W, class I>
DEVICE void take_elements(const W *x, const I *ids, W *y, const Broadcast<1> &p, int64_t step, int64_t n, uint64_t absent) {
  for (int64_t i = first_index(); i < p.n; i += index_stride()) {
    int64_t at[1], id = wrapped(ids[i], n, 1);
    offsets<uint64_t, 1>(p, i, at);
    y[i] = id < 0 ? fill_word<W>(absent) : x[at[0] + id * step];
  }
}

#define TAKE(size, suffix, I)                                                                                           \
  KERNEL(take_##suffix##_##size, INDEX_THREADS, (const Word<size>::type *x, const I *ids, Word<size>::type *y,          \
                                                 int64_t words, int64_t count, int64_t n, int64_t inner, int wrap,      \
                                                 uint64_t absent)) {                                                    \
    take<Word<size>::type, I>(x, ids, y, words, count, n, inner, wrap, absent);                                         \
  }                                                                                                                     \
  KERNEL(take_elements_##suffix##_##size, INDEX_THREADS, (const Word<size>::type *x, const I *ids, Word<size>::type *y, \
                                                          Broadcast<1> p, int64_t step, int64_t n, uint64_t absent)) {  \
    take_elements<Word<size>::type, I>(x, ids, y, p, step, n, absent);                                                  \
  }
#define TAKES(size) TAKE(size, i32, int) TAKE(size, i64, int64_t)

FOR_WORDS(TAKES)
