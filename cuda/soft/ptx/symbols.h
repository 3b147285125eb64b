// Names of a kernel while it is decoded: registers, special registers, constants, and addresses of variables.
#pragma once
#include "table.h"
#include <set>

namespace ptx {

// Loaded is a module in the machine: its text, and memory for its .global and .const variables.
struct Loaded {
  Module module;
  std::map<std::string, uint64_t> globals; // addresses
  std::vector<Range> ranges;
};

struct Symbol {
  enum Kind { Register, Registers, Address } kind;
  char letter = 0;       // of a register
  Place place = 0;
  uint64_t address = 0;  // in its space
  Space space = kGlobal;
};

class Symbols {
public:
  Symbols(Code &code, const Loaded &loaded);
  void open() { scopes.emplace_back(); }
  void close();  // of a block: its registers serve again
  void leave() { scopes.pop_back(), unused.clear(); } // of a function: its registers stay its own
  void declare(const Variable &v); // registers, parameters of calls, local and shared variables
  void declare(const std::string &name, Symbol s) { scopes.back().names[name] = s; }
  // use_shared gives places to the shared variables of a kernel: its own, and those of the module that it names.
  void use_shared(const Function &f, const std::vector<Statement> &body);
  const Symbol *find(const std::string &name);
  Place fresh(char letter);
  // place is the register or constant of an operand that must be as wide as letter says.
  Place place(const std::string &operand, char letter);
  Place constant(char letter, uint64_t bits);
  // letter_of is the width of a register, 0 for what is none.
  char letter_of(const std::string &operand);

private:
  struct Scope {
    std::map<std::string, Symbol> names;
    std::vector<std::pair<char, Place>> taken; // to be given back
  };
  Code &code;
  const Loaded &loaded;
  std::vector<Scope> scopes;
  std::map<char, std::vector<Place>> unused;
  std::map<std::pair<char, uint64_t>, Place> constants;
};

// number reads an integer or a 0f…, 0d… constant; false where the text is none.
bool number(const std::string &text, char letter, uint64_t &bits);
inline uint64_t round_up(uint64_t x, uint64_t align) { return align ? (x + align - 1) / align * align : x; }
} // namespace ptx
