// A CUDA device made of fibers. Blocks run one after the other; the threads of a block take turns, each until it
// waits for the others. Streams do their work at once; while one is captured, work is kept for the graph.
#include <cstdlib>
#include <memory>
#include <mutex>
#include <setjmp.h>
#include <sys/mman.h>
#include <ucontext.h>
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

constexpr size_t stack_bytes = 256 << 10;
constexpr size_t most_shared_bytes = 227 << 10; // of a block of compute capability 9.0
constexpr unsigned most_threads = 1024;
constexpr size_t arena_bytes = size_t{2} << 30;
constexpr size_t page_bytes = 4096;
constexpr int most_exchange_bytes = 64;

[[noreturn]] void stop(const char *why)
{
    fprintf(stderr, "emulator: %s (block %u %u %u, thread %u)\n", why, emulator::block.x,
            emulator::block.y, emulator::block.z, emulator::thread.x);
    abort();
}

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

enum class waits {
    nothing,
    warp,
    block,
    ended
};

struct fiber {
    ucontext_t context;
    jmp_buf at;
    bool started;
    waits state;
    std::unique_ptr<char[]> stack;
};

struct warp_slots {
    char values[2][32][most_exchange_bytes];
    unsigned turn[32];
};

std::vector<fiber> fibers;
std::vector<warp_slots> warps;
jmp_buf scheduler;
const std::function<void()> *body;
unsigned current, n_threads;
size_t block_shared_bytes;
long long launches;
std::recursive_mutex one_at_a_time;
alignas(128) unsigned char shared_memory[most_shared_bytes];

[[noreturn]] void fiber_main()
{
    for (;;) {
        (*body)();
        fibers[current].state = waits::ended;
        if (_setjmp(fibers[current].at) == 0)
            _longjmp(scheduler, 1);
    }
}

// Back to the scheduler until the state is `nothing` again.
void wait_for(waits what)
{
    unsigned me = current;
    fibers[me].state = what;
    if (_setjmp(fibers[me].at) == 0)
        _longjmp(scheduler, 1);
}

void resume(unsigned i)
{
    current = i;
    emulator::thread = dim3(i);
    if (_setjmp(scheduler) != 0)
        return;
    if (fibers[i].started)
        _longjmp(fibers[i].at, 1);
    fibers[i].started = true;
    getcontext(&fibers[i].context);
    fibers[i].context.uc_stack.ss_sp = fibers[i].stack.get();
    fibers[i].context.uc_stack.ss_size = stack_bytes;
    fibers[i].context.uc_link = nullptr;
    makecontext(&fibers[i].context, fiber_main, 0);
    setcontext(&fibers[i].context);
}

bool release(unsigned first, unsigned end, waits what)
{
    for (unsigned i = first; i < end; i++)
        if (fibers[i].state != what && fibers[i].state != waits::ended)
            return false;
    bool any = false;
    for (unsigned i = first; i < end; i++)
        if (fibers[i].state == what) {
            fibers[i].state = waits::nothing;
            any = true;
        }
    return any;
}

void run_block()
{
    for (unsigned i = 0; i < n_threads; i++)
        fibers[i].state = waits::nothing;
    memset(warps.data(), 0, warps.size() * sizeof warps[0]);
    memset(shared_memory, 0xff, block_shared_bytes);
    for (bool alive = true; alive;) {
        bool moved = false;
        alive = false;
        for (unsigned i = 0; i < n_threads; i++)
            if (fibers[i].state == waits::nothing) {
                resume(i);
                moved = true;
            }
        for (unsigned w = 0; w < n_threads; w += 32)
            moved = release(w, w + 32 < n_threads ? w + 32 : n_threads, waits::warp) || moved;
        moved = release(0, n_threads, waits::block) || moved;
        for (unsigned i = 0; i < n_threads; i++)
            alive = alive || fibers[i].state != waits::ended;
        if (alive && !moved)
            stop("threads wait at different barriers");
    }
}

void prepare(unsigned threads)
{
    if (fibers.empty())
        fibers.resize(most_threads);
    for (unsigned i = 0; i < threads; i++)
        if (!fibers[i].stack)
            fibers[i].stack.reset(new char[stack_bytes]);
    warps.resize((threads + 31) / 32);
    n_threads = threads;
}

void enqueue(void *on, const std::function<void()> &work)
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

} // namespace

namespace emulator
{

dim3 thread, block, block_size, grid_size;

void call(void *stream, const std::function<void()> &work)
{
    enqueue(stream, work);
}

void launch(dim3 grid, unsigned threads, size_t shared_bytes, void *stream,
        const std::function<void()> &thread_body)
{
    if (shared_bytes > most_shared_bytes || threads == 0 || threads > most_threads || grid.y > 65535
            || grid.z > 65535 || grid.x == 0 || grid.y == 0 || grid.z == 0)
        stop("a launch that no GPU accepts");
    enqueue(stream, [=] {
        prepare(threads);
        body = &thread_body;
        block_shared_bytes = shared_bytes;
        block_size = dim3(threads);
        grid_size = grid;
        for (block.z = 0; block.z < grid.z; block.z++)
            for (block.y = 0; block.y < grid.y; block.y++)
                for (block.x = 0; block.x < grid.x; block.x++)
                    run_block();
    });
}

unsigned char *dynamic_shared()
{
    return shared_memory;
}

void block_barrier()
{
    wait_for(waits::block);
}

void exchange(const void *mine, void *all, size_t bytes)
{
    unsigned me = current, lane = me % 32;
    warp_slots &warp = warps[me / 32];
    unsigned turn = warp.turn[lane]++ % 2;
    if (bytes > most_exchange_bytes)
        stop("an exchange that is too large");
    memcpy(warp.values[turn][lane], mine, bytes);
    wait_for(waits::warp);
    for (int i = 0; i < 32; i++)
        memcpy(static_cast<char *>(all) + i * bytes, warp.values[turn][i], bytes);
}

} // namespace emulator

extern "C" {

cudaError_t cudaGetDeviceCount(int *n)
{
    *n = 1;
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
    enqueue(stream, [=] { memset(to, value, bytes); });
    return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(
        void *to, const void *from, size_t bytes, enum cudaMemcpyKind, cudaStream_t stream)
{
    enqueue(stream, [=] { memcpy(to, from, bytes); });
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
        enqueue(stream, work);
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
