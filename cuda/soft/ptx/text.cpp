#include "text.h"
#include <cctype>
#include <cstring>

namespace ptx {

unsigned bytes_of(const std::string &type) {
  if (type == "pred") return 0;
  static const std::map<std::string, unsigned> sizes = {{"8", 1}, {"16", 2}, {"32", 4}, {"64", 8}};
  auto i = type.size() > 1 && strchr("busf", type[0]) ? sizes.find(type.substr(1)) : sizes.end();
  if (type == "bf16") return 2;
  if (i == sizes.end()) throw Error("type ." + type + " is not known");
  return i->second;
}

namespace {
// Reader walks over the text, past white space and comments.
struct Reader {
  const std::string &s;
  size_t at, end;
  uint32_t line;

  [[noreturn]] void fail(const std::string &what) { throw Error("PTX line " + std::to_string(line) + ": " + what); }
  bool is(const char *word) const { return s.compare(at, strlen(word), word) == 0; }
  void skip() {
    for (; at < end; at++) {
      if (s[at] == '\n') {
        line++;
      } else if (is("//")) {
        while (at + 1 < end && s[at + 1] != '\n') at++;
      } else if (is("/*")) {
        for (at += 2; at < end && !is("*/"); at++) line += s[at] == '\n';
        at++;
      } else if (!isspace((unsigned char)s[at])) {
        return;
      }
    }
  }
  bool done() { return skip(), at >= end; }
  char peek() { return done() ? 0 : s[at]; }
  bool take(char c) {
    if (peek() != c) return false;
    return at++, true;
  }
  void expect(char c) {
    if (!take(c)) fail(std::string("expected ") + c + ", found " + s.substr(at, 20));
  }
  static bool part(char c) { return isalnum((unsigned char)c) || c == '_' || c == '$' || c == '%' || c == '.' || c == ':' || c == '-' || c == '+'; }
  // word is an identifier, a directive, an opcode or a number.
  std::string word() {
    skip();
    size_t from = at;
    while (at < end && part(s[at]) && !(s[at] == ':' && (at + 1 >= end || s[at + 1] != ':'))) at += s[at] == ':' ? 2 : 1;
    if (at == from) fail("expected a word, found " + s.substr(at, 20));
    return s.substr(from, at - from);
  }
  // until reads to one of the characters of stops that no bracket encloses, without white space at its ends.
  std::string until(const char *stops) {
    skip();
    std::string out;
    for (int depth = 0; at < end; at++) {
      char c = s[at];
      if (!depth && strchr(stops, c)) break;
      depth += (c == '{' || c == '[' || c == '(') - (c == '}' || c == ']' || c == ')');
      line += c == '\n';
      if (!isspace((unsigned char)c)) out += c;
    }
    return out;
  }
  std::string quoted() {
    expect('"');
    size_t from = at;
    while (at < end && s[at] != '"') at++;
    return s.substr(from, at++ - from);
  }
};

// .align 8 .b8 name[24] = {…}   .u32 name   .b32 %r<7>   .u32 a, b
std::vector<Variable> declaration(Reader &r, const std::string &space) {
  Variable v;
  v.space = space;
  unsigned width = 1;
  for (;;) {
    std::string w = r.word();
    if (w == ".align") {
      v.align = std::stoul(r.word());
    } else if (w == ".v2" || w == ".v4") {
      width = w[2] - '0';
    } else if (w[0] == '.') {
      v.type = w.substr(1);
    } else {
      v.name = w;
      break;
    }
  }
  std::vector<Variable> out;
  uint64_t each = bytes_of(v.type) * width;
  if (!v.align) v.align = each;
  for (;;) {
    v.bytes = each, v.count = 0, v.initial.clear();
    if (r.take('<')) v.count = std::stoul(r.word()), r.expect('>');
    while (r.take('[')) {
      v.bytes *= r.peek() == ']' ? 0 : std::stoull(r.word());
      r.expect(']');
    }
    if (r.take('=')) {
      std::string list = r.until(",;");
      for (char &c : list)
        if (c == '{' || c == '}' || c == ',') c = ' ';
      const char *p = list.c_str();
      while (*p == ' ') p++;
      while (*p) {
        char *stop;
        uint64_t x = std::strtoull(p, &stop, 0);
        if (stop == p) r.fail("variable " + v.name + " starts as " + std::string(p, 20) + ", which is not a list of integers");
        for (unsigned b = 0; b < each; b++) v.initial.push_back(x >> 8 * b);
        for (p = stop; *p == ' ';) p++;
      }
    }
    out.push_back(v);
    if (space == "param" || !r.take(',')) return out;
    v.name = r.word();
  }
}

std::vector<Variable> parameters(Reader &r) {
  std::vector<Variable> out;
  r.expect('(');
  while (!r.take(')')) {
    std::string space = r.word();
    if (space != ".param") r.fail("a parameter in " + space);
    out.push_back(declaration(r, "param")[0]);
    r.take(',');
  }
  return out;
}

void function(Reader &r, Module &m, bool entry) {
  Function f;
  f.entry = entry;
  if (!entry && r.peek() == '(') f.results = parameters(r);
  f.name = r.word();
  if (r.peek() == '(') f.params = parameters(r);
  while (r.peek() == '.') {
    std::string w = r.word();
    if (w == ".maxntid" || w == ".reqntid") {
      f.threads = std::stoul(r.word());
      while (r.take(',')) f.threads *= std::stoul(r.word());
    } else if (w == ".minnctapersm" || w == ".maxnreg") {
      r.word();
    } else if (w != ".noreturn") {
      r.fail("directive " + w + " of function " + f.name + " is not known");
    }
  }
  if (r.take(';')) return; // a declaration; the body comes later
  r.expect('{');
  f.at = r.at, f.line = r.line;
  for (int depth = 1; depth;) { // no strings in bodies but those of .pragma, which have no braces
    if (r.done()) r.fail("function " + f.name + " has no end");
    depth += (r.s[r.at] == '{') - (r.s[r.at] == '}');
    r.at++;
  }
  f.end = r.at - 1;
  m.functions[f.name] = f;
}
} // namespace

Module parse_module(std::string text) {
  Module m;
  m.text = std::move(text);
  Reader r{m.text, 0, m.text.size(), 1};
  while (!r.done()) {
    std::string w = r.word();
    if (w == ".version" || w == ".address_size") {
      r.word();
    } else if (w == ".target") {
      do r.word();
      while (r.take(','));
    } else if (w == ".file") {
      unsigned n = std::stoul(r.word());
      m.files[n] = r.quoted();
      while (r.take(',')) r.word();
    } else if (w == ".section") {
      r.until("{"), r.expect('{'), r.until("}"), r.expect('}'); // lines for debuggers
    } else if (w == ".entry" || w == ".func") {
      function(r, m, w == ".entry");
    } else if (w == ".global" || w == ".const" || w == ".shared") {
      for (Variable &v : declaration(r, w.substr(1))) m.variables.push_back(v);
      r.expect(';');
    } else if (w != ".visible" && w != ".extern" && w != ".weak") {
      r.fail("directive " + w + " is not known");
    }
  }
  return m;
}

std::vector<Statement> parse_body(const Module &m, const Function &f) {
  std::vector<Statement> out;
  Reader r{m.text, f.at, f.end, f.line};
  uint32_t file = 0, source = 0;
  while (!r.done()) {
    Statement s{};
    s.line = r.line, s.file = file, s.source = source;
    if (r.take('{')) {
      s.kind = Statement::Open;
    } else if (r.take('}')) {
      s.kind = Statement::Close;
    } else if (r.peek() == '.') {
      std::string w = r.word();
      if (w == ".loc") { // .loc file line column[, function_name …, inlined_at …]
        file = std::stoul(r.word()), source = std::stoul(r.word()), r.until("\n");
        continue;
      }
      if (w == ".pragma") {
        r.quoted(), r.expect(';');
        continue;
      }
      if (w != ".reg" && w != ".shared" && w != ".local" && w != ".param") r.fail("directive " + w + " is not known");
      s.kind = Statement::Declaration;
      for (Variable &v : declaration(r, w.substr(1))) s.variable = v, out.push_back(s);
      r.expect(';');
      continue;
    } else {
      s.kind = Statement::Instruction;
      if (r.take('@')) s.negated = r.take('!'), s.guard = r.word();
      s.name = r.word();
      if (r.take(':')) {
        s.kind = Statement::Label;
      } else {
        while (r.peek() != ';') {
          s.operands.push_back(r.until(",;"));
          r.take(',');
        }
        r.expect(';');
      }
    }
    out.push_back(std::move(s));
  }
  return out;
}
} // namespace ptx
