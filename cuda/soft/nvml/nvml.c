// A libnvidia-ml.so.1 for tests: one GPU, the software device's, whose sensors say always the same and which, like some real
// ones, has no thermometer. Signatures follow NVIDIA's NVML API reference. Everything else of NVML is missing.
#include <stdio.h>
#include <string.h>

enum { SUCCESS = 0, NOT_SUPPORTED = 3, NOT_FOUND = 6 };
static int gpu;

int nvmlInit_v2(void) { return SUCCESS; }
int nvmlShutdown(void) { return SUCCESS; }

int nvmlSystemGetDriverVersion(char *version, unsigned size) {
  snprintf(version, size, "software 1.0");
  return SUCCESS;
}

int nvmlDeviceGetHandleByUUID(const char *uuid, void **handle) {
  *handle = &gpu;
  return strncmp(uuid, "GPU-736f6674-0000-0000-0000-0000000000", 38) ? NOT_FOUND : SUCCESS; // and the device's number
}

struct utilization { unsigned gpu, memory; }; // percent
struct memory { unsigned long long total, free, used; };

int nvmlDeviceGetUtilizationRates(void *handle, struct utilization *u) { return *u = (struct utilization){97, 50}, SUCCESS; }
int nvmlDeviceGetMemoryInfo(void *handle, struct memory *m) { return *m = (struct memory){8 << 20, 3 << 20, 5 << 20}, SUCCESS; }
int nvmlDeviceGetPowerUsage(void *handle, unsigned *milliwatts) { return *milliwatts = 612500, SUCCESS; }
int nvmlDeviceGetTemperature(void *handle, int sensor, unsigned *celsius) { return NOT_SUPPORTED; }
