// The PTX machine for its users: load a text, look at its kernels, run one. Kernels are decoded when they are first asked for.
#pragma once
#include "symbols.h"

namespace ptx {

class Program {
public:
  explicit Program(const char *text); // throws Error
  ~Program();
  bool has(const std::string &kernel) const;
  const Code &code(const std::string &kernel); // throws Error
  // launch runs a grid to its end; memory is what is allocated, sorted. It returns "" or what went wrong.
  std::string launch(const Code &code, const unsigned grid[3], const unsigned size[3], unsigned shared, const std::vector<char> &params, std::vector<Range> memory);

private:
  Loaded loaded;
  std::map<std::string, Code> codes;
};

// stamps returns zeroed memory for a range of so many bytes, taken when it is touched; free_stamps gives it back.
uint32_t *new_stamps(uint64_t bytes);
void free_stamps(uint32_t *stamps, uint64_t bytes);
} // namespace ptx
