// Modules and functions: kernels that g++ compiled into this library, or PTX that is interpreted.
#include "../ptx/program.h"
#include "driver.h"
#include <cstdio>
#include <cstdlib>
#include <fcntl.h>
#include <map>
#include <memory>
#include <unistd.h>

namespace softcuda {
namespace {
const unsigned kSharedByDefault = 48 << 10; // dynamic and static; more after cuFuncSetAttribute, as on a GPU

// Function is a kernel as the driver's calls see it.
struct Function {
  std::string name;
  unsigned threads = 0; // largest block
  unsigned fixed = 0;   // shared memory that it has anyway
  unsigned limit = 0;   // of dynamic shared memory
  std::vector<ptx::Parameter> params;
  virtual ~Function() = default;
  virtual std::string launch(dim3 grid, dim3 block, unsigned shared, std::vector<char> &values) = 0;
};

// Native is a kernel of this library. Its parameters lie 16 bytes aligned each.
struct Native : Function {
  const simt::Kernel *kernel;
  explicit Native(const simt::Kernel *k) : kernel(k) {
    name = k->name, threads = k->threads, limit = kSharedByDefault;
    for (uint64_t i = 0, at = 0; i < k->count; i++, at += (params.back().bytes + 15) / 16 * 16) params.push_back({at, k->sizes[i]});
  }
  std::string launch(dim3 grid, dim3 block, unsigned shared, std::vector<char> &values) override {
    std::vector<void *> p;
    for (auto &a : params) p.push_back(values.data() + a.offset);
    return simt::launch(kernel, grid, block, shared, p.data());
  }
};

// Interpreted is a kernel of a PTX text.
struct Interpreted : Function {
  ptx::Program &program;
  const ptx::Code &code;
  Interpreted(ptx::Program &p, const ptx::Code &c) : program(p), code(c) {
    name = c.name, threads = c.threads, fixed = (unsigned)c.shared_bytes, params = c.params;
    limit = kSharedByDefault - fixed;
  }
  std::string launch(dim3 grid, dim3 block, unsigned shared, std::vector<char> &values) override {
    return program.launch(code, &grid.x, &block.x, shared, values, ranges());
  }
};

struct Module {
  std::unique_ptr<ptx::Program> program; // none: the kernels of this library
  std::map<std::string, std::unique_ptr<Function>> functions;
};

Function *function(Module *m, const std::string &name) {
  auto &f = m->functions[name];
  if (f) return f.get();
  if (m->program) {
    if (m->program->has(name)) f = std::make_unique<Interpreted>(*m->program, m->program->code(name));
  } else if (const simt::Kernel *k = simt::find(name.c_str())) {
    f = std::make_unique<Native>(k);
  }
  return f.get();
}

// SOFTCUDA_NULL=1 makes a launch do nothing: what is left is the cost of getting here.
bool null_driver() {
  static const bool on = getenv("SOFTCUDA_NULL") != nullptr;
  return on;
}

// SOFTCUDA_FAIL=KERNEL:N makes the Nth launch of a kernel fail as an access out of bounds does; with KERNEL:N:FILE
// only where FILE can be created, so that of many processes one fails, once.
bool doomed(const std::string &kernel) {
  static const std::string order = getenv("SOFTCUDA_FAIL") ? getenv("SOFTCUDA_FAIL") : "";
  static const size_t colon = order.find(':');
  static long left = colon == std::string::npos ? 0 : atol(order.c_str() + colon + 1);
  if (!left || order.compare(0, colon, kernel) || --left) return false;
  size_t file = order.find(':', colon + 1);
  if (file == std::string::npos) return true;
  int f = open(order.c_str() + file + 1, O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  return f >= 0 && !close(f);
}

Result refuse(const std::exception &e) {
  fprintf(stderr, "softcuda: %s\n", e.what());
  return INVALID_PTX;
}
} // namespace
} // namespace softcuda
using namespace softcuda;

// An image that is PTX is interpreted; anything else stands for the kernels of this library.
API cuModuleLoadData(Handle *m, const void *image) {
  ENTER;
  if (!image) return INVALID;
  auto made = std::make_unique<Module>();
  if (strstr((const char *)image, ".address_size")) {
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) {
      fprintf(stderr, "softcuda: interpreting PTX takes a CPU with AVX2 and FMA\n");
      return NOT_SUPPORTED;
    }
    try {
      made->program = std::make_unique<ptx::Program>((const char *)image);
    } catch (const std::exception &e) {
      return refuse(e);
    }
  }
  *m = made.release();
  return OK;
}
API cuModuleUnload(Handle m) { delete (Module *)m; return OK; }
API cuModuleGetFunction(Handle *f, Handle m, const char *name) {
  ENTER;
  try {
    *f = function((Module *)m, name);
  } catch (const std::exception &e) {
    return refuse(e);
  }
  return *f ? OK : NOT_FOUND;
}
API cuFuncLoad(Handle) { ENTER; return capturing() ? CAPTURE_UNSUPPORTED : OK; }
API cuFuncGetParamInfo(Handle h, size_t i, size_t *offset, size_t *size) {
  Function *f = (Function *)h;
  if (i >= f->params.size()) return INVALID;
  *offset = f->params[i].offset, *size = f->params[i].bytes;
  return OK;
}
API cuFuncSetAttribute(Handle h, int attribute, int value) {
  ENTER;
  Function *f = (Function *)h;
  if (attribute != 8) return OK; // MAX_DYNAMIC_SHARED_SIZE_BYTES
  if (value < 0 || (unsigned)value + f->fixed > simt::kSharedLimit) return INVALID;
  f->limit = value;
  return OK;
}
API cuFuncGetAttribute(int *v, int attribute, Handle h) {
  Function *f = (Function *)h;
  *v = attribute == 0 ? (int)f->threads : attribute == 1 ? (int)f->fixed : 0; // MAX_THREADS_PER_BLOCK, SHARED_SIZE_BYTES
  return OK;
}

API cuLaunchKernel(Handle h, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared, Handle s, void **params, void **extra) {
  if (null_driver()) return OK;
  ENTER;
  Function *f = (Function *)h;
  uint64_t threads = (uint64_t)bx * by * bz;
  if (extra || !gx || !gy || !gz || gy > 65535 || gz > 65535 || !threads || threads > f->threads || bz > 64 || shared > f->limit) return INVALID;
  size_t bytes = f->params.empty() ? 0 : f->params.back().offset + f->params.back().bytes;
  std::vector<char> values(bytes); // parameters are read now, as the driver does
  for (size_t i = 0; i < f->params.size(); i++) memcpy(&values[f->params[i].offset], params[i], f->params[i].bytes);
  dim3 grid{gx, gy, gz}, block{bx, by, bz};
  return enqueue(stream_of(s), [=]() mutable -> Result {
    if (doomed(f->name)) return ILLEGAL_ADDRESS;
    std::vector<char> copy = values;
    std::string error = f->launch(grid, block, shared, copy);
    if (error.empty()) return OK;
    fprintf(stderr, "softcuda: %s\n", error.c_str());
    return LAUNCH_FAILED;
  });
}
