// Compiles one kernel file with NVRTC, NVIDIA's CUDA C++ compiler as a library, which needs no other compiler:
//
//   nvrtc LIBRARY sm_80|sm_90|…|compute_80 INPUT.cu OUTPUT [-Ifolder | --generate-line-info]…
//
// sm_N gives machine code (a cubin), compute_N PTX. What the compiler says goes to stdout; warnings count as errors,
// the table of registers and spills that ptxas prints does not.
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef void *Program;
static void *library;

static void *need(const char *name) {
  void *f = dlsym(library, name);
  if (!f) fprintf(stderr, "nvrtc: the library has no %s\n", name), exit(1);
  return f;
}
#define CALL(name, ...) ((int (*)())need(name))(__VA_ARGS__)

static char *read_file(const char *path) {
  FILE *f = fopen(path, "rb");
  if (!f) perror(path), exit(1);
  fseek(f, 0, SEEK_END);
  long n = ftell(f);
  rewind(f);
  char *text = calloc(1, n + 1);
  if (fread(text, 1, n, f) != (size_t)n) perror(path), exit(1);
  fclose(f);
  return text;
}

int main(int argc, char **argv) {
  if (argc < 5) return fprintf(stderr, "usage: nvrtc LIBRARY ARCH INPUT OUTPUT [-Ifolder]...\n"), 2;
  library = dlopen(argv[1], RTLD_NOW);
  if (!library) return fprintf(stderr, "nvrtc: %s\n", dlerror()), 1;
  char arch[64];
  snprintf(arch, sizeof arch, "--gpu-architecture=%s", argv[2]);
  int binary = !strncmp(argv[2], "sm_", 3);
  const char *options[64] = {arch, "--std=c++17"};
  int n = 2;
  if (binary) options[n++] = "--ptxas-options=-v";
  for (int i = 5; i < argc && n < 64; i++) options[n++] = argv[i];

  Program p;
  char *source = read_file(argv[3]);
  if (CALL("nvrtcCreateProgram", &p, source, argv[3], 0, NULL, NULL)) return fprintf(stderr, "nvrtc: no program\n"), 1;
  int rc = CALL("nvrtcCompileProgram", p, n, options);
  size_t size = 0;
  CALL("nvrtcGetProgramLogSize", p, &size);
  char *log = calloc(1, size + 1);
  CALL("nvrtcGetProgramLog", p, log);
  fputs(log, stdout);
  if (rc || strstr(log, "warning:") || strstr(log, ": warning #")) return 1;

  if (CALL(binary ? "nvrtcGetCUBINSize" : "nvrtcGetPTXSize", p, &size)) return fprintf(stderr, "nvrtc: no output\n"), 1;
  char *out = malloc(size);
  CALL(binary ? "nvrtcGetCUBIN" : "nvrtcGetPTX", p, out);
  if (!binary) size = strlen(out);
  FILE *f = fopen(argv[4], "wb");
  if (!f || fwrite(out, 1, size, f) != size || fclose(f)) return perror(argv[4]), 1;
  return 0;
}
