// Streams, events and graphs of the software device.
//
// With SOFTCUDA_DEFERRED=1 work waits in its stream's queue until something synchronises with it, and then no more
// runs than that needs: a program that forgets to synchronise reads old data. Otherwise work runs when it is
// enqueued.
#pragma once
#include <chrono>
#include <deque>
#include <functional>
#include <vector>

namespace softcuda {
typedef int Result; // CUresult
enum {
  OK = 0, INVALID = 1, NO_MEMORY = 2, BUSY = 46, NO_DEVICE = 100, BAD_DEVICE = 101, NO_CONTEXT = 201, INVALID_PTX = 218, PEER_ENABLED = 704, NOT_FOUND = 500,
  ILLEGAL_ADDRESS = 700, LAUNCH_FAILED = 719, NOT_SUPPORTED = 801, CAPTURE_UNSUPPORTED = 900, CAPTURE_INVALIDATED = 901, CAPTURE_UNJOINED = 904, NOT_READY = 600,
};

typedef std::function<Result()> Work;

struct Stream;
struct Graph { // recorded work, in an order that respects its dependencies
  std::vector<Work> work;
  Stream *origin = nullptr;
  std::vector<Stream *> joined; // other streams that take part in the capture
};

struct Event {
  uint64_t recorded = 0, reached = 0; // number of records enqueued, and run
  Stream *stream = nullptr;           // where the last one was enqueued
  Graph *capture = nullptr;           // where it was recorded during a capture
  size_t captured_at = 0;             // that stream's work in the graph so far
  std::chrono::steady_clock::time_point time;
};

struct Stream {
  int device = 0;
  bool blocking = true; // synchronises with the null stream
  std::deque<Work> queue;
  Graph *capture = nullptr;
  size_t captured = 0, joined_back = 0; // work recorded; how much of it the origin waits for
};

// The calls below hold the driver's lock.
Result enqueue(Stream *s, Work w);
Result drain(Stream *s);                     // runs all that s has queued, and what that waits for; the lock is free while it sleeps
Result advance(Stream *s);                   // the same, but NOT_READY where the stream waits for a value in memory
Result drain_device(int device, bool all);   // every stream, or only those that the null stream waits for
Result record(Event *e, Stream *s);
Result wait(Stream *s, Event *e);
Result begin_capture(Stream *s);
Result end_capture(Stream *s, Graph **out);
bool capturing();                            // whether this OS thread has a capture under way
Result fail(Result r);                       // makes an error stick, as a context does
Result state();                              // the error that stuck, OK where there is none
Stream *new_stream(int device, bool blocking);
Result close_stream(Stream *s);
Stream *null_stream(int device);
} // namespace softcuda
