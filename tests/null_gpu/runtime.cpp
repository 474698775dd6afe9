// CUDA's runtime library without a GPU: PyTorch's calls are answered, kernels are counted and never run.
//
// Device memory is the host's. Streams, events and graphs are names and lists; whatever is launched is done at
// once, in the sense that nothing is done. What CUDA forbids while a stream is being captured is refused with
// CUDA's own codes, and noted as a fault. Everything that torch needs and this file lacks is generated as a
// function that returns success (see build.py).
#include <cuda_runtime_api.h>
#include <sys/mman.h>

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

namespace {

// ---- what this process has done so far ---------------------------------------------------------------------

struct Graph {
  std::vector<std::string> nodes;
};
struct Event {
  bool captured = false;  // recorded inside a capture: asking about it breaks the capture
};
using Ranges = std::map<uintptr_t, size_t>;  // from an address to the bytes there

std::recursive_mutex mutex;
using Lock = std::lock_guard<std::recursive_mutex>;

// Never destroyed: libraries register kernels before, and free memory after, this file's own statics live.
template <class T> T& immortal() {
  static T* it = new T;
  return *it;
}
struct DeviceTag : Ranges {};
struct HostTag : Ranges {};
Ranges& device_memory() { return immortal<DeviceTag>(); }
Ranges& pinned_memory() { return immortal<HostTag>(); }
std::map<const void*, std::string>& kernel_names() { return immortal<std::map<const void*, std::string>>(); }

struct Log : std::vector<std::string> {};
struct Faults : std::vector<std::string> {};
bool logging = false;
std::atomic<long> waits{0};  // calls in which the host waited for the device
size_t bytes_in_use = 0;

struct Capture {
  Graph* graph = nullptr;  // null: nothing is being captured
  std::set<cudaStream_t> streams;
  cudaStreamCaptureMode mode = cudaStreamCaptureModeGlobal;
  unsigned long long id = 0;
  bool invalidated = false;
  long budget = -1;  // bytes that may still be allocated while capturing; -1: as many as there are
} capture;

thread_local cudaStreamCaptureMode thread_mode = cudaStreamCaptureModeGlobal;
thread_local cudaError_t last_error = cudaSuccess;
thread_local int current_device = 0;

cudaError_t fail(cudaError_t error) { return last_error = error; }

double setting(const char* name, double otherwise) {
  const char* text = getenv(name);
  return text ? atof(text) : otherwise;
}

size_t total_bytes() {
  static size_t total = size_t(setting("NULL_GPU_GIB", 80.0) * (1ull << 30));
  return total;
}

// ---- kernels and captures ------------------------------------------------------------------------------------

void launched(cudaStream_t stream, const std::string& what) {
  Lock lock(mutex);
  if (logging) immortal<Log>().push_back(what);
  if (!capture.graph) return;
  if (capture.streams.count(stream))
    capture.graph->nodes.push_back(what);
  else
    immortal<Faults>().push_back("outside the captured stream: " + what);
}

// The stream that a library without a stream of its own launches on: the one being captured, if any.
cudaStream_t library_stream() { return capture.streams.empty() ? nullptr : *capture.streams.begin(); }

// Calls that CUDA refuses while anything is being captured, unless the thread has said it knows better.
cudaError_t forbidden_while_capturing(const char* call) {
  Lock lock(mutex);
  bool relaxed = thread_mode == cudaStreamCaptureModeRelaxed || capture.mode == cudaStreamCaptureModeRelaxed;
  if (!capture.graph || relaxed) return cudaSuccess;
  immortal<Faults>().push_back(std::string("while capturing: ") + call);
  capture.invalidated = true;
  return fail(cudaErrorStreamCaptureUnsupported);
}

cudaError_t host_waits(const char* call) {
  if (cudaError_t error = forbidden_while_capturing(call)) return error;
  waits++;
  return cudaSuccess;
}

std::string name_of(const void* kernel) {
  Lock lock(mutex);
  auto found = kernel_names().find(kernel);
  return found == kernel_names().end() ? "kernel without a name" : found->second;
}

// ---- memory --------------------------------------------------------------------------------------------------

bool contains(const Ranges& ranges, const void* pointer) {
  auto next = ranges.upper_bound(uintptr_t(pointer));
  if (next == ranges.begin()) return false;
  --next;
  return uintptr_t(pointer) < next->first + next->second;
}

struct Way {
  const char* name;
  bool to_host, waits;  // copies of pageable memory wait for the device
};

Way way_of(const void* target, const void* source) {
  Lock lock(mutex);
  bool to_device = contains(device_memory(), target), from_device = contains(device_memory(), source);
  if (to_device && from_device) return {"memcpy device to device", false, false};
  if (to_device)
    return contains(pinned_memory(), source) ? Way{"memcpy pinned to device", false, false}
                                             : Way{"memcpy pageable to device", false, true};
  if (from_device)
    return contains(pinned_memory(), target) ? Way{"memcpy device to pinned", true, false}
                                             : Way{"memcpy device to pageable", true, true};
  return {"memcpy host to host", false, false};
}

// What kernels would have computed was never computed: the host reads zeros, the same in every process.
void copy(void* target, const void* source, size_t size, bool to_host) {
  if (to_host)
    memset(target, 0, size);
  else
    memmove(target, source, size);
}

cudaDeviceProp properties() {
  cudaDeviceProp it;
  memset(&it, 0, sizeof it);
  double capability = setting("NULL_GPU_CAPABILITY", 9.0);
  it.major = int(capability);
  it.minor = int((capability - it.major) * 10 + 0.5);
  strcpy(it.name, "Null GPU");
  it.totalGlobalMem = total_bytes();
  it.multiProcessorCount = 132;
  it.maxThreadsPerBlock = 1024;
  it.maxThreadsPerMultiProcessor = 2048;
  it.maxBlocksPerMultiProcessor = 32;
  it.warpSize = 32;
  it.sharedMemPerBlock = 49152;
  it.sharedMemPerBlockOptin = 232448;
  it.sharedMemPerMultiprocessor = 233472;
  it.regsPerBlock = it.regsPerMultiprocessor = 65536;
  it.maxThreadsDim[0] = it.maxThreadsDim[1] = 1024;
  it.maxThreadsDim[2] = 64;
  it.maxGridSize[0] = 2147483647;
  it.maxGridSize[1] = it.maxGridSize[2] = 65535;
  it.l2CacheSize = 50 << 20;
  it.concurrentKernels = it.unifiedAddressing = 1;
  it.textureAlignment = 512;
  return it;
}

std::atomic<uintptr_t> next_stream{0x1000};
cudaStream_t new_stream() { return cudaStream_t(next_stream += 16); }

}  // namespace

