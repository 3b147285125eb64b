// From a kernel's text to code.
#pragma once
#include "symbols.h"

namespace ptx {

// decode throws Error, which names what it does not know and its line.
Code decode(const Loaded &loaded, const std::string &kernel);
// watch_registers finds reads of registers that may not have been written; starts are the functions' first instructions, and
// written places count as written always.
void watch_registers(Code &code, const std::vector<uint32_t> &starts, const std::vector<Place> &written);

class Decoder {
public:
  Decoder(const Loaded &loaded, Code &code) : loaded(loaded), code(code), symbols(code, loaded) {}
  void run(const Function &kernel);

private:
  struct Callee {
    const Function *function;
    std::vector<std::pair<Place, char>> params, results;
    uint32_t start = 0;
  };
  struct Address { Place base; bool wide; int64_t offset; };

  void body(const Function &f, const std::vector<Statement> &statements);
  void parameters(const Function &f);
  void instruction(const Statement &s);
  void plain(const Statement &s, const Entry &e, std::vector<std::string> operands);
  void branch(const Statement &s, const std::string &label, bool when);
  void call(const Statement &s);
  void memory(const Statement &s, bool load);
  void move(const Statement &s);
  void convert(const Statement &s);
  void window(const Statement &s);
  void barrier(const Statement &s);
  Callee &callee(const std::string &name);
  Address address(const std::string &operand);
  Ins &emit(Step step, const std::vector<Place> &results, const std::vector<Place> &sources);
  Ins &emit(Kind kind);
  void describe(Ins &i, Ins facts); // gives i what facts says beside step and operands
  void copy(Place to, Place from, char letter) { emit(move_step(letter), {to}, {from}); }
  void granules(Space space, unsigned bytes);
  uint32_t here() const { return (uint32_t)code.ins.size(); }

  const Loaded &loaded;
  Code &code;
  Symbols symbols;
  std::string function; // being decoded: labels are its own
  std::map<std::string, uint32_t> labels;
  std::vector<std::pair<uint32_t, std::string>> branches; // instruction, and the label that it goes to
  std::vector<std::pair<uint32_t, std::string>> calls;
  std::map<std::string, Callee> callees;
  std::vector<std::string> waiting; // functions that are called and not decoded yet
  uint32_t statement = 0;
};
} // namespace ptx
