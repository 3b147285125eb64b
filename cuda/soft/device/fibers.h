// Runs launches: blocks over OS threads, a block's threads as fibers.
#pragma once
#include "simt.h"
#include <string>

namespace simt {
// find returns the kernel with a name, nullptr where there is none.
const Kernel *find(const char *name);

// launch runs a grid to its end and returns "" or what went wrong.
std::string launch(const Kernel *k, dim3 grid, dim3 size, unsigned shared, void **params);

// Largest dynamic shared memory of a block: that of sm_80 to sm_90 GPUs would be 163 to 227 KiB.
const unsigned kSharedLimit = 163 << 10;
} // namespace simt
