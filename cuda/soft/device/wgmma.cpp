// Products of warpgroups on the software device. What a GPU leaves undefined is an error here, where it can be seen: sums and factors
// touched while products are under way, shared memory that changes meanwhile or that no proxy fence released, tiles off
// their pattern, threads of a warpgroup that begin different products.
#include "wgmma.h"
#include "runner.h"
#include "mma_soft.h"

namespace simt {
static Products &products() { return own.runner->products; }
static Lane &lane_of_thread() { return products().lanes[own.runner->block.current->linear]; }
static void fault(const std::string &what) {
  if (products().fault.empty()) products().fault = what;
}

void Products::reset(unsigned threads, unsigned shared) {
  if (epochs.size() < threads) epochs.resize(threads);
  for (unsigned &e : epochs) e++; // what was copied in blocks before does not count
  chunks = shared / 16;
  if (written.size() < chunks) written.resize(chunks);
  if (begun) lanes.clear(), groups.clear(), fault.clear();
  begun = false;
  if (lanes.size() < threads) lanes.resize(threads), groups.resize((threads + 127) / 128);
}

// place returns the index of the 16 bytes at p in the block's dynamic shared memory, or more than there are.
static size_t place(const void *p) {
  size_t at = (const char *)p - own.runner->block.dynamic;
  return own.runner->block.dynamic ? at / 16 : (size_t)-1;
}

void Products::wrote(const void *to) {
  size_t i = place(to);
  unsigned thread = own.runner->block.current->linear;
  if (i < chunks) written[i] = {thread, epochs[thread]};
}

void release_to_async() { products().epochs[own.runner->block.current->linear]++; }

// chunk returns the 16 bytes at an address as a descriptor has it, 18 bits, swizzled as 128-byte patterns are.
static const unsigned short *chunk(uint64_t address) {
  static const unsigned short none[8] = {0x7fff, 0x7fff, 0x7fff, 0x7fff, 0x7fff, 0x7fff, 0x7fff, 0x7fff};
  Products &all = products();
  uint64_t base = (uint64_t)own.runner->block.dynamic, window = 1 << 18;
  address ^= (address >> 7 & 7) << 4;
  uint64_t p = (base & ~(window - 1)) | (address & (window - 1));
  if (p < base) p += window;
  size_t i = (p - base) / 16;
  if ((p - base) % 16 || i >= all.chunks) {
    fault("wgmma reads outside the block's shared memory");
    return none;
  }
  Products::Written w = all.written[i];
  if (w.epoch && w.epoch == all.epochs[w.thread])
    fault("wgmma reads what thread " + std::to_string(w.thread) + " copied to shared memory without fence.proxy.async after it");
  return (const unsigned short *)p;
}

struct Matrix {
  uint64_t start, leading, stride;
  Matrix(uint64_t d, bool rows) : start((d & 0x3fff) << 4), leading((d >> 16 & 0x3fff) << 4), stride((d >> 32 & 0x3fff) << 4) {
    if (d >> 62 != 1 || d >> 49 & 7) fault("wgmma: a descriptor of another kind than 128-byte swizzle with base offset 0");
    if (rows && leading != 16) fault("wgmma: a descriptor of rows with an offset between panels");
    if (start & 0x380) fault("wgmma: a matrix that starts within a pattern of 1024 bytes");
  }
  // Eight columns from 8·half on of row r of 16 columns.
  const unsigned short *across(unsigned r, unsigned half) const { return chunk(start + r / 8 * stride + r % 8 * 128 + half * 16); }
  // Eight columns from c on, a multiple of 8, of row k of 16 rows.
  const unsigned short *down(unsigned k, unsigned c) const { return chunk(start + c / 64 * leading + k / 8 * stride + k % 8 * 128 + c % 64 * 2); }
};

// read_b returns b as (16,n).
static std::vector<float> read_b(const Product &p) {
  std::vector<float> out(16 * p.n);
  Matrix m(p.b, !p.down);
  for (unsigned i = 0; i < p.n; i += p.down ? 8 : 1)
    for (unsigned k = 0; k < 16; k += p.down ? 1 : 8) {
      const unsigned short *x = p.down ? m.down(k, i) : m.across(i, k / 8);
      for (unsigned e = 0; e < 8; e++) out[p.down ? k * p.n + i + e : (k + e) * p.n + i] = upper_half(x[e]);
    }
  return out;
}

// read_a reads this thread's two rows of a in shared memory.
static void read_a(float (*rows)[16], uint64_t a) {
  Matrix m(a, true);
  unsigned me = own.runner->block.current->linear;
  for (unsigned r = 0; r < 2; r++)
    for (unsigned k = 0; k < 16; k++) rows[r][k] = upper_half(m.across(me % 128 / 32 * 16 + lane() / 4 + 8 * r, k / 8)[k % 8]);
}

void wgmma_issue(float *c, unsigned n, const unsigned *registers, uint64_t a, uint64_t b, bool down, bool add) {
  Thread *me = own.runner->block.current;
  Products::Warpgroup &group = products().groups[me->linear / 128];
  products().begun = true;
  // The four registers of every lane, to take the rows of a from; all lanes of the warp are here.
  const uint64_t nothing[2] = {};
  auto all = board(registers ? (const void *)registers : nothing, 16);
  Lane &mine = lane_of_thread();
  if (!mine.ordered) fault("wgmma without wgmma.fence after the last wait");
  if (mine.next - group.first == group.list.size()) {
    Product p{a, b, n, down, add, registers != nullptr, {}, 0, 0};
    p.read = read_b(p);
    group.list.push_back(p);
  }
  Product &p = group.list[mine.next - group.first];
  if (p.a != a || p.b != b || p.n != n || p.down != down || p.add != add || p.registers != (registers != nullptr))
    fault("wgmma: the threads of a warpgroup begin different products");
  p.issued++;
  Part part{mine.next++, mine.group, c, registers, {}, {}};
  if (registers) {
    memcpy(part.held, registers, sizeof part.held);
    for (unsigned r = 0; r < 2; r++)
      for (unsigned k = 0; k < 16; k++) part.rows[r][k] = upper_half(((const unsigned short *)all[lane() / 4 * 4 + k % 8 / 2])[2 * (r + k / 8 * 2) + k % 2]);
  } else {
    read_a(part.rows, a);
  }
  mine.parts.push_back(part);
  for (Sums &s : mine.sums)
    if (s.c == c) {
      s.under_way++;
      return;
    }
  Sums s{c, n, 1, {}};
  memcpy(s.value, c, n / 2 * sizeof(float));
  memset((void *)c, 0xff, n / 2 * sizeof(float)); // NaN until they are ready
  mine.sums.push_back(s);
}

void wgmma_order() { lane_of_thread().ordered = true; }
void wgmma_close() { lane_of_thread().group++; }

// finish adds one part of a product to its sums, and looks whether anything was touched since it began.
static void finish(Lane &mine, const Part &part) {
  Products::Warpgroup &group = products().groups[own.runner->block.current->linear / 128];
  Product &p = group.list[part.product - group.first];
  Sums *s = nullptr;
  for (Sums &x : mine.sums)
    if (x.c == part.c) s = &x;
  for (unsigned j = 0; j < p.n / 2; j++) {
    unsigned row = j / 2 % 2, col = j / 4 * 8 + lane() % 4 * 2 + j % 2;
    float sum = 0;
    for (unsigned k = 0; k < 16; k++) sum += part.rows[row][k] * p.read[k * p.n + col];
    s->value[j] = p.add ? s->value[j] + sum : sum;
  }
  if (part.registers && memcmp(part.registers, part.held, sizeof part.held)) fault("wgmma: factors in registers changed while a product read them");
  if (!part.registers) {
    float again[2][16];
    read_a(again, p.a);
    if (memcmp(again, part.rows, sizeof again)) fault("wgmma: a factor in shared memory changed while a product read it");
  }
  unsigned threads = own.runner->count - own.runner->block.current->linear / 128 * 128;
  if (++p.finished == (threads < 128 ? threads : 128)) {
    if (p.issued != 128) fault("wgmma by less than a warpgroup of 128 threads");
    std::vector<float> again = read_b(p);
    if (memcmp(again.data(), p.read.data(), again.size() * sizeof(float))) fault("wgmma: a factor in shared memory changed while a product read it");
    p.read = {};
  }
  if (--s->under_way) return;
  for (unsigned j = 0; j < s->n / 2; j++)
    if (__float_as_uint(s->c[j]) != ~0u) fault("wgmma: sums were written while products added to them");
  memcpy(s->c, s->value, s->n / 2 * sizeof(float));
  mine.sums.erase(mine.sums.begin() + (s - mine.sums.data()));
}

void wgmma_finish(unsigned left) {
  Lane &mine = lane_of_thread();
  mine.ordered = false;
  size_t done = 0;
  while (done < mine.parts.size() && mine.parts[done].group + left < mine.group) finish(mine, mine.parts[done++]);
  mine.parts.erase(mine.parts.begin(), mine.parts.begin() + done);
  Products::Warpgroup &group = products().groups[own.runner->block.current->linear / 128];
  while (!group.list.empty() && group.list.front().finished == 128) group.list.pop_front(), group.first++;
}
} // namespace simt
