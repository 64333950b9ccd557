// The runtime of an emulated device: its memory, and streams that do their work at once; while one is captured, work is
// kept for the graph.
#include <cstdlib>
#include <memory>
#include <mutex>
#include <sys/mman.h>
#include <vector>

#include <cuda_runtime.h>

struct emulated_graph {
    std::vector<std::function<void()>> work;
};

struct emulated_stream {
    std::unique_ptr<emulated_graph> capture;
};

struct emulated_event {
    long long launches;
};

namespace
{

constexpr size_t arena_bytes = size_t{2} << 30;
constexpr size_t page_bytes = 4096;

long long launches;
std::recursive_mutex one_at_a_time;

// Device memory: one range, out of the host's reach while no kernel runs.
struct memory {
    char *base = nullptr;
    size_t used = 0;
    int open = 0;
};
memory device;

void reach(bool on)
{
    if (device.base == nullptr)
        return;
    device.open += on ? 1 : -1;
    if (device.open == (on ? 1 : 0) && device.used > 0)
        mprotect(device.base, device.used, on ? PROT_READ | PROT_WRITE : PROT_NONE);
}

} // namespace

void emulator::call(void *on, const std::function<void()> &work)
{
    auto *stream = static_cast<emulated_stream *>(on);
    if (stream != nullptr && stream->capture) {
        stream->capture->work.push_back(work);
        return;
    }
    std::lock_guard<std::recursive_mutex> lock(one_at_a_time);
    reach(true);
    work();
    launches++;
    reach(false);
}

extern "C" {

cudaError_t cudaGetDeviceCount(int *n)
{
    *n = 1;
    return cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int *version)
{
    *version = 0;
    return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *out, int device_index)
{
    memset(out, 0, sizeof *out);
    snprintf(out->name, sizeof out->name, "emulated GPU %d", device_index);
    out->major = 9;
    out->totalGlobalMem = arena_bytes;
    out->multiProcessorCount = 4;
    return cudaSuccess;
}

cudaError_t cudaSetDevice(int)
{
    return cudaSuccess;
}

cudaError_t cudaMalloc(void **out, size_t bytes)
{
    std::lock_guard<std::recursive_mutex> lock(one_at_a_time);
    size_t rounded = (bytes + 2 * page_bytes - 1) / page_bytes * page_bytes; // and a gap behind it
    if (device.base == nullptr) {
        void *base = mmap(nullptr, arena_bytes, PROT_NONE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (base == MAP_FAILED)
            return cudaErrorMemoryAllocation;
        device.base = static_cast<char *>(base);
    }
    if (device.used + rounded > arena_bytes)
        return cudaErrorMemoryAllocation;
    *out = device.base + device.used;
    device.used += rounded;
    return cudaSuccess;
}

// The address is not given out again, so whoever uses it later reads poison.
cudaError_t cudaFree(void *memory)
{
    if (memory == nullptr)
        return cudaSuccess;
    reach(true);
    memset(memory, 0xff, 16);
    reach(false);
    return cudaSuccess;
}

cudaError_t cudaMallocHost(void **out, size_t bytes)
{
    *out = malloc(bytes);
    return *out == nullptr ? cudaErrorMemoryAllocation : cudaSuccess;
}

cudaError_t cudaFreeHost(void *memory)
{
    free(memory);
    return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t *available, size_t *total)
{
    *total = arena_bytes;
    *available = arena_bytes - device.used;
    return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void *to, int value, size_t bytes, cudaStream_t stream)
{
    emulator::call(stream, [=] { memset(to, value, bytes); });
    return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(
        void *to, const void *from, size_t bytes, enum cudaMemcpyKind, cudaStream_t stream)
{
    emulator::call(stream, [=] { memcpy(to, from, bytes); });
    return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *out, unsigned)
{
    *out = new emulated_stream;
    return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream)
{
    delete stream;
    return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream)
{
    return stream != nullptr && stream->capture ? cudaErrorInvalidValue : cudaSuccess;
}

cudaError_t cudaStreamQuery(cudaStream_t)
{
    return cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t *out)
{
    *out = new emulated_event{0};
    return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event)
{
    delete event;
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t)
{
    event->launches = launches;
    return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t)
{
    return cudaSuccess;
}

// An emulated launch takes one microsecond by definition.
cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t begin, cudaEvent_t end)
{
    *ms = static_cast<float>(end->launches - begin->launches) * 1e-3f;
    return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, enum cudaStreamCaptureMode)
{
    if (stream->capture)
        return cudaErrorInvalidValue;
    stream->capture.reset(new emulated_graph);
    return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *out)
{
    if (!stream->capture)
        return cudaErrorInvalidValue;
    *out = stream->capture.release();
    return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *out, cudaGraph_t graph, unsigned long long)
{
    *out = new emulated_graph(*graph);
    return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t stream)
{
    for (const auto &work : graph->work)
        emulator::call(stream, work);
    return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph)
{
    delete graph;
    return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t graph)
{
    delete graph;
    return cudaSuccess;
}

cudaError_t cudaGetLastError(void)
{
    return cudaSuccess;
}

const char *cudaGetErrorString(cudaError_t error)
{
    switch (error) {
    case cudaSuccess:
        return "no error";
    case cudaErrorMemoryAllocation:
        return "out of memory";
    case cudaErrorInvalidValue:
    case cudaErrorNoDevice:
    case cudaErrorNotReady:
        return "not allowed";
    }
    return "unknown";
}
}
