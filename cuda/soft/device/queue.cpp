// The driver's calls on streams, events, captures and graphs.
#include "driver.h"
#include <string>

using namespace softcuda;

API cuStreamCreate(Handle *s, unsigned flags) { ENTER; *s = new_stream(current()->device, !(flags & 1)); return OK; }
API cuStreamCreateWithPriority(Handle *s, unsigned flags, int) { return cuStreamCreate(s, flags); }
API cuStreamDestroy_v2(Handle s) { ENTER; return close_stream((Stream *)s); }
API cuStreamSynchronize(Handle s) { ENTER; return capturing() ? CAPTURE_UNSUPPORTED : drain(stream_of(s)); }
API cuStreamQuery(Handle s) { ENTER; return advance(stream_of(s)); }
API cuStreamWaitEvent(Handle s, Handle e, unsigned) { ENTER; return wait(stream_of(s), (Event *)e); }

API cuEventCreate(Handle *e, unsigned) { ENTER; *e = new Event; return OK; }
API cuEventRecord(Handle e, Handle s) { ENTER; return record((Event *)e, stream_of(s)); }
API cuEventDestroy_v2(Handle h) {
  ENTER;
  Event *e = (Event *)h;
  Result r = e->stream && e->reached < e->recorded ? drain(e->stream) : OK; // queued work points to it
  delete e;
  return r;
}
static Result settle(Event *e) {
  if (capturing() && e->capture) return CAPTURE_UNSUPPORTED;
  return e->reached < e->recorded ? drain(e->stream) : OK;
}
API cuEventSynchronize(Handle e) { ENTER; return settle((Event *)e); }
API cuEventQuery(Handle h) {
  ENTER;
  Event *e = (Event *)h;
  if (capturing() && e->capture) return CAPTURE_UNSUPPORTED;
  if (e->reached == e->recorded) return OK;
  Result r = advance(e->stream);
  return e->reached == e->recorded ? state() : r;
}
API cuEventElapsedTime(float *ms, Handle a, Handle b) {
  ENTER;
  *ms = std::chrono::duration<float, std::milli>(((Event *)b)->time - ((Event *)a)->time).count();
  return OK;
}

API cuLaunchHostFunc(Handle s, void (*f)(void *), void *data) {
  ENTER;
  return enqueue(stream_of(s), [=] {
    f(data);
    return (Result)OK;
  });
}

// The stream waits until the word at `at`, here any memory, has reached v, counting around: the flag GEQ.
API cuStreamWaitValue32_v2(Handle s, Pointer at, uint32_t v, unsigned flags) {
  ENTER;
  if (flags || stream_of(s)->capture) return NOT_SUPPORTED;
  return enqueue(stream_of(s), [=] { return (Result)((int32_t)(__atomic_load_n((uint32_t *)at, __ATOMIC_ACQUIRE) - v) >= 0 ? OK : NOT_READY); });
}

API cuStreamBeginCapture_v2(Handle s, int) { ENTER; return s ? begin_capture((Stream *)s) : CAPTURE_UNSUPPORTED; }
API cuStreamEndCapture(Handle s, Handle *g) { ENTER; return end_capture((Stream *)s, (Graph **)g); }
API cuGraphInstantiateWithFlags(Handle *exec, Handle g, uint64_t) { ENTER; *exec = new Graph(*(Graph *)g); return OK; }
API cuGraphDestroy(Handle g) { delete (Graph *)g; return OK; }
API cuGraphExecDestroy(Handle g) {
  ENTER;
  Result r = drain_device(current()->device, true); // launches in queues point to it
  delete (Graph *)g;
  return r;
}
API cuGraphLaunch(Handle g, Handle s) {
  ENTER;
  Graph *graph = (Graph *)g;
  return enqueue(stream_of(s), [graph]() -> Result {
    for (Work &w : graph->work)
      if (Result r = w()) return r;
    return OK;
  });
}