extern "C" {

// ---- what tests ask ------------------------------------------------------------------------------------------

void null_gpu_log(int on) {
  Lock lock(mutex);
  logging = on;
  if (on) immortal<Log>().clear();
}
long null_gpu_log_size() { return immortal<Log>().size(); }
const char* null_gpu_log_entry(long index) { return immortal<Log>()[index].c_str(); }
long null_gpu_num_faults() { return immortal<Faults>().size(); }
const char* null_gpu_fault(long index) { return immortal<Faults>()[index].c_str(); }
long null_gpu_waits() { return waits; }
size_t null_gpu_bytes() { return bytes_in_use; }
void null_gpu_capture_budget(long bytes) { capture.budget = bytes; }

// Called by whatever stands for a kernel elsewhere: the driver (Triton), cuDNN's operators in Python.
void null_gpu_launched(const char* what) { launched(library_stream(), what); }

// Called by every generated cuBLAS function: products count, questions and settings do not.
void null_gpu_library_call(const char* name) {
  std::string call(name);
  bool product = call.find("emm") != call.npos || call.find("emv") != call.npos || call == "cublasLtMatmul";
  if (product) null_gpu_launched(name);
}

// ---- device --------------------------------------------------------------------------------------------------

cudaError_t cudaGetDeviceCount(int* count) {
  *count = int(setting("NULL_GPUS", 1));
  if (const char* visible = getenv("CUDA_VISIBLE_DEVICES")) {
    int named = *visible && strcmp(visible, "-1") ? 1 : 0;
    for (const char* c = visible; *c; c++) named += *c == ',';
    if (named < *count) *count = named;
  }
  return *count ? cudaSuccess : cudaErrorNoDevice;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* answer, int) {
  *answer = properties();
  return cudaSuccess;
}
cudaError_t cudaGetDevice(int* device) {
  *device = current_device;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) {
  current_device = device;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  cudaDeviceProp device = properties();
  switch (int(attribute)) {
    case cudaDevAttrComputeCapabilityMajor: *value = device.major; break;
    case cudaDevAttrComputeCapabilityMinor: *value = device.minor; break;
    case cudaDevAttrMultiProcessorCount: *value = device.multiProcessorCount; break;
    case cudaDevAttrMaxSharedMemoryPerBlock: *value = int(device.sharedMemPerBlock); break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin: *value = int(device.sharedMemPerBlockOptin); break;
    case cudaDevAttrMaxThreadsPerBlock: *value = device.maxThreadsPerBlock; break;
    case cudaDevAttrMaxThreadsPerMultiProcessor: *value = device.maxThreadsPerMultiProcessor; break;
    case cudaDevAttrMaxRegistersPerBlock: *value = device.regsPerBlock; break;
    case cudaDevAttrWarpSize: *value = device.warpSize; break;
    case cudaDevAttrMaxGridDimX: *value = device.maxGridSize[0]; break;
    default: *value = 1;
  }
  return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int* version) {
  *version = 13000;
  return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* version) { return cudaDriverGetVersion(version); }
cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  if (least) *least = 0;
  if (greatest) *greatest = -5;
  return cudaSuccess;
}
cudaError_t cudaDeviceCanAccessPeer(int* can, int, int) {
  *can = 0;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetPCIBusId(char* text, int size, int device) {
  snprintf(text, size, "0000:%02x:00.0", device);
  return cudaSuccess;
}
cudaError_t cudaDeviceSynchronize() { return host_waits("cudaDeviceSynchronize"); }

// ---- errors --------------------------------------------------------------------------------------------------

cudaError_t cudaGetLastError() {
  cudaError_t error = last_error;
  last_error = cudaSuccess;
  return error;
}
cudaError_t cudaPeekAtLastError() { return last_error; }
const char* cudaGetErrorName(cudaError_t) { return "an error of the null GPU"; }
const char* cudaGetErrorString(cudaError_t error) {
  switch (int(error)) {
    case cudaErrorMemoryAllocation: return "out of memory";
    case cudaErrorStreamCaptureUnsupported: return "operation not permitted when stream is capturing";
    case cudaErrorStreamCaptureInvalidated: return "operation failed due to a previous error during capture";
    default: return "an error of the null GPU";
  }
}

// ---- memory --------------------------------------------------------------------------------------------------

cudaError_t cudaMalloc(void** pointer, size_t size) {
  if (cudaError_t error = forbidden_while_capturing("cudaMalloc")) return error;
  Lock lock(mutex);
  *pointer = nullptr;
  if (size == 0) return cudaSuccess;
  if (capture.graph && capture.budget >= 0) {
    if (long(size) > capture.budget) return fail(cudaErrorMemoryAllocation);
    capture.budget -= size;
  }
  size = (size + 4095) & ~size_t(4095);
  if (bytes_in_use + size > total_bytes()) return fail(cudaErrorMemoryAllocation);
  // Pages that nobody writes to take no memory, so nets larger than this machine's memory can be tried.
  void* pages =
      mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (pages == MAP_FAILED) return fail(cudaErrorMemoryAllocation);
  device_memory()[uintptr_t(pages)] = size;
  bytes_in_use += size;
  *pointer = pages;
  return cudaSuccess;
}
cudaError_t cudaFree(void* pointer) {
  if (!pointer) return cudaSuccess;
  if (cudaError_t error = forbidden_while_capturing("cudaFree")) return error;
  Lock lock(mutex);
  auto found = device_memory().find(uintptr_t(pointer));
  if (found == device_memory().end()) return fail(cudaErrorInvalidValue);
  munmap(pointer, found->second);
  bytes_in_use -= found->second;
  device_memory().erase(found);
  return cudaSuccess;
}
cudaError_t cudaMemGetInfo(size_t* free_bytes, size_t* total) {
  *total = total_bytes();
  *free_bytes = *total - bytes_in_use;
  return cudaSuccess;
}
cudaError_t cudaHostAlloc(void** pointer, size_t size, unsigned) {
  if (cudaError_t error = forbidden_while_capturing("cudaHostAlloc")) return error;
  Lock lock(mutex);
  if (posix_memalign(pointer, 4096, size ? size : 1)) return fail(cudaErrorMemoryAllocation);
  pinned_memory()[uintptr_t(*pointer)] = size;
  return cudaSuccess;
}
cudaError_t cudaFreeHost(void* pointer) {
  Lock lock(mutex);
  pinned_memory().erase(uintptr_t(pointer));
  free(pointer);
  return cudaSuccess;
}
cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* answer, const void* pointer) {
  Lock lock(mutex);
  memset(answer, 0, sizeof *answer);
  answer->type = contains(device_memory(), pointer)   ? cudaMemoryTypeDevice
                 : contains(pinned_memory(), pointer) ? cudaMemoryTypeHost
                                                      : cudaMemoryTypeUnregistered;
  answer->devicePointer = answer->hostPointer = const_cast<void*>(pointer);
  return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void* target, const void* source, size_t size, cudaMemcpyKind, cudaStream_t stream) {
  Way way = way_of(target, source);
  if (way.waits)
    if (cudaError_t error = host_waits(way.name)) return error;
  copy(target, source, size, way.to_host);
  launched(stream, way.name);
  return cudaSuccess;
}
cudaError_t cudaMemcpy(void* target, const void* source, size_t size, cudaMemcpyKind) {
  if (cudaError_t error = host_waits("cudaMemcpy")) return error;
  copy(target, source, size, way_of(target, source).to_host);
  return cudaSuccess;
}
cudaError_t cudaMemcpyPeerAsync(void* target, int, const void* source, int, size_t size, cudaStream_t stream) {
  copy(target, source, size, false);
  launched(stream, "memcpy peer to peer");
  return cudaSuccess;
}
cudaError_t cudaMemset(void* target, int value, size_t size) {
  memset(target, value, size);
  return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void* target, int value, size_t size, cudaStream_t stream) {
  memset(target, value, size);
  launched(stream, "memset");
  return cudaSuccess;
}

