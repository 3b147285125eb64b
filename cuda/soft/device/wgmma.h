// What the software device keeps of a block's warpgroup products and of its shared memory's way to them.
#pragma once
#include "fibers.h"
#include <deque>
#include <string>
#include <vector>

namespace simt {
// A product that a warpgroup has begun. The first of its threads reads b; the last that finishes reads it again: who writes to
// it in between is found.
struct Product {
  uint64_t a, b;
  unsigned n;
  bool down, add, registers;
  std::vector<float> read; // b, (16,n)
  unsigned issued = 0, finished = 0;
};

// One thread's part of a product: rows g and g+8 of its warp, and where its sums and factors are.
struct Part {
  uint64_t product; // index among the warpgroup's
  unsigned group;   // of products that this thread commits together
  float *c;
  const unsigned *registers; // factors, where they are in registers
  unsigned held[4];          // what they were
  float rows[2][16];         // of a
};

// Sums that products are adding to: what they are, while the thread's own registers hold NaN.
struct Sums {
  float *c;
  unsigned n, under_way;
  float value[128];
};

struct Lane {
  uint64_t next = 0; // product to begin
  unsigned group = 0;
  bool ordered = false; // a wgmma.fence came after the last wait
  std::vector<Part> parts;
  std::vector<Sums> sums;
};

// Products are those of a block.
struct Products {
  struct Warpgroup {
    std::deque<Product> list;
    uint64_t first = 0; // index of list's first
  };
  // Written marks 16 bytes of shared memory that a copy wrote, until the same thread's fence.proxy.async.
  struct Written { unsigned thread, epoch; };

  std::vector<Lane> lanes;
  std::vector<Warpgroup> groups;
  std::vector<Written> written;
  std::vector<unsigned> epochs; // of each thread: proxy fences and blocks that it has begun
  size_t chunks = 0;            // of 16 bytes that the block has
  bool begun = false;           // there were products in this block
  std::string fault;            // the first mistake

  void reset(unsigned threads, unsigned shared); // before a block
  void wrote(const void *to); // 16 bytes, by the current thread
};
} // namespace simt
