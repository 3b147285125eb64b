// PTX text: a module's variables and functions, and a function's statements. Source: PTX ISA, chapters Syntax, State Spaces and
// Directives.
#pragma once
#include <cstdint>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

namespace ptx {

// Error says what is wrong with a text; the message names the line.
struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Variable is a declaration in any state space: .global, .const, .shared, .local, .param or .reg.
struct Variable {
  std::string space, type, name; // type without its dot: b32, f64, pred, …
  uint64_t align = 0, bytes = 0; // 0 bytes: an array without a length, which is dynamic shared memory
  uint64_t count = 0;            // registers: name<count> stands for name0, name1, …
  std::vector<uint8_t> initial;
};

// Statement is a label, a brace, a declaration or an instruction.
struct Statement {
  enum Kind { Label, Open, Close, Declaration, Instruction } kind;
  std::string name;                  // of a label; of an instruction, its opcode with all modifiers
  std::string guard;                 // predicate register, empty where there is none
  bool negated = false;              // @!p
  std::vector<std::string> operands; // as written
  Variable variable;
  uint32_t line = 0, file = 0, source = 0; // in the PTX text; .loc: number of a file and line there
};

struct Function {
  std::string name;
  bool entry = false;
  std::vector<Variable> params, results;
  unsigned threads = 1024; // .maxntid
  size_t at = 0, end = 0;  // where the body lies in the text
  uint32_t line = 0;       // of the body
};

// Module is a PTX text with its declarations; bodies are read by body.
struct Module {
  std::string text;
  std::vector<Variable> variables;
  std::map<std::string, Function> functions;
  std::map<unsigned, std::string> files; // .file: sources by number
};

Module parse_module(std::string text);
std::vector<Statement> parse_body(const Module &m, const Function &f);
unsigned bytes_of(const std::string &type); // of a fundamental type; pred gives 0
} // namespace ptx
