#include "symbols.h"

namespace ptx {

bool number(const std::string &text, char letter, uint64_t &bits) {
  if (text.empty()) return false;
  bool hex_float = text.size() > 2 && text[0] == '0' && strchr("fFdD", text[1]);
  size_t first = text[0] == '-' || text[0] == '!';
  if (!hex_float && (first >= text.size() || !isdigit((unsigned char)text[first]))) return false;
  char *stop;
  if (hex_float) {
    bits = std::strtoull(text.c_str() + 2, &stop, 16);
    bool wide = text[1] == 'd' || text[1] == 'D';
    if (wide != (letter == 'l') || (letter != 's' && letter != 'l')) throw Error("constant " + text + " is as wide as no operand here");
  } else if (text[0] == '-') {
    bits = 0 - std::strtoull(text.c_str() + 1, &stop, 0);
  } else {
    bits = std::strtoull(text.c_str(), &stop, 0);
  }
  if (*stop == 'U') stop++;
  if (*stop) throw Error("constant " + text + " is not understood");
  if (letter == 'h') bits &= 0xffff;
  if (letter == 's') bits &= 0xffffffffu;
  return true;
}

Symbols::Symbols(Code &c, const Loaded &l) : code(c), loaded(l) {
  static const char *names[kSpecials] = {"%tid.x", "%tid.y", "%tid.z", "%ctaid.x", "%ctaid.y", "%ctaid.z", "%ntid.x", "%ntid.y", "%ntid.z",
                                         "%nctaid.x", "%nctaid.y", "%nctaid.z", "%laneid", "%warpid"};
  open();
  for (unsigned k = 0; k < kSpecials; k++) {
    Symbol s{Symbol::Register};
    s.letter = 's', s.place = k * place_bytes('s');
    declare(names[k], s);
  }
  code.register_bytes = kSpecials * place_bytes('s');
}

void Symbols::close() {
  for (auto &t : scopes.back().taken) unused[t.first].push_back(t.second);
  scopes.pop_back();
}

Place Symbols::fresh(char letter) {
  auto &free = unused[letter];
  if (free.empty()) {
    unsigned n = letter == 'p' ? 16 : 1; // predicates come by the cache line
    for (unsigned k = n; k-- > 0;) free.push_back((Place)code.register_bytes + k * place_bytes(letter));
    code.register_bytes += n * place_bytes(letter);
  }
  Place p = free.back();
  free.pop_back();
  scopes.back().taken.push_back({letter, p});
  return p;
}

void Symbols::declare(const Variable &v) {
  Symbol s{Symbol::Register};
  if (v.space == "reg" || v.space == "param") { // a .param inside a body carries an argument or a result of a call
    s.letter = v.type == "pred" ? 'p' : letter(bytes_of(v.type));
    if (v.count) s.kind = Symbol::Registers, s.address = v.count; // registers come into being when they are first named
    else if (v.space == "param" && v.bytes != bytes_of(v.type)) throw Error("parameter " + v.name + " of a call is an array");
    else s.place = fresh(s.letter);
  } else {
    bool local = v.space == "local";
    uint64_t &top = local ? code.local_bytes : code.shared_bytes;
    s.kind = Symbol::Address, s.space = local ? kLocal : kShared;
    top = round_up(top, v.align);
    s.address = top + (local ? kLocalStart : kSharedStart);
    top += v.bytes;
  }
  declare(v.name, s);
}

// Dynamic shared memory comes last.
void Symbols::use_shared(const Function &f, const std::vector<Statement> &body) {
  auto named = [&](const std::string &name) {
    const std::string &text = loaded.module.text;
    for (size_t k = f.at; (k = text.find(name, k)) < f.end; k++)
      if (char after = text[k + name.size()]; !isalnum((unsigned char)after) && after != '_' && after != '$') return true;
    return false;
  };
  for (const Statement &s : body)
    if (s.kind == Statement::Declaration && s.variable.space == "shared") declare(s.variable);
  for (bool dynamic : {false, true})
    for (const Variable &v : loaded.module.variables) {
      if (v.space != "shared" || dynamic != !v.bytes || !named(v.name)) continue;
      declare(v);
      if (dynamic) code.dynamic_at = find(v.name)->address - kSharedStart;
    }
}

const Symbol *Symbols::find(const std::string &name) {
  for (size_t k = scopes.size(); k-- > 0;) {
    auto i = scopes[k].names.find(name);
    if (i != scopes[k].names.end()) return &i->second;
  }
  size_t digits = name.size();
  while (digits && isdigit((unsigned char)name[digits - 1])) digits--;
  std::string stem = name.substr(0, digits);
  for (size_t k = scopes.size(); k-- > 0 && digits < name.size();) {
    auto i = scopes[k].names.find(stem);
    if (i == scopes[k].names.end() || i->second.kind != Symbol::Registers) continue;
    if (std::stoull(name.substr(digits)) >= i->second.address) break;
    Symbol s{Symbol::Register};
    s.letter = i->second.letter, s.place = fresh(s.letter);
    scopes.back().taken.pop_back(); // it lives as long as its declaration's scope
    scopes[k].taken.push_back({s.letter, s.place});
    return &(scopes[k].names[name] = s);
  }
  auto g = loaded.globals.find(name);
  if (g == loaded.globals.end()) return nullptr;
  Symbol s{Symbol::Address};
  s.address = g->second;
  return &(scopes.front().names[name] = s);
}

Place Symbols::constant(char letter, uint64_t bits) {
  auto [i, added] = constants.insert({{letter, bits}, 0});
  if (!added) return i->second;
  size_t from = code.constants.size();
  code.constants.resize(from + round_up(place_bytes(letter), 8));
  if (letter == 'p') bits = bits ? kAll : 0;
  unsigned n = letter == 'p' ? 1 : kLanes, each = letter == 'p' ? 4 : width(letter);
  for (unsigned l = 0; l < n; l++) memcpy(&code.constants[from + l * each], &bits, each);
  return i->second = (Place)from | 1;
}

char Symbols::letter_of(const std::string &operand) {
  const Symbol *s = find(operand);
  return s && s->kind == Symbol::Register ? s->letter : 0;
}

Place Symbols::place(const std::string &operand, char letter) {
  if (operand == "_") return fresh(letter);
  uint64_t bits;
  if (number(operand, letter, bits)) return constant(letter, bits);
  const Symbol *s = find(operand);
  if (!s) throw Error("operand " + operand + " is not declared");
  if (s->kind == Symbol::Address) return constant(letter, s->address);
  if (s->letter != letter) throw Error("operand " + operand + " has " + std::to_string(8 * width(s->letter)) + " bits, the instruction takes " + std::to_string(8 * width(letter)));
  return s->place;
}
} // namespace ptx
