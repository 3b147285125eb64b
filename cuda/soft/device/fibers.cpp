// Fibers: the threads of a block, each with a stack of its own while it waits.
#include "runner.h"
#include <link.h>
#include <sys/mman.h>

// fiber_switch saves the callee-saved registers on this stack, its pointer in *save, and goes on at stack `to`.
extern "C" void fiber_switch(void **save, void *to);
asm(R"(.text
.globl fiber_switch
.hidden fiber_switch
.type fiber_switch,@function
fiber_switch:
  push %rbp
  push %rbx
  push %r12
  push %r13
  push %r14
  push %r15
  mov %rsp, (%rdi)
  mov %rsi, %rsp
  pop %r15
  pop %r14
  pop %r13
  pop %r12
  pop %rbx
  pop %rbp
  ret
.size fiber_switch, .-fiber_switch
)");

namespace simt {
thread_local Block *block;
thread_local Own own;

enum { kReady, kBlock, kWarp, kReleased };

Runner *this_runner() {
  if (!own.runner) own.runner = new Runner;
  return own.runner;
}

// Static shared memory is thread-local. It is filled with NaNs before a launch, so that a read before the write
// shows; `block` and `own` are kept.
void poison_shared() {
  if (!own.bytes) {
    auto look = [](dl_phdr_info *i, size_t, void *) {
      char *tls = (char *)i->dlpi_tls_data;
      for (int k = 0; k < i->dlpi_phnum; k++)
        if (i->dlpi_phdr[k].p_type == PT_TLS && tls && (char *)&own >= tls && (char *)&own < tls + i->dlpi_phdr[k].p_memsz)
          own.storage = tls, own.bytes = i->dlpi_phdr[k].p_memsz;
      return 0;
    };
    dl_iterate_phdr(look, nullptr);
  }
  Own mine = own;
  Block *b = simt::block;
  memset(mine.storage, 0xFF, mine.bytes);
  own = mine, simt::block = b;
}

char *Runner::stack() {
  if (!free_stacks.empty()) {
    char *s = free_stacks.back();
    free_stacks.pop_back();
    return s;
  }
  void *s = mmap(nullptr, kStack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  mprotect(s, 4096, PROT_NONE); // a stack that is too deep ends the process here
  return (char *)s;
}

// A fiber runs the threads of one warp one after another until one of them waits; then that thread keeps the
// fiber's stack, and the next one starts on another.
static void fiber_main() {
  for (;;) {
    Runner *r = own.runner;
    Thread *t = r->block.current;
    r->kernel->invoke(r->kernel->function, r->params);
    t->done = true;
    if (r->started < r->warp_end) {
      unsigned next = r->order(r->started++);
      std::swap(r->stacks[next], r->stacks[t->linear]);
      r->block.current = &r->threads[next];
      continue;
    }
    void *never;
    fiber_switch(&never, r->scheduler);
  }
}

static void pause(unsigned what) {
  Thread *t = own.runner->block.current;
  t->waiting = what;
  fiber_switch(&t->stack, own.runner->scheduler);
}
void wait_block() { pause(kBlock); }
void wait_warp(unsigned mask) {
  own.runner->block.current->mask = mask;
  pause(kWarp);
}

static Copies &own_copies() { return own.runner->copies[own.runner->block.current->linear]; }

void copy_later(void *to, const void *from, bool valid) {
  Copies &c = own_copies();
  c.list.push_back({to, from, valid, c.group});
}
void commit_copies() { own_copies().group++; }
void finish_copies(unsigned left) {
  Copies &c = own_copies();
  size_t kept = 0;
  for (auto &x : c.list) {
    if (x.group + left >= c.group) {
      c.list[kept++] = x;
      continue;
    }
    if (x.valid)
      memcpy(x.to, x.from, 16);
    else
      memset(x.to, 0, 16);
    own.runner->products.wrote(x.to);
  }
  c.list.resize(kept);
}

void Runner::start(unsigned i) {
  Thread *t = &threads[i];
  stacks[i] = stack();
  // Stack tops are staggered so that the threads' locals do not fall on the same cache lines.
  void **sp = (void **)(stacks[i] + kStack - (i * 9 % 64) * 128);
  *--sp = nullptr;
  *--sp = (void *)fiber_main;
  for (int k = 0; k < 6; k++) *--sp = nullptr;
  block.current = t;
  fiber_switch(&scheduler, sp);
}

// Runs warp [from,to) until every thread of it is done or waits for the block.
void Runner::run_warp(unsigned from, unsigned to) {
  warp_start = from, warp_end = to;
  bool fresh = !threads[from].done && !threads[from].stack; // first time in this block
  started = fresh ? from : to;
  for (;;) {
    if (fresh) {
      while (started < to) start(order(started++));
      fresh = false;
    } else {
      for (unsigned k = from; k < to; k++) {
        Thread *t = &threads[order(k)];
        if (t->done || t->waiting != kReady) continue;
        block.current = t;
        fiber_switch(&scheduler, t->stack);
      }
    }
    if (!release_warp(from, to)) return;
  }
}

// Lets go the threads whose whole mask has arrived at the warp barrier; a thread that has ended counts as there.
bool Runner::release_warp(unsigned from, unsigned to) {
  unsigned live = 0, there = 0, released = 0;
  for (unsigned i = from; i < to; i++) {
    live |= (unsigned)!threads[i].done << (i - from);
    there |= (unsigned)(threads[i].waiting == kWarp) << (i - from);
  }
  for (unsigned i = from; i < to; i++) {
    Thread *t = &threads[i];
    if (t->done && stacks[i]) {
      free_stacks.push_back(stacks[i]);
      stacks[i] = nullptr;
    }
    if (!t->done && t->waiting == kWarp && !(t->mask & live & ~there)) {
      t->waiting = kReleased;
      released++;
    }
  }
  for (unsigned i = from; i < to; i++)
    if (threads[i].waiting == kReleased) threads[i].waiting = kReady;
  return released > 0;
}

std::string Runner::run_block() {
  simt::block = &block;
  products.reset(count, shared);
  for (unsigned i = 0; i < count; i++) {
    Thread *t = &threads[i];
    t->linear = i, t->slot = 0, t->done = false, t->waiting = kReady, t->stack = nullptr;
    copies[i].list.clear();
    copies[i].group = 0;
  }
  unsigned warps = (count + 31) / 32;
  for (;;) {
    for (unsigned w = 0; w < warps; w++) {
      unsigned v = reverse ? warps - 1 - w : w;
      run_warp(v * 32, v * 32 + 32 < count ? v * 32 + 32 : count);
    }
    unsigned alive = 0, at_barrier = 0;
    for (unsigned i = 0; i < count; i++) {
      alive += !threads[i].done;
      at_barrier += !threads[i].done && threads[i].waiting == kBlock;
    }
    if (!alive) {
      for (const Lane &l : products.lanes)
        if (!l.parts.empty()) return "a thread ended while its warpgroup's products were under way";
      return products.fault;
    }
    if (at_barrier != alive)
      return "deadlock: " + std::to_string(alive - at_barrier) + " of " + std::to_string(count) + " threads wait at a warp barrier for lanes that wait for the block";
    if (alive != count && at_barrier) // CUDA leaves this undefined
      return "barrier in divergent code: " + std::to_string(count - alive) + " of " + std::to_string(count) + " threads ended, the others wait for them in __syncthreads";
    for (unsigned i = 0; i < count; i++) threads[i].waiting = kReady;
  }
}
} // namespace simt
