/* A driver without a GPU behind it: libcuda.so.1 as far as MXNet and the doctor need it.

   STUB_GPUS=8690 makes it show two GPUs, of compute capability 8.6 and 9.0.
   STUB_ERROR=999 makes it answer cuInit with that error. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *gpus(void) {
  const char *text = getenv("STUB_GPUS");
  return text ? text : "";
}

int cuInit(unsigned flags) {
  const char *error = getenv("STUB_ERROR");
  return error ? atoi(error) : *gpus() ? 0 : 100;
}
int cuDeviceGetCount(int *count) {
  if (!*gpus()) return 3; /* not initialised */
  return *count = strlen(gpus()) / 2, 0;
}
int cuDeviceGet(int *device, int number) { return *device = number, 0; }
int cuDeviceGetName(char *name, int size, int device) {
  return snprintf(name, size, "Stub %d", device), 0;
}
int cuDeviceGetAttribute(int *value, int which, int device) {
  return *value = gpus()[2 * device + (which == 76)] - '0', 0;
}

/* What libmxnet.so of mxnet-cu112 wants to be there when it is loaded. */
#define NOTHING(name) int name(void) { return 100; }
NOTHING(cuDevicePrimaryCtxRetain)
NOTHING(cuGetErrorString)
NOTHING(cuGraphKernelNodeGetParams)
NOTHING(cuGraphNodeGetType)
NOTHING(cuLaunchKernel)
NOTHING(cuModuleGetFunction)
NOTHING(cuModuleLoadData)
NOTHING(cuModuleLoadDataEx)
NOTHING(cuModuleUnload)
