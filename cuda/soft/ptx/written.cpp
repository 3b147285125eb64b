// Registers that are read before they are written. Compilers do that where the value does not matter in the end, so it is an error
// only where such a value becomes an address, a condition of a branch, what is stored, or what other lanes see; all else passes
// it on. What is certain is found once, when a kernel is decoded: a register is written at a place if it is on every way there. Only
// where that is not so, instructions note what their lanes have written.
#include "decode.h"
#include <algorithm>
#include <unordered_map>

namespace ptx {
namespace {

typedef std::vector<uint64_t> Bits;

// Stretch is code without a label or a branch inside.
struct Stretch {
  uint32_t from, to;
  std::vector<unsigned> next;
  Bits in; // registers written for certain at its start
};

struct Analysis {
  Code &code;
  std::unordered_map<Place, unsigned> number; // registers that are named
  std::vector<Stretch> all;

  void each(const Ins &i, bool results, const std::function<void(Place)> &f) {
    unsigned from = results ? 0 : i.results, to = results ? i.results : i.results + i.sources;
    for (unsigned k = from; k < to; k++)
      if (!(i.o[k] & 1)) f(i.o[k]);
    if (!results && i.guarded && !(i.guard & 1)) f(i.guard);
  }
  bool has(const Bits &b, Place p) { return b[number.at(p) / 64] >> number.at(p) % 64 & 1; }
  void add(Bits &b, Place p) { b[number.at(p) / 64] |= 1ull << number.at(p) % 64; }
  void remove(Bits &b, Place p) { b[number.at(p) / 64] &= ~(1ull << number.at(p) % 64); }

  bool matters(const Ins &i) { return i.bytes || i.kind != kPlain; }
  // pass is what an instruction does to the registers that are written for certain.
  void pass(const Ins &i, Bits &now) {
    if (i.kind == kGuarded) return;
    bool certain = true;
    if (!matters(i)) each(i, false, [&](Place p) { certain = certain && has(now, p); });
    each(i, true, [&](Place p) { certain ? add(now, p) : remove(now, p); });
  }

  void cut() {
    std::vector<unsigned> at(code.ins.size() + 1, 0); // stretch that starts at an instruction, plus one
    for (uint32_t k = 0; k < code.ins.size(); k++) {
      bool first = !k || code.ins[k].kind == kJoin || code.ins[k - 1].kind == kBranch || code.ins[k - 1].kind == kReturn;
      if (first) all.push_back({k, k, {}, {}}), at[k] = (unsigned)all.size();
      all.back().to = k + 1;
    }
    for (Stretch &s : all) {
      const Ins &last = code.ins[s.to - 1];
      bool ends = last.kind == kReturn || (last.kind == kBranch && !last.guarded);
      if (last.kind == kBranch) s.next.push_back(at[last.target] - 1);
      if (!ends && s.to < code.ins.size()) s.next.push_back(at[s.to] - 1);
    }
  }

  void flow(const std::vector<uint32_t> &starts, const std::vector<Place> &written) {
    size_t words = number.size() / 64 + 1;
    Bits none(words, 0);
    for (Place p : written)
      if (number.count(p)) add(none, p);
    std::vector<unsigned> work;
    for (unsigned k = (unsigned)all.size(); k-- > 0;) {
      Stretch &s = all[k];
      s.in.assign(words, ~0ull);
      if (std::find(starts.begin(), starts.end(), s.from) != starts.end()) s.in = none;
      work.push_back(k);
    }
    while (!work.empty()) {
      Stretch &s = all[work.back()];
      work.pop_back();
      Bits now = s.in;
      for (uint32_t j = s.from; j < s.to; j++) pass(code.ins[j], now);
      for (unsigned n : s.next) {
        bool changed = false;
        for (size_t k = 0; k < words; k++) {
          uint64_t out = all[n].in[k] & now[k];
          changed |= out != all[n].in[k], all[n].in[k] = out;
        }
        if (changed) work.push_back(n);
      }
    }
  }
};

void watched(const Ins &i, Warp &w) {
  const Watch &watch = *i.watch;
  if (watch.matters) unwritten(watch, w);
  uint32_t none = 0;
  if (!watch.matters && !watch.select)
    for (Place p : watch.reads) none |= pred(w, p);
  if (watch.select) {
    uint32_t p = pred(w, i.o[3]);
    none = (watch.chosen[0] ? pred(w, watch.chosen[0]) & p : 0) | (watch.chosen[1] ? pred(w, watch.chosen[1]) & ~p : 0);
    for (Place r : watch.reads) none |= pred(w, r);
  }
  watch.step(i, w);
  for (Place p : watch.writes) pred(w, p) = (pred(w, p) & ~w.mask) | (none & w.mask);
}
} // namespace

void unwritten(const Watch &watch, const Warp &w) {
  for (Place p : watch.reads)
    if (uint32_t lanes = pred(w, p) & w.mask) fault(lanes, "reads a register that was never written");
}

void watch_registers(Code &code, const std::vector<uint32_t> &starts, const std::vector<Place> &written) {
  Analysis a{code, {}, {}};
  for (const Ins &i : code.ins)
    for (bool results : {false, true}) a.each(i, results, [&](Place p) { a.number.emplace(p, (unsigned)a.number.size()); });
  a.cut(), a.flow(starts, written);
  // Where each doubtful register notes the lanes whose value is none: like all registers, it starts as ones.
  std::unordered_map<Place, Place> notes;
  std::vector<std::unique_ptr<Watch>> watches(code.ins.size());
  auto watch = [&](uint32_t k) -> Watch & {
    const Ins &i = code.ins[k];
    if (!watches[k]) watches[k] = std::make_unique<Watch>(Watch{i.step, a.matters(i), code.statements[i.statement].name.compare(0, 5, "selp.") == 0, {}, {}, {}});
    return *watches[k];
  };
  auto note = [&](Place p) {
    if (!notes.count(p)) notes[p] = (Place)code.register_bytes, code.register_bytes += place_bytes('p');
    return notes[p];
  };
  for (Stretch &s : a.all) {
    Bits now = s.in;
    for (uint32_t k = s.from; k < s.to; k++) {
      const Ins &i = code.ins[k];
      a.each(i, false, [&](Place p) {
        if (a.has(now, p)) return;
        Watch &x = watch(k);
        bool first = x.select && i.o[1] == p, second = x.select && i.o[2] == p;
        if (first) x.chosen[0] = note(p);
        if (second) x.chosen[1] = note(p);
        if (!first && !second) x.reads.push_back(note(p));
      });
      a.pass(i, now);
    }
  }
  for (uint32_t k = 0; k < code.ins.size(); k++) {
    Ins &i = code.ins[k];
    a.each(i, true, [&](Place p) {
      if (notes.count(p)) watch(k).writes.push_back(notes[p]);
    });
    if (!watches[k]) continue;
    i.watch = watches[k].get();
    if (i.step) i.step = watched;
    code.watches.push_back(std::move(watches[k]));
  }
}
} // namespace ptx
