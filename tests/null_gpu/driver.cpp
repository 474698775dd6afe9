// CUDA's driver library (libcuda.so.1) without a GPU: what Triton loads and launches its kernels with.
//
// Every driver function that is not here is generated as one that returns success (see build.py).
#include <cstdint>
#include <cstdio>
#include <cstring>

extern "C" {

void null_gpu_launched(const char* what);                       // both in runtime.cpp
int cudaDeviceGetAttribute(int* value, int attribute, int device);

static void* const context = reinterpret_cast<void*>(0x10);
static void* const module = reinterpret_cast<void*>(0x30);

static int launch(const char* function) {
  char text[300];
  snprintf(text, sizeof text, "triton %s", function);
  null_gpu_launched(text);
  return 0;
}

// A function's handle is its name, so that a launch can say which it was.
int cuModuleGetFunction(void** function, void*, const char* name) {
  *function = strdup(name);
  return 0;
}
int cuLaunchKernelEx(void*, const char* function, void**, void**) { return launch(function); }
int cuLaunchKernel(const char* function) { return launch(function); }
int cuModuleLoadData(void** it, void*) {
  *it = module;
  return 0;
}
int cuModuleLoad(void** it, void*) {
  *it = module;
  return 0;
}
int cuFuncGetAttribute(int* value, int attribute, void*) {
  enum { MAX_THREADS_PER_BLOCK = 0, NUM_REGS = 4 };
  *value = attribute == NUM_REGS ? 32 : attribute == MAX_THREADS_PER_BLOCK ? 1024 : 0;
  return 0;
}
int cuDeviceGet(int* device, int index) {
  *device = index;
  return 0;
}
int cuDeviceGetAttribute(int* value, int attribute, int device) {
  return cudaDeviceGetAttribute(value, attribute, device);
}
int cuDriverGetVersion(int* version) {
  *version = 13000;
  return 0;
}
int cuCtxGetDevice(int* device) {
  *device = 0;
  return 0;
}
int cuCtxGetCurrent(void** it) {
  *it = context;
  return 0;
}
int cuDevicePrimaryCtxRetain(void** it, int) {
  *it = context;
  return 0;
}
int cuDevicePrimaryCtxGetState(int, unsigned* flags, int* active) {
  if (flags) *flags = 0;
  *active = 1;
  return 0;
}
int cuOccupancyMaxActiveClusters(int* num) {
  *num = 4;
  return 0;
}
int cuOccupancyMaxActiveBlocksPerMultiprocessor(int* num) {
  *num = 4;
  return 0;
}
int cuPointerGetAttribute(void** value, int, void* pointer) {
  *value = pointer;
  return 0;
}
int cuGetErrorString(int, const char** text) {
  *text = "an error of the null GPU";
  return 0;
}

}  // extern "C"
