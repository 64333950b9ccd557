// Kernels made of fibers. Blocks run one after the other; the threads of a block take turns, each until it waits for
// the others.
#include <cstdlib>
#include <memory>
#include <setjmp.h>
#include <ucontext.h>
#include <vector>

#include <cuda_runtime.h>

namespace
{

constexpr size_t stack_bytes = 256 << 10;
constexpr size_t most_shared_bytes = 227 << 10; // of a block of compute capability 9.0
constexpr unsigned most_threads = 1024;
constexpr int most_exchange_bytes = 64;

[[noreturn]] void stop(const char *why)
{
    fprintf(stderr, "emulator: %s (block %u %u %u, thread %u)\n", why, emulator::block.x,
            emulator::block.y, emulator::block.z, emulator::thread.x);
    abort();
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

} // namespace

namespace emulator
{

dim3 thread, block, block_size, grid_size;

void launch(dim3 grid, unsigned threads, size_t shared_bytes, void *stream,
        const std::function<void()> &thread_body)
{
    if (shared_bytes > most_shared_bytes || threads == 0 || threads > most_threads || grid.y > 65535
            || grid.z > 65535 || grid.x == 0 || grid.y == 0 || grid.z == 0)
        stop("a launch that no GPU accepts");
    call(stream, [=] {
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
