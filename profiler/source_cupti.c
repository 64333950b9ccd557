/*
 * CUPTI asks for empty buffers and hands full ones back, from threads of its own and at times of its
 * choosing; both callbacks take the lock. Records are copied out at once and the buffer is freed.
 *
 * KIND_CONCURRENT_KERNEL, because KIND_KERNEL makes kernels run one after the other.
 */
#include "profiler/source_cupti.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cupti.h>

#define BUFFER_BYTES     (1 << 20)
#define BUFFER_ALIGNMENT 8

/* The layout of kernel records has a number that grows with CUPTI. */
#if CUPTI_API_VERSION >= 130000
typedef CUpti_ActivityKernel10 kernel_record;
#else
typedef CUpti_ActivityKernel9 kernel_record;
#endif

#define FUNCTIONS(NAME)                \
    NAME(ActivityDisable)              \
    NAME(ActivityEnable)               \
    NAME(ActivityFlushAll)             \
    NAME(ActivityGetNextRecord)        \
    NAME(ActivityGetNumDroppedRecords) \
    NAME(ActivityRegisterCallbacks)    \
    NAME(GetResultString)

static struct {
    void *handle;
/* NOLINTNEXTLINE(bugprone-macro-parentheses): the name that is declared */
#define MEMBER(name) __typeof__(cupti##name) *name;
    FUNCTIONS(MEMBER)
#undef MEMBER
    pthread_mutex_t lock;
    struct cupti_span *spans;
    int64_t n, room, dropped;
    bool out_of_memory;
} cupti = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* Keeps one span; the lock is held. */
static void keep(uint64_t start_ns, uint64_t end_ns)
{
    if (cupti.n == cupti.room) {
        int64_t room = cupti.room * 2 + 1024;
        struct cupti_span *more = realloc(cupti.spans, (size_t)room * sizeof *more);
        if (more == NULL) {
            cupti.out_of_memory = true;
            return;
        }
        cupti.spans = more;
        cupti.room = room;
    }
    cupti.spans[cupti.n++] = (struct cupti_span){start_ns, end_ns};
}

static void CUPTIAPI give_buffer(uint8_t **buffer, size_t *size, size_t *most_records)
{
    *buffer = aligned_alloc(BUFFER_ALIGNMENT, BUFFER_BYTES);
    *size = *buffer == NULL ? 0 : BUFFER_BYTES;
    *most_records = 0; /* as many as fit */
}

static void CUPTIAPI take_buffer(
        CUcontext context, uint32_t stream, uint8_t *buffer, size_t size, size_t valid)
{
    (void)size;
    CUpti_Activity *record = NULL;
    size_t dropped = 0;
    pthread_mutex_lock(&cupti.lock);
    while (valid > 0 && cupti.ActivityGetNextRecord(buffer, valid, &record) == CUPTI_SUCCESS) {
        if (record->kind != CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL
                && record->kind != CUPTI_ACTIVITY_KIND_KERNEL)
            continue;
        const kernel_record *kernel = (const kernel_record *)record;
        keep(kernel->start, kernel->end);
    }
    if (cupti.ActivityGetNumDroppedRecords(context, stream, &dropped) == CUPTI_SUCCESS)
        cupti.dropped += (int64_t)dropped;
    pthread_mutex_unlock(&cupti.lock);
    free(buffer);
}

static bool check(CUptiResult result, const char *what, struct err *err)
{
    const char *why = NULL;
    if (result == CUPTI_SUCCESS)
        return true;
    if (cupti.GetResultString(result, &why) != CUPTI_SUCCESS || why == NULL)
        why = "unknown";
    return err_set(err, ERR_ENV, "CUPTI: %s: %s", what, why);
}

static bool load(struct err *err)
{
    static const char *const names[] = {"libcupti.so.13", "libcupti.so.12", "libcupti.so",
            "/usr/local/cuda/lib64/libcupti.so", "/usr/local/cuda/extras/CUPTI/lib64/libcupti.so"};
    const char *asked = getenv("SHARDWRIGHT_CUPTI_LIBRARY");
    if (asked != NULL)
        cupti.handle = dlopen(asked, RTLD_NOW | RTLD_LOCAL);
    for (size_t i = 0; asked == NULL && cupti.handle == NULL && i < sizeof names / sizeof *names;
            i++)
        cupti.handle = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
    if (cupti.handle == NULL)
        return err_set(err, ERR_ENV,
                "libcupti.so was not found: install CUPTI of the CUDA toolkit, or name the file in "
                "SHARDWRIGHT_CUPTI_LIBRARY");
    void *found = NULL;
#define FIND(name)                                                     \
    found = dlsym(cupti.handle, "cupti" #name);                        \
    if (found == NULL)                                                 \
        return err_set(err, ERR_ENV, "libcupti.so lacks cupti" #name); \
    memcpy(&cupti.name, &found, sizeof found);
    FUNCTIONS(FIND)
#undef FIND
    return true;
}

bool source_cupti_open(struct err *err)
{
    if (cupti.handle != NULL)
        return true;
    if (load(err)
            && check(cupti.ActivityRegisterCallbacks(give_buffer, take_buffer), "starting", err))
        return true;
    if (cupti.handle != NULL)
        dlclose(cupti.handle);
    cupti.handle = NULL;
    return false;
}

void source_cupti_close(void)
{
    if (cupti.handle == NULL)
        return;
    cupti.ActivityDisable(CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL);
    cupti.ActivityFlushAll(CUPTI_ACTIVITY_FLAG_FLUSH_FORCED);
    pthread_mutex_lock(&cupti.lock);
    free(cupti.spans);
    cupti.spans = NULL;
    cupti.n = cupti.room = 0;
    pthread_mutex_unlock(&cupti.lock);
    /* The library stays loaded: its threads may still run. */
    cupti.handle = NULL;
}

/* Delivers what was recorded so far and forgets it. */
static bool clear(struct err *err)
{
    if (!check(cupti.ActivityFlushAll(0), "emptying its buffers", err))
        return false;
    pthread_mutex_lock(&cupti.lock);
    cupti.n = cupti.dropped = 0;
    cupti.out_of_memory = false;
    pthread_mutex_unlock(&cupti.lock);
    return true;
}

bool source_cupti_begin(struct err *err)
{
    if (cupti.handle == NULL)
        return err_set(err, ERR_BUG, "source_cupti_begin before source_cupti_open");
    return clear(err)
           && check(cupti.ActivityEnable(CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL), "recording", err);
}

bool source_cupti_end(struct cupti_window *out, struct err *err)
{
    *out = (struct cupti_window){0};
    if (cupti.handle == NULL)
        return err_set(err, ERR_BUG, "source_cupti_end before source_cupti_open");
    bool ok = check(cupti.ActivityFlushAll(0), "reading its buffers", err);
    ok = check(cupti.ActivityDisable(CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL), "stopping", err) && ok;
    pthread_mutex_lock(&cupti.lock);
    cupti_window_of(out, cupti.spans, cupti.n);
    out->dropped = cupti.dropped;
    bool out_of_memory = cupti.out_of_memory;
    pthread_mutex_unlock(&cupti.lock);
    if (!ok)
        return false;
    if (out_of_memory)
        return err_set(err, ERR_ENV, "not enough memory for the records of %lld kernels",
                (long long)out->kernels);
    if (out->lost + out->dropped > 0)
        return err_set(err, ERR_INCONCLUSIVE,
                "CUPTI lost the times of %lld kernels and dropped %lld; measure fewer at once",
                (long long)out->lost, (long long)out->dropped);
    return true;
}
