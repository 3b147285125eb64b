// The table of instructions: full name → step and operands. Each family's file adds its own.
#pragma once
#include "machine.h"
#include <functional>
#include <unordered_map>

namespace ptx {
// Entry is an instruction as decode.cpp needs it. operands has a letter for each, destinations before '=':
//   p predicate   h s l: 16, 32, 64 bits   m address   i integer, which goes to Ins::imm   n an integer that the name gives anyway
struct Entry {
  Step step;
  const char *operands;
  void (*adjust)(Ins &) = nullptr; // sets what else the name says
};
typedef std::unordered_map<std::string, Entry> Table;
const Table &table();

void add_integer(Table &t);
void add_wide(Table &t);
void add_float(Table &t);
void add_compare(Table &t);
void add_convert(Table &t);
void add_exchange(Table &t);
void add_matrix(Table &t);
void add_async(Table &t);

// Moves between registers and memory are found by type.
Step load_step(const std::string &type, char width);  // of the destination: h s l
Step store_step(unsigned bytes, char width);
Step move_step(char width);
Step split_step(char whole, char part); // mov {parts}, whole
Step join_step(char whole, char part);  // mov whole, {parts}
// Pieces of conversions where a register is wider than the instruction's type.
Step extend_step(const std::string &type, char width); // type → a wider register, by its sign
Step truncate_step(char from, char to);

inline char letter(unsigned bytes) { return bytes <= 2 ? 'h' : bytes == 4 ? 's' : 'l'; }
inline unsigned width(char letter) { return letter == 'p' ? 0 : letter == 'h' ? 2 : letter == 's' ? 4 : 8; }
// place_bytes is how much of a warp's registers a register takes.
inline unsigned place_bytes(char letter) { return letter == 'p' ? 4 : kLanes * width(letter); }
} // namespace ptx
