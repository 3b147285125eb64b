// Decoding of instructions whose operands take more than a look at the table: moves, loads, stores, conversions, calls, barriers.
#include "decode.h"

namespace ptx {

static std::vector<std::string> parts(const std::string &name) {
  std::vector<std::string> out;
  for (size_t from = 0, k;; from = k + 1) {
    k = name.find('.', from);
    out.push_back(name.substr(from, k - from));
    if (k == std::string::npos) return out;
  }
}
static std::vector<std::string> list(const std::string &operand) { // {a,b} or (a,b)
  std::vector<std::string> out;
  if (operand.size() < 3) return out;
  std::string s = operand.substr(1, operand.size() - 2);
  for (size_t from = 0, k;; from = k + 1) {
    k = s.find(',', from);
    out.push_back(s.substr(from, k - from));
    if (k == std::string::npos) return out;
  }
}

void Decoder::move(const Statement &s) {
  std::vector<std::string> name = parts(s.name);
  if (name.size() != 2) throw Error("this form of mov is not known to the PTX machine");
  char whole = name[1] == "pred" ? 'p' : letter(bytes_of(name[1]));
  const std::string &d = s.operands.at(0), &a = s.operands.at(1);
  if (d[0] != '{' && a[0] != '{') return copy(symbols.place(d, whole), symbols.place(a, whole), whole);
  std::vector<std::string> pieces = list(d[0] == '{' ? d : a);
  char part = letter(width(whole) / (unsigned)pieces.size());
  if (width(part) * pieces.size() != width(whole)) throw Error("the parts are not as wide as the whole");
  std::vector<Place> places;
  for (auto &p : pieces) places.push_back(symbols.place(p, part));
  if (d[0] == '{') {
    emit(split_step(whole, part), places, {symbols.place(a, whole)});
  } else {
    emit(join_step(whole, part), {symbols.place(d, whole)}, places);
  }
}

// cvta.to.SPACE: generic → SPACE; cvta.SPACE: back.
void Decoder::window(const Statement &s) {
  std::vector<std::string> name = parts(s.name);
  bool to = name.size() == 4 && name[1] == "to";
  if (name.back() != "u64" || name.size() != (to ? 4 : 3)) throw Error("this form of cvta is not known to the PTX machine");
  const std::string &space = name[to ? 2 : 1];
  Place d = symbols.place(s.operands.at(0), 'l'), a = symbols.place(s.operands.at(1), 'l');
  if (space == "global") return copy(d, a, 'l');
  if (space != "shared" && space != "local") throw Error("space ." + space + " is not known to the PTX machine");
  uint64_t by = space == "shared" ? kSharedWindow : kLocalWindow;
  emit(table().at("add.u64").step, {d}, {a, symbols.constant('l', to ? 0 - by : by)});
}

void Decoder::memory(const Statement &s, bool load) {
  Ins facts;
  std::string type, space;
  for (const std::string &p : parts(s.name)) {
    if (p == "ld" || p == "st") continue;
    if (p == "global") facts.space = kGlobal;
    else if (p == "shared") facts.space = kShared;
    else if (p == "local") facts.space = kLocal;
    else if (p == "param") facts.space = kParam;
    else if (p == "nc" && load) facts.use = kReadonly;
    else if (p == "v2" || p == "v4") facts.count = p[1] - '0';
    else if (type.empty()) type = p;
    else throw Error("modifier ." + p + " is not known to the PTX machine");
  }
  facts.bytes = bytes_of(type);
  std::vector<std::string> registers = {s.operands.at(load ? 0 : 1)};
  const std::string &at = s.operands.at(load ? 1 : 0);
  if (registers[0][0] == '{') registers = list(registers[0]);
  if (registers.size() != facts.count) throw Error("it moves " + std::to_string(facts.count) + " elements and names " + std::to_string(registers.size()) + " registers");
  if (facts.space == kParam) { // of a call: a register
    std::string name = at.substr(1, at.size() - 2);
    if (name.size() > 2 && name.compare(name.size() - 2, 2, "+0") == 0) name.resize(name.size() - 2);
    if (char c = symbols.letter_of(name); c && (name[0] != '%')) {
      if (width(c) != facts.bytes) throw Error("parameter " + name + " has " + std::to_string(width(c)) + " bytes");
      Place param = symbols.place(name, c), value = symbols.place(registers[0], c);
      return load ? copy(value, param, c) : copy(param, value, c);
    }
  }
  char wide = 0; // the registers' width
  for (auto &r : registers)
    if (char c = symbols.letter_of(r)) wide = c;
  if (!wide) wide = letter(facts.bytes);
  if (width(wide) < facts.bytes) throw Error("its register has " + std::to_string(8 * width(wide)) + " bits");
  Address a = address(at);
  facts.wide = a.wide, facts.imm = a.offset;
  std::vector<Place> places;
  for (auto &r : registers) places.push_back(symbols.place(r, wide));
  granules(facts.space, facts.bytes * facts.count);
  if (load) return describe(emit(load_step(type, wide), places, {a.base}), facts);
  places.insert(places.begin(), a.base);
  describe(emit(store_step(facts.bytes, wide), {}, places), facts);
}

// A register may be wider than the instruction's type: a source gives its lower bits, a result fills it by its sign.
void Decoder::convert(const Statement &s) {
  auto e = table().find(s.name);
  if (e == table().end()) throw Error("this conversion is not known to the PTX machine");
  std::string shape = e->second.operands;
  char d = symbols.letter_of(s.operands.at(0));
  std::vector<Place> sources;
  for (size_t k = 1; k < s.operands.size(); k++) {
    char wants = shape.at(k + 1), has = symbols.letter_of(s.operands[k]);
    if (!has || width(has) <= width(wants)) {
      sources.push_back(symbols.place(s.operands[k], wants));
    } else {
      sources.push_back(symbols.fresh(wants));
      emit(truncate_step(has, wants), {sources.back()}, {symbols.place(s.operands[k], has)});
    }
  }
  if (sources.size() + 2 != shape.size()) throw Error("it has " + std::to_string(s.operands.size()) + " operands");
  bool extend = d && width(d) > width(shape[0]);
  Place result = extend ? symbols.fresh(shape[0]) : symbols.place(s.operands[0], shape[0]);
  emit(e->second.step, {result}, sources);
  if (extend) {
    std::vector<std::string> name = parts(s.name);
    emit(extend_step(name[name.size() - 2], d), {symbols.place(s.operands[0], d)}, {result});
  }
}

Decoder::Callee &Decoder::callee(const std::string &name) {
  auto i = callees.find(name);
  if (i != callees.end()) return i->second;
  auto f = loaded.module.functions.find(name);
  if (f == loaded.module.functions.end() || f->second.entry) throw Error("function " + name + " does not exist");
  Callee &c = callees[name];
  c.function = &f->second;
  auto places = [&](const std::vector<Variable> &all, std::vector<std::pair<Place, char>> &out) {
    for (const Variable &v : all) {
      if (v.bytes != bytes_of(v.type)) throw Error("parameter " + v.name + " of function " + name + " is an array");
      char l = letter(bytes_of(v.type));
      code.register_bytes = round_up(code.register_bytes, 64); // its own for good, whatever scope the call is in
      out.push_back({(Place)code.register_bytes, l});
      code.register_bytes += place_bytes(l);
    }
  };
  places(c.function->params, c.params), places(c.function->results, c.results);
  waiting.push_back(name);
  return c;
}

// call (results), name, (arguments): arguments go to the function's own registers, results come from there. Functions do not call
// each other in a circle, which PTX of CUDA C++ without recursion has no use for.
void Decoder::call(const Statement &s) {
  bool returns = s.operands.at(0)[0] == '(';
  const std::string &name = s.operands.at(returns ? 1 : 0);
  size_t next = returns ? 2 : 1;
  std::vector<std::string> results, arguments;
  if (returns) results = list(s.operands[0]);
  if (s.operands.size() > next) arguments = list(s.operands[next]);
  Callee &c = callee(name);
  if (results.size() != c.results.size() || arguments.size() != c.params.size()) throw Error("function " + name + " has other parameters");
  for (size_t k = 0; k < arguments.size(); k++) copy(c.params[k].first, symbols.place(arguments[k], c.params[k].second), c.params[k].second);
  calls.push_back({here(), name});
  emit(kCall);
  for (size_t k = 0; k < results.size(); k++) copy(symbols.place(results[k], c.results[k].second), c.results[k].first, c.results[k].second);
}

void Decoder::barrier(const Statement &s) {
  uint64_t which;
  if (s.operands.size() != 1 || !number(s.operands[0], 's', which) || which) throw Error("the PTX machine knows barrier 0 of all threads only");
  if (function != code.name + " ") throw Error("a barrier in a function that is called is not known to the PTX machine");
  emit(kBarrier);
}
} // namespace ptx
