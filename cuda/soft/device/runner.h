// The state of one OS thread that runs blocks.
#pragma once
#include "fibers.h"
#include "wgmma.h"
#include <vector>

namespace simt {
const size_t kStack = 64 << 10;

// Copies of one thread that are under way.
struct Copies {
  struct Copy { void *to; const void *from; bool valid; unsigned group; };
  std::vector<Copy> list;
  unsigned group = 0; // that the next copy belongs to
};

struct Runner {
  Block block;
  std::vector<Copies> copies; // of each thread
  Products products;          // of warpgroups
  std::vector<Thread> threads;
  std::vector<char *> stacks, free_stacks; // the stack of each thread that has one; unused ones
  void *scheduler = nullptr;               // stack pointer of run_warp while a fiber runs
  const Kernel *kernel = nullptr;
  void **params = nullptr;
  unsigned count = 0;                               // threads of a block
  unsigned started = 0, warp_start = 0, warp_end = 0; // next thread of the warp to start
  unsigned shared = 0;                              // bytes of dynamic shared memory
  bool reverse = false;                             // run threads last to first

  // order is which thread runs k-th: within a warp, and warp by warp, first to last or last to first.
  unsigned order(unsigned k) const { return reverse ? warp_end - 1 - (k - warp_start) : k; }
  char *stack();
  void start(unsigned i);
  void run_warp(unsigned from, unsigned to);
  bool release_warp(unsigned from, unsigned to);
  std::string run_block();
};

// Own is this library's thread-local storage apart from `block`: all else in it is kernels' shared memory.
struct Own {
  Runner *runner;
  void *context, *capture; // of the driver
  void *interpreter;       // of the PTX machine: its block
  char *storage;           // the thread-local storage of this thread, and its size
  size_t bytes;
};
extern thread_local Own own;

Runner *this_runner();
void poison_shared();
} // namespace simt