// ---- streams and events --------------------------------------------------------------------------------------

cudaError_t cudaStreamCreate(cudaStream_t* stream) {
  *stream = new_stream();
  return cudaSuccess;
}
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) { return cudaStreamCreate(stream); }
cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned, int) { return cudaStreamCreate(stream); }
cudaError_t cudaStreamSynchronize(cudaStream_t) { return host_waits("cudaStreamSynchronize"); }
cudaError_t cudaStreamQuery(cudaStream_t) { return forbidden_while_capturing("cudaStreamQuery"); }
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  Lock lock(mutex);
  bool joins = capture.graph && reinterpret_cast<Event*>(event)->captured;
  if (joins) capture.streams.insert(stream);
  return cudaSuccess;
}
cudaError_t cudaEventCreate(cudaEvent_t* event) {
  *event = reinterpret_cast<cudaEvent_t>(new Event);
  return cudaSuccess;
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) { return cudaEventCreate(event); }
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete reinterpret_cast<Event*>(event);
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  Lock lock(mutex);
  reinterpret_cast<Event*>(event)->captured = capture.graph && capture.streams.count(stream);
  return cudaSuccess;
}
cudaError_t cudaEventRecordWithFlags(cudaEvent_t event, cudaStream_t stream, unsigned) {
  return cudaEventRecord(event, stream);
}
cudaError_t cudaEventQuery(cudaEvent_t) { return forbidden_while_capturing("cudaEventQuery"); }
cudaError_t cudaEventSynchronize(cudaEvent_t) { return host_waits("cudaEventSynchronize"); }
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t, cudaEvent_t) {
  *milliseconds = 1;  // there is no time here: whoever chooses by stopwatch finds all alike
  return cudaSuccess;
}

