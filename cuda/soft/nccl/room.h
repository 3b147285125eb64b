// Where the processes of a simulated communicator meet: a file in shared memory.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <sys/types.h>

namespace softnccl {
enum { OK = 0, CUDA_FAILED = 1, SYSTEM = 2, INVALID = 4, MISUSE = 5, REMOTE = 6, IN_PROGRESS = 7 }; // ncclResult_t
enum { MOST = 64, CHUNK = 256 << 10 }; // ranks; bytes that travel at once

// Place is one rank's part of the file. Chunks are counted from 1 over all sums.
struct Place {
  std::atomic<int32_t> pid;                   // 0 until it has come
  std::atomic<uint64_t> written, read;        // chunks that it has written, and read from everybody
  uint64_t count;                             // of the sum under way
  int32_t type;
  alignas(64) unsigned char data[CHUNK];
};

// Room is one rank's view of the file.
class Room {
public:
  // join waits for all ranks. Every wait ends early, with an error, when quit is set or when the communicator notices
  // that a process is gone.
  int join(const unsigned char *id, int rank, int size, std::atomic<bool> *quit);
  // sum adds count elements over all ranks, in the order of ranks, in f32 (f64 for f64).
  int sum(const void *in, void *out, uint64_t count, int type);
  void leave();

private:
  template <class Done> int wait(Done done);
  // exchange sums one chunk; all is the count of the whole sum with its first chunk, else 0.
  int exchange(const unsigned char *in, unsigned char *out, size_t count, int type, uint64_t all);

  char path[96];
  Place *place = nullptr;
  int rank = 0, size = 0;
  uint64_t chunk = 0;
  std::atomic<bool> *quit = nullptr;
};

size_t width(int type); // bytes of an element, 0 for types that are not simulated
} // namespace softnccl
