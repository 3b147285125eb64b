// The software twins of wgmma.cuh: products that land only when they are waited for, from shared memory read through the
// descriptors that a GPU would get. wgmma.cpp does the work, and says what is wrong.
#pragma once

namespace simt {
// issue starts c (64,n) = a·b or += a·b for the calling thread's part, a being in four registers, or where these are null in shared
// memory. down: b's 16 rows are given, not its columns.
void wgmma_issue(float *c, unsigned n, const unsigned *registers, uint64_t a, uint64_t b, bool down, bool add);
void wgmma_order();                // wgmma.fence
void wgmma_close();                // ends a group
void wgmma_finish(unsigned left);  // until at most so many groups are under way
void release_to_async();           // fence.proxy.async
} // namespace simt

static inline void fence_async() { simt::release_to_async(); }
static inline void wgmma_fence() { simt::wgmma_order(); }
static inline void wgmma_commit() { simt::wgmma_close(); }
template <int n, class... Sums> static inline void wgmma_wait(Sums &...) { simt::wgmma_finish(n); }
template <int N> static inline void wgmma_rows(float (&c)[N / 2], wgmma_matrix a, wgmma_matrix b, bool add) { simt::wgmma_issue(c, N, nullptr, a, b, false, add); }
template <int N> static inline void wgmma_rows(float (&c)[N / 2], const unsigned (&a)[4], wgmma_matrix b, bool add) { simt::wgmma_issue(c, N, a, 0, b, false, add); }
template <int N> static inline void wgmma_columns(float (&c)[N / 2], const unsigned (&a)[4], wgmma_matrix b) { simt::wgmma_issue(c, N, a, 0, b, true, true); }