// ---- capture and graphs --------------------------------------------------------------------------------------

cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode* mode) {
  std::swap(thread_mode, *mode);
  return cudaSuccess;
}
cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  Lock lock(mutex);
  *status = !capture.graph || !capture.streams.count(stream) ? cudaStreamCaptureStatusNone
            : capture.invalidated                            ? cudaStreamCaptureStatusInvalidated
                                                             : cudaStreamCaptureStatusActive;
  return cudaSuccess;
}
cudaError_t cudaStreamGetCaptureInfo(
    cudaStream_t stream, cudaStreamCaptureStatus* status, unsigned long long* id, cudaGraph_t* graph,
    const cudaGraphNode_t** dependencies, const cudaGraphEdgeData** edges, size_t* num_dependencies) {
  if (id) *id = capture.id;
  if (graph) *graph = reinterpret_cast<cudaGraph_t>(capture.graph);
  if (dependencies) *dependencies = nullptr;
  if (edges) *edges = nullptr;
  if (num_dependencies) *num_dependencies = 0;
  return cudaStreamIsCapturing(stream, status);
}
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  Lock lock(mutex);
  capture.graph = new Graph;
  capture.streams = {stream};
  capture.mode = mode;
  capture.id++;
  capture.invalidated = false;
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t, cudaGraph_t* graph) {
  Lock lock(mutex);
  bool failed = capture.invalidated;
  *graph = failed ? nullptr : reinterpret_cast<cudaGraph_t>(capture.graph);
  capture.graph = nullptr;
  capture.streams.clear();
  capture.invalidated = false;
  return failed ? fail(cudaErrorStreamCaptureInvalidated) : cudaSuccess;
}
cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long) {
  *executable = reinterpret_cast<cudaGraphExec_t>(new Graph(*reinterpret_cast<Graph*>(graph)));
  return cudaSuccess;
}
cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t*, size_t* num) {
  *num = reinterpret_cast<Graph*>(graph)->nodes.size();
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t) {
  Lock lock(mutex);
  size_t num = reinterpret_cast<Graph*>(executable)->nodes.size();
  if (logging) immortal<Log>().push_back("graph of " + std::to_string(num));
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t) {
  Lock lock(mutex);  // CUDA lets it pass; with the graph go its tensors, whose memory it does not let go
  if (capture.graph) immortal<Faults>().push_back("while capturing: cudaGraphExecDestroy");
  return cudaSuccess;
}

