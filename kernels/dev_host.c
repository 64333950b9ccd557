/* Huge pages need madvise, which POSIX lacks. */
#define _GNU_SOURCE // NOLINT(bugprone-reserved-identifier): glibc looks for it

#include "kernels/dev.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/arena.h"
#include "kernels/cpu/isa.h"
#include "kernels/dev_cuda.h"
#include "kernels/dev_host.h"
#include "kernels/pool.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#define HUGE_PAGE (INT64_C(2) << 20)

const char *const dev_isa_names[] = {"auto", "portable", "avx2", "avx512", NULL};

struct block {
    void *memory;
    int64_t bytes;
};

struct scratch {
    struct arena arena;
    char *memory;
    int64_t bytes;
};

struct dev {
    struct dev_options options;
    struct pool *pool;
    const struct cpu_isa *cpu;
    struct scratch *scratch; /* threads, then the shared ones */
    struct block *blocks;
    int n_blocks, max_blocks;
    int64_t allocated;
    struct dev_cuda *gpu;
    struct err failure;
};

#if defined(__x86_64__)
/* __builtin_cpu_supports does not know f16c with every compiler. */
static bool f16c_here(void)
{
    unsigned a = 0, b = 0, c = 0, d = 0;
    return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}
#endif

static bool isa_here(enum dev_isa isa)
{
#if defined(__x86_64__)
    switch (isa) {
    case ISA_AVX2:
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && f16c_here();
    case ISA_AVX512:
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")
               && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    case ISA_AUTO:
    case ISA_PORTABLE:
        return true;
    }
#endif
    return isa == ISA_AUTO || isa == ISA_PORTABLE;
}

/* What was asked for: by the caller, else by SHARDWRIGHT_ISA, else the best there is. */
static bool isa_choose(enum dev_isa *isa, struct err *err)
{
    const char *name = getenv("SHARDWRIGHT_ISA");
    if (*isa == ISA_AUTO && name && *name) {
        enum dev_isa i = ISA_AUTO;
        while (dev_isa_names[i] && strcmp(dev_isa_names[i], name) != 0)
            i++;
        if (!dev_isa_names[i])
            return err_set(err, ERR_INPUT,
                    "SHARDWRIGHT_ISA is \"%s\", expected auto, portable, avx2 or avx512", name);
        *isa = i;
    }
    if (*isa == ISA_AUTO)
        *isa = isa_here(ISA_AVX512) ? ISA_AVX512 : isa_here(ISA_AVX2) ? ISA_AVX2 : ISA_PORTABLE;
    if (!isa_here(*isa))
        return err_set(err, ERR_ENV,
                "this CPU has no %s, which was asked for: ask for auto or portable",
                dev_isa_names[*isa]);
    return true;
}

struct dev *dev_host_open(const struct dev_options *options, struct err *err)
{
    struct dev *dev = calloc(1, sizeof(*dev));
    if (!dev) {
        err_set(err, ERR_ENV, "no memory for a device");
        return NULL;
    }
    dev->options = *options;
    if (!isa_choose(&dev->options.isa, err))
        goto fail;
    dev->cpu = cpu_isa_find(dev->options.isa, options->deterministic);
    dev->pool = pool_open(options->threads, options->first_cpu, err);
    if (!dev->pool)
        goto fail;
    dev->scratch = calloc((size_t)options->threads + 2, sizeof(*dev->scratch));
    if (!dev->scratch)
        err_set(err, ERR_ENV, "no memory for a device of %d threads", options->threads);
    else if (options->gpu)
        dev->gpu = dev_cuda_open(options->gpu_index, err);
    bool opened = dev->scratch && (dev->gpu || !options->gpu);
    if (opened && dev->gpu && options->algorithms)
        opened = dev_cuda_prefer(dev->gpu, options->algorithms, err);
    if (opened)
        return dev;
fail:
    dev_close(dev);
    return NULL;
}

static void block_free(struct dev *dev, void *memory)
{
    if (dev->gpu)
        dev_cuda_free(dev->gpu, memory);
    else
        free(memory);
}

/* Nobody waits for it: what fails here is timed again. */
static void collect_algorithms(struct dev *dev)
{
    struct err ignored = {0};

    if (dev->gpu && dev->options.algorithms
            && !dev_cuda_collect(dev->gpu, dev->options.algorithms, &ignored))
        err_clear(&ignored);
}

void dev_close(struct dev *dev)
{
    if (!dev)
        return;
    collect_algorithms(dev);
    pool_close(dev->pool);
    for (int i = 0; dev->scratch && i < dev->options.threads + 2; i++)
        arena_free(&dev->scratch[i].arena);
    for (int i = 0; i < dev->n_blocks; i++)
        block_free(dev, dev->blocks[i].memory);
    dev_cuda_close(dev->gpu);
    free(dev->scratch);
    free(dev->blocks);
    free(dev);
}

/* What the kernel can give without killing somebody; INT64_MAX where it does not say. */
static int64_t available_bytes(void)
{
    FILE *file = fopen("/proc/meminfo", "re");
    int64_t kib = 0;
    char line[256];
    bool found = false;
    while (file && !found && fgets(line, sizeof(line), file)) {
        found = strncmp(line, "MemAvailable:", 13) == 0;
        if (found)
            kib = strtoll(line + 13, NULL, 10);
    }
    if (file)
        fclose(file);
    return found ? kib * 1024 : INT64_MAX;
}

