#include "decode.h"

namespace ptx {

const Table &table() {
  static const Table all = [] {
    Table t;
    add_integer(t), add_wide(t), add_float(t), add_compare(t), add_convert(t), add_exchange(t), add_matrix(t), add_async(t);
    return t;
  }();
  return all;
}

Code decode(const Loaded &loaded, const std::string &kernel) {
  Code code;
  code.name = kernel;
  code.files = loaded.module.files;
  Decoder(loaded, code).run(loaded.module.functions.at(kernel));
  return code;
}

void Decoder::run(const Function &kernel) {
  code.threads = kernel.threads;
  std::vector<Statement> statements = parse_body(loaded.module, kernel);
  symbols.use_shared(kernel, statements);
  body(kernel, statements);
  while (!waiting.empty()) {
    std::string name = waiting.back();
    waiting.pop_back();
    Callee &c = callees.at(name);
    c.start = here();
    body(*c.function, parse_body(loaded.module, *c.function));
  }
  for (auto &b : branches) {
    auto i = labels.find(b.second);
    if (i == labels.end()) throw Error("kernel " + code.name + ": label " + b.second.substr(b.second.find(' ') + 1) + " does not exist");
    code.ins[b.first].target = i->second;
  }
  for (auto &c : calls) code.ins[c.first].target = callees.at(c.second).start;
  std::vector<uint32_t> starts = {0};
  std::vector<Place> written;
  for (unsigned k = 0; k < kSpecials; k++) written.push_back(k * place_bytes('s'));
  for (auto &c : callees) {
    starts.push_back(c.second.start);
    for (auto *places : {&c.second.params, &c.second.results})
      for (auto &p : *places) written.push_back(p.first);
  }
  watch_registers(code, starts, written);
  code.register_bytes = round_up(code.register_bytes, 64);
  code.local_bytes = round_up(code.local_bytes, 16);
}

// Parameters of a kernel lie in its parameter space, those of other functions and results in registers.
void Decoder::parameters(const Function &f) {
  if (f.entry) {
    for (const Variable &v : f.params) {
      uint64_t offset = round_up(code.param_bytes, v.align);
      Symbol s{Symbol::Address};
      s.address = offset, s.space = kParam;
      symbols.declare(v.name, s);
      code.params.push_back({offset, v.bytes});
      code.param_bytes = offset + v.bytes;
    }
    return;
  }
  Callee &c = callees.at(f.name);
  auto declare = [&](const std::vector<Variable> &all, const std::vector<std::pair<Place, char>> &places) {
    for (size_t k = 0; k < all.size(); k++) {
      Symbol s{Symbol::Register};
      s.place = places[k].first, s.letter = places[k].second;
      symbols.declare(all[k].name, s);
    }
  };
  declare(f.params, c.params), declare(f.results, c.results);
}

void Decoder::body(const Function &f, const std::vector<Statement> &statements) {
  function = f.name + " ";
  symbols.open();
  parameters(f);
  for (const Statement &s : statements) {
    statement = (uint32_t)code.statements.size();
    try {
      if (s.kind == Statement::Open) symbols.open();
      else if (s.kind == Statement::Close) symbols.close();
      else if (s.kind == Statement::Declaration && f.entry && s.variable.space == "shared") continue; // use_shared did
      else if (s.kind == Statement::Declaration) symbols.declare(s.variable);
      else if (s.kind == Statement::Label) labels[function + s.name] = here(), emit(kJoin);
      else code.statements.push_back(s), instruction(s);
    } catch (const Error &e) {
      throw Error("kernel " + code.name + ", PTX line " + std::to_string(s.line) + ", " + s.name + ": " + e.what());
    }
  }
  emit(kReturn); // where a body ends without ret
  symbols.leave();
}

Ins &Decoder::emit(Step step, const std::vector<Place> &results, const std::vector<Place> &sources) {
  Ins i;
  i.step = step, i.statement = statement;
  auto places = std::make_unique<Place[]>(results.size() + sources.size() + 1);
  std::copy(sources.begin(), sources.end(), std::copy(results.begin(), results.end(), places.get()));
  i.results = (uint8_t)results.size(), i.sources = (uint8_t)sources.size(), i.o = places.get();
  code.operands.push_back(std::move(places));
  code.ins.push_back(i);
  return code.ins.back();
}

Ins &Decoder::emit(Kind kind) {
  Ins &i = emit(nullptr, {}, {});
  i.kind = kind;
  return i;
}

void Decoder::describe(Ins &i, Ins facts) {
  facts.step = i.step, facts.o = i.o, facts.results = i.results, facts.sources = i.sources, facts.statement = i.statement;
  i = facts;
}

// What may change which lanes run is not guarded: a guard branches around it.
static bool jumps(const std::string &name) {
  for (const char *p : {"ret", "exit", "call", "bar", "shfl", "vote", "mma", "ldmatrix"})
    if (name.compare(0, strlen(p), p) == 0) return true;
  return false;
}

void Decoder::instruction(const Statement &s) {
  std::string family = s.name.substr(0, s.name.find('.'));
  if (family == "bra") return branch(s, function + s.operands.at(0), true);
  bool around = !s.guard.empty() && jumps(s.name);
  std::string after = function + "past " + std::to_string(here());
  if (around) branch(s, after, false);
  uint32_t from = here();
  if (family == "ret" || family == "exit") {
    if (family == "exit" && function != code.name + " ") throw Error("exit in a function that is called");
    emit(kReturn);
  } else if (family == "call") {
    call(s);
  } else if (family == "ld") {
    memory(s, true);
  } else if (family == "st") {
    memory(s, false);
  } else if (family == "mov") {
    move(s);
  } else if (family == "cvta") {
    window(s);
  } else if (s.name == "bar.sync" || s.name == "barrier.sync" || s.name == "barrier.sync.aligned") {
    barrier(s);
  } else if (family == "cvt") {
    convert(s);
  } else {
    auto e = table().find(s.name);
    if (e == table().end()) throw Error("this instruction is not known to the PTX machine");
    plain(s, e->second, s.operands);
  }
  if (around) {
    labels[after] = here(), emit(kJoin);
  } else if (!s.guard.empty()) {
    for (uint32_t k = from; k < here(); k++) {
      Ins &i = code.ins[k];
      i.kind = kGuarded, i.guard = symbols.place(s.guard, 'p'), i.guarded = true, i.negated = s.negated;
    }
  }
}

void Decoder::branch(const Statement &s, const std::string &label, bool when) {
  branches.push_back({here(), label});
  Ins &i = emit(kBranch);
  i.guarded = !s.guard.empty();
  if (i.guarded) i.guard = symbols.place(s.guard, 'p'), i.negated = s.negated == when;
}

// [register + offset], [variable + offset], [number]
Decoder::Address Decoder::address(const std::string &operand) {
  if (operand.size() < 3 || operand[0] != '[') throw Error("operand " + operand + " is no address");
  std::string base = operand.substr(1, operand.size() - 2);
  int64_t offset = 0;
  size_t plus = base.find('+');
  uint64_t bits;
  if (plus != std::string::npos) {
    if (!number(base.substr(plus + 1), 'l', bits)) throw Error("operand " + operand + " is no address");
    offset = (int64_t)bits, base.resize(plus);
  }
  if (number(base, 'l', bits)) return {symbols.constant('l', 0), true, (int64_t)bits + offset};
  const Symbol *s = symbols.find(base);
  if (!s) throw Error("operand " + base + " is not declared");
  if (s->kind == Symbol::Address) return {symbols.constant('l', 0), true, (int64_t)s->address + offset};
  if (s->letter != 's' && s->letter != 'l') throw Error("address register " + base + " has neither 32 nor 64 bits");
  return {s->place, s->letter == 'l', offset};
}

void Decoder::granules(Space space, unsigned bytes) {
  if (space == kShared || space == kGeneric) code.shared_granule = std::min(code.shared_granule, bytes);
  if (space == kGlobal || space == kGeneric) code.global_granule = std::min(code.global_granule, bytes);
}

// flat is the operands with those in braces, and pairs such as d|p, one by one.
static std::vector<std::string> flat(const std::vector<std::string> &operands) {
  std::vector<std::string> out;
  for (const std::string &o : operands) {
    bool list = o[0] == '{';
    std::string s = list ? o.substr(1, o.size() - 2) : o;
    for (size_t k;; s = s.substr(k + 1)) {
      k = s.find_first_of(list ? "," : "|");
      out.push_back(s.substr(0, k));
      if (k == std::string::npos) break;
    }
  }
  return out;
}

void Decoder::plain(const Statement &s, const Entry &e, std::vector<std::string> operands) {
  if (s.name.compare(0, 5, "shfl.") == 0 && operands.at(0).find('|') == std::string::npos) operands[0] += "|_";
  operands = flat(operands);
  std::string letters = e.operands;
  size_t results = letters.find('=');
  letters.erase(results, 1);
  if (operands.size() != letters.size()) throw Error("it has " + std::to_string(operands.size()) + " operands, the PTX machine knows it with " + std::to_string(letters.size()));
  Ins facts;
  if (e.adjust) e.adjust(facts);
  std::vector<Place> places;
  unsigned addresses = 0;
  uint64_t bits;
  for (size_t k = 0; k < letters.size(); k++) {
    if (letters[k] == 'm') {
      Address a = address(operands[k]);
      places.push_back(a.base);
      (addresses ? facts.imm2 : facts.imm) = a.offset, (addresses ? facts.wide2 : facts.wide) = a.wide;
      addresses++;
    } else if (letters[k] == 'i' || letters[k] == 'n') {
      if (!number(operands[k], 'l', bits)) throw Error("operand " + operands[k] + " is no number");
      if (letters[k] == 'i') facts.imm = (int64_t)bits;
      else if (bits != facts.bytes) throw Error("operand " + operands[k] + ": the PTX machine knows " + std::to_string(facts.bytes) + " only");
    } else {
      places.push_back(symbols.place(operands[k], letters[k]));
    }
  }
  if (facts.bytes) granules(facts.space, facts.bytes);
  describe(emit(e.step, {places.begin(), places.begin() + (long)results}, {places.begin() + (long)results, places.end()}), facts);
}
} // namespace ptx
