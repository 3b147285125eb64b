// The loop of a warp. Lanes at the same place run together, as a group. Of several groups the one that is least far goes first, so
// that lanes meet again after a branch. Instructions named .sync wait for the lanes of their mask.
#include "machine.h"

namespace ptx {
namespace {

// take merges the groups that are ready at the lowest place into one, and takes it out; limit becomes where the next one is.
bool take(Frame &f, Group &g, uint32_t &limit) {
  g = {Group::Ready, kAll, 0, 0, false};
  limit = kAll;
  for (unsigned k = 0; k < f.count; k++)
    if (f.groups[k].state == Group::Ready && f.groups[k].pc < g.pc) g.pc = f.groups[k].pc;
  unsigned kept = 0;
  for (unsigned k = 0; k < f.count; k++) {
    const Group &o = f.groups[k];
    if (o.state == Group::Ready && o.pc == g.pc) {
      g.mask |= o.mask;
      continue;
    }
    if (o.state == Group::Ready && o.pc < limit) limit = o.pc;
    f.groups[kept++] = o;
  }
  f.count = kept;
  return g.mask != 0;
}

void park(Frame &f, Group::State state, uint32_t pc, uint32_t mask, uint32_t members = 0, bool aligned = false) {
  if (mask) f.groups[f.count++] = {state, pc, mask, members, aligned};
}

std::string lanes_of(uint32_t mask) { return "lanes " + hex(mask); }

// meet takes out groups that wait at the same instruction for the same lanes, if those are all there.
bool meet(Frame &f, Group &g) {
  for (unsigned k = 0; k < f.count; k++) {
    Group all = f.groups[k];
    if (all.state != Group::Waiting) continue;
    for (unsigned j = 0; j < f.count; j++)
      if (j != k && f.groups[j].state == Group::Waiting && f.groups[j].pc == all.pc && f.groups[j].members == all.members) all.mask |= f.groups[j].mask;
    if (all.mask != (all.aligned ? all.members : all.members & f.live)) continue;
    unsigned kept = 0;
    for (unsigned j = 0; j < f.count; j++)
      if (f.groups[j].state != Group::Waiting || f.groups[j].pc != all.pc || f.groups[j].members != all.members) f.groups[kept++] = f.groups[j];
    f.count = kept, g = all;
    return true;
  }
  return false;
}

// stuck explains why no lane can go on. It returns if all wait at the block's barrier.
void stuck(const Frame &f) {
  uint32_t pc = f.groups[0].pc;
  for (unsigned k = 0; k < f.count; k++) {
    const Group &g = f.groups[k];
    if (g.state == Group::Waiting)
      fault(g.mask, "waits for " + lanes_of((g.aligned ? g.members : g.members & f.live) & ~g.mask) + ", which end or wait elsewhere");
    if (g.pc != pc) fault(g.mask, "barrier in divergent code: lanes of one warp wait at different barriers");
  }
}

// arrive brings a group to an instruction that waits for lanes; it returns true where they are all there.
bool arrive(Warp &w, Frame &f, const Ins &i, uint32_t pc) {
  if (i.members == kAligned) {
    if (w.mask == w.started) return true;
    park(f, Group::Waiting, pc, w.mask, w.started, true);
    return false;
  }
  const uint32_t *members = reg<uint32_t>(w, i.o[i.members]);
  uint32_t rest = w.mask, same = 0;
  while (rest) { // lanes with different masks part
    uint32_t mask = members[first_lane(rest)];
    same = 0;
    for (uint32_t m = rest; m; m &= m - 1)
      if (members[first_lane(m)] == mask) same |= m & -m;
    if (same & ~mask) fault(same & ~mask, "is not in the mask " + hex(mask) + " of its own instruction");
    if (mask & ~w.started) mask &= w.started; // a warp of fewer than 32 threads
    if (same == w.mask && same == (mask & f.live)) return true;
    park(f, Group::Waiting, pc, same, mask);
    rest &= ~same;
  }
  return false;
}

[[noreturn]] void locate(const Warp &w, Fault &e, const Ins &i) {
  const Code &code = *w.block->launch->code;
  const Statement &s = code.statements[i.statement];
  unsigned lane = first_lane(e.lanes ? e.lanes : w.mask ? w.mask : 1), t = w.index * kLanes + lane;
  const unsigned *size = w.block->launch->size, *at = w.block->index;
  auto triple = [](unsigned x, unsigned y, unsigned z) { return "(" + std::to_string(x) + "," + std::to_string(y) + "," + std::to_string(z) + ")"; };
  std::string source;
  if (s.source) source = " (" + (code.files.count(s.file) ? code.files.at(s.file) : "?") + ":" + std::to_string(s.source) + ")";
  std::string text = s.name;
  for (size_t k = 0; k < s.operands.size(); k++) text += (k ? ", " : " ") + s.operands[k];
  throw std::runtime_error("kernel " + code.name + ", block " + triple(at[0], at[1], at[2]) + ", thread " + triple(t % size[0], t / size[0] % size[1], t / size[0] / size[1]) +
                           ", PTX line " + std::to_string(s.line) + source + ": " + text + ": " + e.what);
}

// go runs a frame until its lanes have returned, or all of them wait for the block: then it returns true.
bool go(Warp &w, Frame &f, bool kernel) {
  const Ins *code = w.block->launch->code->ins.data(), *i = code;
  try {
    for (;;) {
      Group g;
      uint32_t limit;
      bool met = false;
      if (!take(f, g, limit)) {
        if (!f.count) return false;
        met = meet(f, g);
        if (!met) {
          i = code + f.groups[0].pc;
          stuck(f);
          return true;
        }
      }
      w.mask = g.mask;
      i = code + g.pc;
      if (met) i->step(*i, w), i++;
      for (;; i++) {
        switch (i->kind) {
        case kPlain: i->step(*i, w); continue;
        case kGuarded: {
          uint32_t mask = w.mask, p = pred(w, i->guard);
          w.mask &= i->negated ? ~p : p;
          if (w.mask) i->step(*i, w);
          w.mask = mask;
          continue;
        }
        case kJoin:
          if ((uint32_t)(i - code) < limit) continue;
          break;
        case kBranch: {
          if (i->watch) unwritten(*i->watch, w);
          uint32_t p = i->guarded ? pred(w, i->guard) : kAll, taken = w.mask & (i->negated ? ~p : p);
          uint32_t next = (uint32_t)(i - code) + 1;
          if (taken == w.mask) {
            i = code + i->target - 1; // the label there looks at limit
            continue;
          }
          if (!taken && next < limit) continue;
          park(f, Group::Ready, i->target, taken);
          park(f, Group::Ready, next, w.mask & ~taken);
          goto again;
        }
        case kSync:
          if (arrive(w, f, *i, (uint32_t)(i - code))) {
            i->step(*i, w);
            continue;
          }
          goto again;
        case kBarrier:
          if (f.count == 0 && w.mask == w.live) {
            park(f, Group::AtBarrier, (uint32_t)(i - code), w.mask);
            return true;
          }
          park(f, Group::AtBarrier, (uint32_t)(i - code), w.mask);
          goto again;
        case kCall: call(w, i->target); continue;
        case kReturn:
          f.live &= ~w.mask;
          if (kernel) w.live &= ~w.mask;
          goto again;
        }
        park(f, Group::Ready, (uint32_t)(i - code), w.mask);
        break;
      }
    again:;
    }
  } catch (Fault &e) {
    locate(w, e, *i);
  }
}
} // namespace

bool run(Warp &w) {
  if (w.waits) {
    for (unsigned k = 0; k < w.frame.count; k++) w.frame.groups[k].state = Group::Ready, w.frame.groups[k].pc++;
    w.waits = false;
  }
  return w.waits = go(w, w.frame, true);
}

void call(Warp &w, uint32_t target) {
  Frame f;
  f.live = w.mask;
  park(f, Group::Ready, target, w.mask);
  uint32_t mask = w.mask;
  go(w, f, false);
  w.mask = mask;
}
} // namespace ptx
