#include "driver.h"
#include "runner.h"
#include <cstdlib>
#include <cstring>
#include <map>
#include <set>
#include <unistd.h>

namespace softcuda {
static std::set<Stream *> streams;
static std::map<int, Stream *> null_streams;
static Result stuck = OK;

static bool deferred() {
  static const bool on = getenv("SOFTCUDA_DEFERRED") && !strcmp(getenv("SOFTCUDA_DEFERRED"), "1");
  return on;
}

Result fail(Result r) { return stuck = stuck ? stuck : r; }
Result state() { return stuck; }
bool capturing() { return simt::own.capture != nullptr; }

Stream *new_stream(int device, bool blocking) {
  Stream *s = new Stream;
  s->device = device, s->blocking = blocking;
  streams.insert(s);
  return s;
}

Result close_stream(Stream *s) {
  Result r = drain(s);
  streams.erase(s);
  delete s;
  return r;
}

Stream *null_stream(int device) {
  Stream *&s = null_streams[device];
  if (!s) s = new_stream(device, false);
  return s;
}

// first runs the work at the head of a queue. Work that waits for somebody outside says NOT_READY and stays there.
static Result first(Stream *s) {
  Work w = std::move(s->queue.front());
  s->queue.pop_front();
  Result r = w();
  if (r == NOT_READY) s->queue.push_front(std::move(w));
  else if (r) fail(r);
  return r;
}

Result advance(Stream *s) {
  while (!s->queue.empty() && !stuck)
    if (first(s) == NOT_READY) return NOT_READY;
  return stuck;
}

Result drain(Stream *s) {
  for (;;) {
    Result r = advance(s);
    if (r != NOT_READY) return r;
    softcuda::lock.unlock(); // other threads go on meanwhile
    usleep(50);
    softcuda::lock.lock();
  }
}

Result drain_device(int device, bool all) {
  for (Stream *s : std::set<Stream *>(streams)) // a copy: drain may let other threads in
    if (streams.count(s) && s->device == device && (all || s->blocking)) drain(s);
  return stuck;
}

Result enqueue(Stream *s, Work w) {
  if (stuck) return stuck;
  if (s->capture) {
    s->capture->work.push_back(std::move(w));
    s->captured++;
    return OK;
  }
  s->queue.push_back(std::move(w));
  if (deferred()) return OK;
  Result r = advance(s);
  return r == NOT_READY ? OK : r;
}

Result record(Event *e, Stream *s) {
  if (s->capture) {
    e->capture = s->capture, e->stream = s, e->captured_at = s->captured;
    return OK;
  }
  e->capture = nullptr;
  uint64_t n = ++e->recorded;
  e->stream = s;
  return enqueue(s, [e, n] {
    e->reached = n;
    e->time = std::chrono::steady_clock::now();
    return (Result)OK;
  });
}

Result wait(Stream *s, Event *e) {
  if (e->capture) { // the stream joins the capture, or the origin takes it back
    if (s->capture && s->capture != e->capture) return CAPTURE_INVALIDATED;
    if (!s->capture) {
      s->capture = e->capture, s->captured = s->joined_back = 0;
      e->capture->joined.push_back(s);
    } else if (s == e->capture->origin && e->stream != s && e->captured_at == e->stream->captured) {
      e->stream->joined_back = e->captured_at;
    }
    return OK;
  }
  if (s->capture) return CAPTURE_INVALIDATED; // waits for something outside the capture
  uint64_t n = e->recorded;
  return enqueue(s, [e, n] {
    while (e->reached < n && !stuck) {
      if (e->stream->queue.empty()) return (Result)LAUNCH_FAILED; // broken invariant: the record is nowhere
      if (first(e->stream) == NOT_READY) return (Result)NOT_READY;
    }
    return stuck;
  });
}

Result begin_capture(Stream *s) {
  if (s->capture || simt::own.capture) return INVALID;
  simt::own.capture = s->capture = new Graph;
  s->capture->origin = s, s->captured = 0;
  return OK;
}

Result end_capture(Stream *s, Graph **out) {
  Graph *g = s->capture;
  if (!g || g->origin != s) return INVALID;
  Result r = OK;
  for (Stream *j : g->joined) {
    if (j->captured > j->joined_back) r = CAPTURE_UNJOINED;
    j->capture = nullptr;
  }
  s->capture = nullptr;
  simt::own.capture = nullptr;
  if (r) delete g, g = nullptr;
  *out = g;
  return r;
}
} // namespace softcuda