static bool blocks_reserve(struct dev *dev)
{
    if (dev->n_blocks < dev->max_blocks)
        return true;
    int more = dev->max_blocks ? dev->max_blocks * 2 : 64;
    struct block *blocks = realloc(dev->blocks, sizeof(*blocks) * (size_t)more);
    if (!blocks)
        return false;
    dev->blocks = blocks;
    dev->max_blocks = more;
    return true;
}

static void *host_alloc(int64_t bytes, struct err *err)
{
    void *memory = NULL;
    int64_t align = bytes >= HUGE_PAGE ? HUGE_PAGE : 64;
    /* Overcommit would say yes and kill the process later. Small ones are not worth the question. */
    int64_t available = bytes >= HUGE_PAGE ? available_bytes() : INT64_MAX;
    int64_t rounded = bytes > INT64_MAX - align ? INT64_MAX : (bytes / align + 1) * align;
    if (rounded > available || posix_memalign(&memory, (size_t)align, (size_t)rounded) != 0) {
        if (available < INT64_MAX)
            err_set(err, ERR_ENV, "no memory for %lld MiB: %lld MiB are available",
                    (long long)(bytes >> 20), (long long)(available >> 20));
        else
            err_set(err, ERR_ENV, "no memory for %lld bytes", (long long)bytes);
        return NULL;
    }
    if (bytes >= HUGE_PAGE)
        madvise(memory, (size_t)rounded, MADV_HUGEPAGE);
    memset(memory, 0, (size_t)rounded); /* touches every page now, not in the first step */
    return memory;
}

void *dev_alloc(struct dev *dev, int64_t bytes, struct err *err)
{
    if (bytes < 0) {
        err_set(err, ERR_BUG, "a device was asked for %lld bytes", (long long)bytes);
        return NULL;
    }
    if (!blocks_reserve(dev)) {
        err_set(err, ERR_ENV, "no memory for the list of a device's memory");
        return NULL;
    }
    void *memory = dev->gpu ? dev_cuda_alloc(dev->gpu, bytes, err) : host_alloc(bytes, err);
    if (!memory)
        return NULL;
    dev->blocks[dev->n_blocks++] = (struct block){memory, bytes};
    dev->allocated += bytes;
    return memory;
}

void dev_free(struct dev *dev, void *memory)
{
    for (int i = 0; memory && i < dev->n_blocks; i++) {
        if (dev->blocks[i].memory != memory)
            continue;
        dev->allocated -= dev->blocks[i].bytes;
        block_free(dev, memory);
        dev->blocks[i] = dev->blocks[--dev->n_blocks];
        return;
    }
}

int64_t dev_allocated(const struct dev *dev)
{
    return dev->allocated;
}

int dev_threads(const struct dev *dev)
{
    return dev->options.threads;
}

enum dev_isa dev_isa(const struct dev *dev)
{
    return dev->options.isa;
}

bool dev_deterministic(const struct dev *dev)
{
    return dev->options.deterministic;
}

struct dev_cuda *dev_gpu(const struct dev *dev)
{
    return dev->gpu;
}

struct err *dev_failure(struct dev *dev)
{
    return &dev->failure;
}

bool dev_reference(const struct dev *dev)
{
    return dev->options.reference;
}

const struct cpu_isa *dev_cpu(const struct dev *dev)
{
    return dev->cpu;
}

static void scratch_grow(struct scratch *scratch, int64_t room)
{
    int64_t align = room >= HUGE_PAGE / 4 ? HUGE_PAGE : 64;
    if (align == HUGE_PAGE)
        room = (room + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
    arena_free(&scratch->arena);
    char *memory = arena_alloc(&scratch->arena, room + align);
    scratch->memory = memory + (align - (int64_t)((uintptr_t)memory % (uintptr_t)align)) % align;
    scratch->bytes = room;
    if (align == HUGE_PAGE)
        madvise(scratch->memory, (size_t)room, MADV_HUGEPAGE);
}

static void *scratch_get(struct scratch *scratch, int64_t bytes)
{
    /* Half again as much, so that slowly growing shapes do not pile up old blocks. */
    if (bytes > scratch->bytes)
        scratch_grow(scratch, bytes + bytes / 2);
    return scratch->memory;
}

/* Which threads find work to do differs from run to run. All get what one of them needed, so that an op that has run
 * once allocates no more. */
static void scratch_level(struct dev *dev)
{
    int64_t most = 0;
    for (int i = 0; i < dev->options.threads; i++)
        most = dev->scratch[i].bytes > most ? dev->scratch[i].bytes : most;
    for (int i = 0; i < dev->options.threads; i++)
        if (dev->scratch[i].bytes < most)
            scratch_grow(&dev->scratch[i], most);
}

void dev_parallel(struct dev *dev, void (*fn)(void *arg, int part, int parts), void *arg)
{
    pool_run(dev->pool, fn, arg);
    scratch_level(dev);
}

void *dev_scratch(struct dev *dev, int part, int64_t bytes)
{
    return scratch_get(&dev->scratch[part], bytes);
}

void *dev_shared(struct dev *dev, int64_t bytes)
{
    return scratch_get(&dev->scratch[dev->options.threads], bytes);
}

void *dev_packed(struct dev *dev, int64_t bytes)
{
    return scratch_get(&dev->scratch[dev->options.threads + 1], bytes);
}