// ---- kernels -------------------------------------------------------------------------------------------------

cudaError_t cudaLaunchKernel(const void* kernel, dim3, dim3, void**, size_t, cudaStream_t stream) {
  launched(stream, name_of(kernel));
  return cudaSuccess;
}
cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t* config, const void* kernel, void**) {
  launched(config->stream, name_of(kernel));
  return cudaSuccess;
}
cudaError_t cudaLaunchCooperativeKernel(const void* kernel, dim3, dim3, void**, size_t, cudaStream_t stream) {
  launched(stream, name_of(kernel));
  return cudaSuccess;
}
cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3, dim3, void**, size_t, cudaStream_t stream) {
  launched(stream, name_of(kernel));
  return cudaSuccess;
}
cudaError_t __cudaGetKernel(cudaKernel_t* kernel, const void* function) {
  *kernel = cudaKernel_t(const_cast<void*>(function));
  return cudaSuccess;
}
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* answer, const void*) {
  memset(answer, 0, sizeof *answer);
  answer->maxThreadsPerBlock = 1024;
  answer->numRegs = 32;
  answer->binaryVersion = answer->ptxVersion = 90;
  return cudaSuccess;
}
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* num, const void*, int, size_t, unsigned) {
  *num = 4;
  return cudaSuccess;
}
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* num, const void*, int, size_t) {
  *num = 4;
  return cudaSuccess;
}
cudaError_t cudaGetSymbolAddress(void** address, const void*) {
  static char room[1 << 16];
  *address = room;
  return cudaSuccess;
}

