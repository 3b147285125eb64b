// Tensor cores and asynchronous copies (sm_80 and newer): thin functions over the PTX instructions, each with a twin for
// the software device in mma_soft.h. Fragment layouts: PTX ISA, "Matrix Fragments for mma.m16n8k16".
#pragma once
#include "device.cuh"

#ifdef SOFTCUDA
#include "mma_soft.h"
#else

// mma_bf16: c (16,8) += a (16,16) · b (16,8), bf16 factors, f32 sums; all lanes of a warp take part. With g = lane/4 and
// t = lane%4 a lane holds, two bf16 per register, the first in the lower half:
//   a[0] = A[g][2t..], a[1] = A[g+8][2t..], a[2] = A[g][2t+8..], a[3] = A[g+8][2t+8..]
//   b[0] = B[2t..][g], b[1] = B[2t+8..][g]        (pairs run along k)
//   c[0..1] = C[g][2t..2t+1], c[2..3] = C[g+8][2t..2t+1]
DEVICE void mma_bf16(float c[4], const unsigned a[4], const unsigned b[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// mma_s8: c (16,8) += a (16,32) · b (32,8), signed bytes, sums in 32 bits that wrap around. A lane holds, four bytes per register,
// the first in the lowest:
//   a[0] = A[g][4t..], a[1] = A[g+8][4t..], a[2] = A[g][4t+16..], a[3] = A[g+8][4t+16..]
//   b[0] = B[4t..][g], b[1] = B[4t+16..][g]        (runs along k)
//   c as in mma_bf16
DEVICE void mma_s8(int c[4], const unsigned a[4], const unsigned b[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// shared_at is an address of shared memory: 32 bits, so that arithmetic on it costs half of that on pointers.
typedef unsigned shared_at;
DEVICE shared_at shared_address(const void *p) { return (unsigned)__cvta_generic_to_shared(p); }

// load_matrix_x4 reads four 8×8 matrices of bf16 from shared memory: lane l passes the address of row l%8 of matrix
// l/8 (16 bytes, 16-aligned); register j of lane l becomes elements 2(l%4), 2(l%4)+1 of row l/4 of matrix j. With trans,
// of column l/4.
template <bool trans> DEVICE void load_matrix_x4(unsigned r[4], shared_at at) {
  if (trans)
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(at) : "memory");
  else
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(at) : "memory");
}

// copy_async16 starts a copy of 16 bytes from global to shared memory, both 16-aligned; where valid is false, zeros are
// written and nothing is read. The bytes are there after copy_async_wait, for other threads after a barrier.
DEVICE void copy_async16(shared_at shared, const void *global, bool valid) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared), "l"(global), "r"(valid ? 16 : 0) : "memory");
}

// copy_async_commit ends a group of copies; copy_async_wait<n> waits until at most n groups are under way.
DEVICE void copy_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int n> DEVICE void copy_async_wait() { asm volatile("cp.async.wait_group %0;" ::"n"(n) : "memory"); }

// exp2_approx is 2^x to 2 units in the last place, in one instruction; results below 2⁻¹²⁶ are 0.
DEVICE float exp2_approx(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

#endif

template <bool trans> DEVICE void load_matrix_x4(unsigned r[4], const void *row) { load_matrix_x4<trans>(r, shared_address(row)); }
DEVICE void copy_async16(void *shared, const void *global, bool valid) { copy_async16(shared_address(shared), global, valid); }

// pack_bf16 rounds two numbers into one register, lo in the lower half.
DEVICE unsigned pack_bf16(float lo, float hi) {
  return (unsigned)float_to_bf16(lo).bits | (unsigned)float_to_bf16(hi).bits << 16;
}
