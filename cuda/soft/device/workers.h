// OS threads that run a launch's blocks.
#pragma once
#include <cstdint>
#include <functional>

namespace simt {
// over_threads calls work on each of SOFTCUDA_THREADS threads (as many as there are CPUs where that is not set), the caller's among
// them, and returns when all have returned. A launch of one block, or of very few threads in all, is not worth waking others.
void over_threads(uint64_t blocks, uint64_t threads, const std::function<void()> &work);
} // namespace simt
