// Matrix instructions of a warp: mma.sync m16n8k16 of bf16 and m16n8k32 of signed bytes, ldmatrix. Source: PTX ISA, "Matrix Fragments
// for mma.m16n8k16 with floating point type", "… for mma.m16n8k32", ldmatrix. A lane's number is 4·group + member.
#include "table.h"

namespace ptx {
namespace {

float from_bf16(uint32_t half) { return __builtin_bit_cast(float, half << 16); }

// Operands: d0…d3, a0…a3, b0, b1, c0…c3.
//
// Element e of a lane's eight of A (16×16) lies at row group, + 8 where e is 2, 3, 6, 7; column 2·member + e mod 2, + 8 from e = 4
// on. Element e of its four of B (16×8): row 2·member + e mod 2, + 8 from e = 2 on; column group. Element e of C and D (16×8): row
// group, + 8 from e = 2 on; column 2·member + e mod 2.
void mma_bf16(const Ins &i, Warp &w) {
  float a[16][16], b[16][8], c[16][8];
  for (unsigned l = 0; l < kLanes; l++) {
    unsigned group = l >> 2, member = l & 3;
    for (unsigned e = 0; e < 8; e++)
      a[group + (e & 2 ? 8 : 0)][2 * member + (e & 1) + (e >= 4 ? 8 : 0)] = from_bf16(reg<uint32_t>(w, i.o[4 + e / 2])[l] >> 16 * (e & 1) & 0xffff);
    for (unsigned e = 0; e < 4; e++)
      b[2 * member + (e & 1) + (e >= 2 ? 8 : 0)][group] = from_bf16(reg<uint32_t>(w, i.o[8 + e / 2])[l] >> 16 * (e & 1) & 0xffff);
    for (unsigned e = 0; e < 4; e++) c[group + (e >= 2 ? 8 : 0)][2 * member + (e & 1)] = reg<float>(w, i.o[10 + e])[l];
  }
  // Products are exact in f32; the order of sums is the machine's own.
  for (unsigned row = 0; row < 16; row++)
    for (unsigned k = 0; k < 16; k++)
      for (unsigned column = 0; column < 8; column++) c[row][column] += a[row][k] * b[k][column];
  for (unsigned l = 0; l < kLanes; l++)
    for (unsigned e = 0; e < 4; e++) reg<float>(w, i.o[e])[l] = c[(l >> 2) + (e >= 2 ? 8 : 0)][2 * (l & 3) + (e & 1)];
}

// Element e of a lane's sixteen of A (16×32): row group, + 8 where e / 4 is odd; column 4·member + e mod 4, + 16 from e = 8 on. Of
// its eight of B (32×8): row 4·member + e mod 4, + 16 from e = 4 on; column group. C and D as above. Sums wrap around.
void mma_s8(const Ins &i, Warp &w) {
  int32_t a[16][32], b[32][8];
  uint32_t c[16][8];
  for (unsigned l = 0; l < kLanes; l++) {
    unsigned group = l >> 2, member = l & 3;
    for (unsigned e = 0; e < 16; e++)
      a[group + (e >> 2 & 1) * 8][4 * member + (e & 3) + (e >= 8 ? 16 : 0)] = (int8_t)(reg<uint32_t>(w, i.o[4 + e / 4])[l] >> 8 * (e & 3));
    for (unsigned e = 0; e < 8; e++)
      b[4 * member + (e & 3) + (e >= 4 ? 16 : 0)][group] = (int8_t)(reg<uint32_t>(w, i.o[8 + e / 4])[l] >> 8 * (e & 3));
    for (unsigned e = 0; e < 4; e++) c[group + (e >= 2 ? 8 : 0)][2 * member + (e & 1)] = reg<uint32_t>(w, i.o[10 + e])[l];
  }
  for (unsigned row = 0; row < 16; row++)
    for (unsigned k = 0; k < 32; k++)
      for (unsigned column = 0; column < 8; column++) c[row][column] += (uint32_t)(a[row][k] * b[k][column]);
  for (unsigned l = 0; l < kLanes; l++)
    for (unsigned e = 0; e < 4; e++) reg<uint32_t>(w, i.o[e])[l] = c[(l >> 2) + (e >= 2 ? 8 : 0)][2 * (l & 3) + (e & 1)];
}

// ldmatrix .x4: lane l gives the address of row l mod 8 of matrix l / 8, 16 bytes. Register j of lane l gets elements 2·member,
// 2·member + 1 of row group of matrix j; with .trans, of column group.
template <bool transposed> void load_matrices(const Ins &i, Warp &w) {
  resolve(i, w, i.o[4], i.wide, i.imm, kShared, 16, false);
  uint16_t m[4][8][8];
  for (unsigned l = 0; l < kLanes; l++) memcpy(m[l / 8][l % 8], w.pointer[l], 16);
  for (unsigned j = 0; j < 4; j++) {
    uint32_t *d = reg<uint32_t>(w, i.o[j]);
    for (unsigned l = 0; l < kLanes; l++) {
      unsigned group = l >> 2, member = l & 3;
      uint32_t low = transposed ? m[j][2 * member][group] : m[j][group][2 * member];
      uint32_t high = transposed ? m[j][2 * member + 1][group] : m[j][group][2 * member + 1];
      d[l] = low | high << 16;
    }
  }
}

void aligned(Ins &i) { i.kind = kSync, i.members = kAligned; }
void aligned_rows(Ins &i) { aligned(i), i.space = kShared, i.bytes = 16; }
} // namespace

void add_matrix(Table &t) {
  t["mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32"] = {mma_bf16, "ssss=ssssssssss", aligned};
  t["mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32"] = {mma_s8, "ssss=ssssssssss", aligned};
  t["ldmatrix.sync.aligned.m8n8.x4.shared.b16"] = {load_matrices<false>, "ssss=m", aligned_rows};
  t["ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16"] = {load_matrices<true>, "ssss=m", aligned_rows};
}
} // namespace ptx