static long does_nothing() { return 0; }

cudaError_t cudaGetDriverEntryPointByVersion(
    const char*, void** function, unsigned, unsigned long long, cudaDriverEntryPointQueryResult* found) {
  *function = reinterpret_cast<void*>(does_nothing);
  if (found) *found = cudaDriverEntryPointSuccess;
  return cudaSuccess;
}
cudaError_t cudaGetDriverEntryPoint(
    const char* name, void** function, unsigned long long flags, cudaDriverEntryPointQueryResult* found) {
  return cudaGetDriverEntryPointByVersion(name, function, 0, flags, found);
}

// ---- how nvcc's own code registers kernels when a library is loaded, and spells a launch <<<>>> ---------------

struct LaunchConfiguration {
  dim3 grid, block;
  size_t shared;
  cudaStream_t stream;
};
static thread_local std::vector<LaunchConfiguration> launch_configurations;

unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared, cudaStream_t stream) {
  launch_configurations.push_back({grid, block, shared, stream});
  return 0;
}
cudaError_t __cudaPopCallConfiguration(dim3* grid, dim3* block, size_t* shared, void* stream) {
  LaunchConfiguration top = launch_configurations.back();
  launch_configurations.pop_back();
  *grid = top.grid;
  *block = top.block;
  *shared = top.shared;
  *static_cast<cudaStream_t*>(stream) = top.stream;
  return cudaSuccess;
}
void** __cudaRegisterFatBinary(void*) {
  static void* handle[4];
  return handle;
}
void __cudaRegisterFatBinaryEnd(void**) {}
void __cudaUnregisterFatBinary(void**) {}
void __cudaRegisterFunction(
    void**, const char* function, char*, const char* name, int, uint3*, uint3*, dim3*, dim3*, int*) {
  Lock lock(mutex);
  kernel_names()[function] = name;
}
void __cudaRegisterVar(void**, char*, char*, const char*, int, size_t, int, int) {}
char __cudaInitModule(void**) { return 1; }

// ---- cuBLAS: what must answer with more than success; its products are generated -------------------------------

struct Heuristic {  // cublasLtMatmulHeuristicResult_t
  unsigned long algorithm[8];
  size_t workspace;
  int state;
  float waves;
  int reserved[4];
};

static int new_handle(void** handle) {
  *handle = calloc(1, 1024);
  return 0;
}
int cublasCreate_v2(void** handle) { return new_handle(handle); }
int cublasLtCreate(void** handle) { return new_handle(handle); }
size_t cublasLtGetVersion() { return 130100; }
int cublasLtMatmulDescCreate(void** it, int, int) { return new_handle(it); }
int cublasLtMatrixLayoutCreate(void** it, int, uint64_t, uint64_t, int64_t) { return new_handle(it); }
int cublasLtMatmulPreferenceCreate(void** it) { return new_handle(it); }
int cublasLtMatmulAlgoGetHeuristic(
    void*, void*, void*, void*, void*, void*, void*, int, Heuristic* results, int* num) {
  memset(results, 0, sizeof *results);
  *num = 1;
  return 0;
}

}  // extern "C"
