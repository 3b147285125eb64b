// The PTX machine: decoded code, and the state of a launch, a block and a warp.
//
// A warp's registers are arrays over its 32 lanes. An instruction runs for the lanes in Warp::mask: all lanes are computed, the others
// keep what they had. Places name registers: a byte offset into the warp's registers or, with the lowest bit set,
// into the code's constants.
#pragma once
#include "text.h"
#include <cstring>
#include <memory>

namespace ptx {
const unsigned kLanes = 32;
const uint32_t kAll = ~0u;
// Addresses of shared and local memory start here, so that a null pointer is an error.
const uint64_t kSharedStart = 1024, kLocalStart = 256;
// Generic addresses of shared and local memory; all else is global.
const uint64_t kSharedWindow = 1ull << 60, kLocalWindow = 2ull << 60, kWindow = 1ull << 56;

typedef uint32_t Place;
enum Space : uint8_t { kGeneric, kGlobal, kShared, kLocal, kParam };

// Use is how the race check takes an access to global memory: ld.global.nc reads what nobody writes in the launch.
enum Use : uint8_t { kPlainUse, kReadonly, kAtomic };

struct Warp;
struct Ins;
struct Watch;
typedef void (*Step)(const Ins &, Warp &);

// Kind is what the warp's loop does with an instruction; all but kPlain may change which lanes run.
enum Kind : uint8_t { kPlain, kGuarded, kJoin, kBranch, kSync, kBarrier, kCall, kReturn };

struct Ins {
  Step step = nullptr;
  const Place *o = nullptr;     // operands, destinations first
  const Watch *watch = nullptr; // registers that may not have been written before: see written.cpp
  int64_t imm = 0, imm2 = 0;    // offsets of addresses; other numbers that the instruction's name gives
  Place guard = 0;              // of kGuarded and kBranch, where guarded is set
  uint32_t target = 0;          // of kBranch and kCall: an index of code
  uint32_t statement = 0;       // where it comes from, for messages
  Kind kind = kPlain;
  Space space = kGeneric;
  bool guarded = false, negated = false;
  bool wide = false, wide2 = false; // whether addresses are in 64-bit registers
  Use use = kPlainUse;
  uint8_t bytes = 0, count = 1; // of an element in memory; elements
  uint8_t results = 0, sources = 0; // operands of each kind
  uint8_t members = 0;          // of kSync: the operand that is the mask of lanes; kAligned: all lanes
};
const uint8_t kAligned = 255;

// Watch names the registers that an instruction reads and, by what is known before the kernel runs, may not have been written; and those
// it writes that are watched elsewhere. Each has a place that notes the lanes whose value is none.
struct Watch {
  Step step;
  bool matters;            // the instruction must not read such a value; otherwise its result is such a value
  bool select;             // selp: only the operand that is chosen counts
  Place chosen[2] = {};    // its notes for both, 0 where it has none
  std::vector<Place> reads, writes;
};
// unwritten throws if one of the lanes that run reads a register that it has not written.
void unwritten(const Watch &watch, const Warp &w);

struct Parameter { uint64_t offset, bytes; };

// Code is a kernel with all functions that it calls, decoded.
struct Code {
  std::string name;
  std::vector<Ins> ins;
  std::vector<Statement> statements;
  std::map<unsigned, std::string> files;
  std::vector<std::unique_ptr<Place[]>> operands;
  std::vector<std::unique_ptr<Watch>> watches;
  std::vector<char> constants;      // values spread over lanes
  std::vector<Parameter> params;
  uint64_t param_bytes = 0, shared_bytes = 0, local_bytes = 0, register_bytes = 0;
  uint64_t dynamic_at = 0;          // where dynamic shared memory starts
  unsigned threads = 0;             // largest block
  unsigned shared_granule = 16, global_granule = 16; // least access: what the race checks count in
};

// Where special registers lie in every warp's registers: first of all.
enum Special { kTidX, kTidY, kTidZ, kCtaidX, kCtaidY, kCtaidZ, kNtidX, kNtidY, kNtidZ, kNctaidX, kNctaidY, kNctaidZ, kLaneid, kWarpid, kSpecials };

// Range is an allocation of device memory, or a module's variable, with two 32-bit stamps per granule of what blocks did to it.
struct Range {
  uint64_t from, bytes;
  uint32_t *stamps;
};

struct Launch {
  const Code *code;
  unsigned grid[3], size[3], shared; // shared: dynamic bytes
  const std::vector<char> *params;
  const std::vector<Range> *ranges;  // sorted
  uint32_t stamp;                    // of the first block
  unsigned threads;                  // of a block
};

// Fault is what an instruction throws; lanes are those at fault.
struct Fault {
  std::string what;
  uint32_t lanes;
};
[[noreturn]] void fault(uint32_t lanes, const std::string &what);
std::string hex(uint64_t x);

// Copy is a cp.async under way.
struct Copy {
  unsigned lane, group;
  uint32_t to; // in shared memory
  const char *from;
  unsigned bytes, taken; // bytes written; of them read, the others are zeros
};

// Cell is what was done to a granule of shared memory: see shared.cpp.
struct Cell {
  uint32_t wrote, read, lanes;
  uint16_t writer, reader;
};

struct Group {
  enum State : uint8_t { Ready, Waiting, AtBarrier } state;
  uint32_t pc, mask, members;
  bool aligned; // waits for lanes that have ended, too
};
// Frame is where the lanes of a warp are, within the kernel or one call.
struct Frame {
  Group groups[kLanes];
  unsigned count = 0;
  uint32_t live = 0;
};

struct Block;
struct Warp {
  char *base[2]; // registers, constants
  uint32_t mask, live, started; // lanes that run now, that have not ended, that there are
  uint32_t carry;  // condition code: one bit per lane
  uint32_t synced; // the clock at the last bar.warp.sync
  char *local;     // of all lanes, one after another
  Block *block;
  unsigned index;
  bool waits;      // at the block's barrier
  Frame frame;
  std::vector<Copy> copies;
  unsigned group[kLanes]; // that a lane's next copy belongs to
  char *pointer[kLanes];  // what resolve found
};

struct Block {
  const Launch *launch = nullptr;
  unsigned index[3];
  uint32_t stamp = 0;            // this block's
  uint32_t clock = 1, started = 0, synced = 0; // events so far; at the block's start; at the last barrier
  const Range *last = nullptr;   // that an access fell into
  std::vector<Warp> warps;
  std::vector<char> storage, shared, locals;
  std::vector<Cell> cells;
  bool reverse = false;
};

inline char *at(const Warp &w, Place p) { return w.base[p & 1] + (p & ~1u); }
template <class T> T *reg(const Warp &w, Place p) { return reinterpret_cast<T *>(at(w, p)); }
inline uint32_t &pred(const Warp &w, Place p) { return *reinterpret_cast<uint32_t *>(at(w, p)); }
inline uint32_t first_lane(uint32_t mask) { return (uint32_t)__builtin_ctz(mask); }

// each writes d[l] = f(l) for the lanes that run. d may be one of the registers that f reads: at the same lane only.
template <class T, class F> inline __attribute__((always_inline)) void each(const Warp &w, T *d, F f) {
  if (w.mask == kAll) {
#pragma GCC ivdep
    for (unsigned l = 0; l < kLanes; l++) d[l] = f(l);
  } else {
    T t[kLanes];
    for (unsigned l = 0; l < kLanes; l++) t[l] = f(l);
    uint32_t mask = w.mask;
    for (unsigned l = 0; l < kLanes; l++) d[l] = mask >> l & 1 ? t[l] : d[l];
  }
}

// set writes a predicate for the lanes that run.
template <class F> inline __attribute__((always_inline)) void set(const Warp &w, uint32_t &d, F f) {
  uint32_t bits = 0;
  for (unsigned l = 0; l < kLanes; l++) bits |= f(l) ? 1u << l : 0;
  d = (d & ~w.mask) | (bits & w.mask);
}

// run goes on with a warp until all its lanes ended, or wait for the block: then it returns true.
bool run(Warp &w);
// call runs a function for the lanes in w.mask.
void call(Warp &w, uint32_t target);
// run_block runs the block whose number is n; it throws Fault.
void run_block(Block &b, uint64_t n);

// resolve makes pointers of the addresses of the lanes that run, and checks them. place holds the addresses.
void resolve(const Ins &i, Warp &w, Place place, bool wide, int64_t offset, Space space, unsigned bytes, bool write);
// shared_access notes and checks an access of one thread to shared memory, whose offset starts at 0.
void shared_access(Warp &w, unsigned lane, uint64_t offset, unsigned bytes, bool write);
void global_access(Warp &w, const Range &r, unsigned lane, uint64_t address, unsigned bytes, bool write, Use use);
const Range *range_of(Warp &w, uint64_t address, unsigned bytes);
void finish_copies(Warp &w, uint32_t lanes, unsigned left);
void start_copy(Warp &w, unsigned lane, uint64_t to, const char *from, unsigned bytes, unsigned taken);
} // namespace ptx
