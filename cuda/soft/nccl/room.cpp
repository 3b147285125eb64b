#include "room.h"
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>

namespace softnccl {
enum { I32 = 2, F16 = 6, F32 = 7, F64 = 8, BF16 = 9 }; // ncclDataType_t; f16 is not simulated

size_t width(int type) { return type == F64 ? 8 : type == F32 || type == I32 ? 4 : type == BF16 ? 2 : 0; }

static float widen(uint16_t h) {
  uint32_t u = (uint32_t)h << 16;
  float f;
  memcpy(&f, &u, 4);
  return f;
}
static uint16_t round_bf16(float x) {
  uint32_t u;
  memcpy(&u, &x, 4);
  return x != x ? 0x7fc0 : (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

// NCCL within a host does not notice a process that was killed: its peers wait for ever. SOFTNCCL_NOTICE=1 makes them get
// ncclRemoteError, as over a network.
static bool notices() {
  static const bool on = getenv("SOFTNCCL_NOTICE") && !strcmp(getenv("SOFTNCCL_NOTICE"), "1");
  return on;
}

template <class Done> int Room::wait(Done done) {
  for (int look = 0; !done(); look++) {
    if (quit->load()) return REMOTE;
    if (look < 100) {
      sched_yield();
      continue;
    }
    usleep(50);
    for (int r = 0; notices() && look % 200 == 0 && r < size; r++)
      if (place[r].pid && kill(place[r].pid, 0) && errno == ESRCH) return REMOTE;
  }
  return OK;
}

int Room::join(const unsigned char *id, int my_rank, int ranks, std::atomic<bool> *stop) {
  rank = my_rank, size = ranks, quit = stop;
  char *p = path + sprintf(path, "/dev/shm/ringo-softnccl-");
  for (int i = 0; i < 16; i++) p += sprintf(p, "%02x", id[i]);
  size_t bytes = sizeof(Place) * size;
  int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0 || ftruncate(fd, bytes)) return SYSTEM;
  void *mem = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  if (mem == MAP_FAILED) return SYSTEM;
  place = (Place *)mem;
  int32_t nobody = 0;
  if (!place[rank].pid.compare_exchange_strong(nobody, getpid())) return MISUSE; // two processes say they are this rank
  int r = wait([&] {
    int there = 0;
    for (int i = 0; i < size; i++) there += place[i].pid != 0;
    return there == size;
  });
  unlink(path); // all have it open, or it is of no use
  return r;
}

void Room::leave() {
  if (!place) return;
  munmap(place, sizeof(Place) * size);
  unlink(path);
  place = nullptr;
}

int Room::exchange(const unsigned char *in, unsigned char *out, size_t count, int type, uint64_t all) {
  Place &mine = place[rank];
  uint64_t c = ++chunk;
  int rc = wait([&] { // everybody has read the chunk before
    for (int r = 0; r < size; r++)
      if (place[r].read < c - 1) return false;
    return true;
  });
  if (rc) return rc;
  memcpy(mine.data, in, count * width(type));
  if (all) mine.count = all, mine.type = type; // nobody looks at them now
  mine.written = c;
  rc = wait([&] {
    for (int r = 0; r < size; r++)
      if (place[r].written < c) return false;
    return true;
  });
  if (rc) return rc;
  for (int r = 0; all && r < size; r++) // real NCCL hangs or mixes up memory
    if (place[r].count != all || place[r].type != type) return MISUSE;
  for (size_t i = 0; i < count; i++) {
    if (type == F64 || type == I32) {
      double sum = 0;
      for (int r = 0; r < size; r++) sum += type == F64 ? ((double *)place[r].data)[i] : ((int32_t *)place[r].data)[i];
      if (type == F64) ((double *)out)[i] = sum;
      else ((int32_t *)out)[i] = (int32_t)sum;
      continue;
    }
    float sum = 0;
    for (int r = 0; r < size; r++) sum += type == F32 ? ((float *)place[r].data)[i] : widen(((uint16_t *)place[r].data)[i]);
    if (type == F32) ((float *)out)[i] = sum;
    else ((uint16_t *)out)[i] = round_bf16(sum);
  }
  mine.read = c;
  return OK;
}

int Room::sum(const void *in, void *out, uint64_t count, int type) {
  size_t most = CHUNK / width(type);
  for (uint64_t at = 0; at < count; at += most) {
    size_t n = count - at < most ? count - at : most, skip = at * width(type);
    if (int rc = exchange((const unsigned char *)in + skip, (unsigned char *)out + skip, n, type, at ? 0 : count)) return rc;
  }
  return OK;
}
} // namespace softnccl
