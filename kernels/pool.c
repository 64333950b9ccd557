/* CPU affinity is a GNU call. */
#define _GNU_SOURCE // NOLINT(bugprone-reserved-identifier): glibc looks for it

#include "kernels/pool.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/*
 * Ops of one step follow each other within microseconds. Longer waits are for other ranks, for the next step, or for a
 * thread that its CPU was taken from: those offer the CPU to others at every look. Waking who sleeps costs 35 to 200 us
 * on a virtual machine, whose CPU must be woken, too; so only who waits for longer than a step goes to sleep.
 */
#define SPIN_NS  50000
#define YIELD_NS 2000000

struct worker {
    struct pool *pool;
    pthread_t id;
    int part;
};

struct pool {
    int threads, started;
    int first_cpu;
    bool awake;             /* while waiting, for a while */
    struct worker *workers; /* threads - 1 */
    void (*fn)(void *arg, int part, int parts);
    void *arg;
    bool stop; /* written before job changes */
    /* Each waits for the other's word in this order: say that I sleep, then look again. */
    _Atomic uint64_t job, finished; /* how many so far */
    _Atomic int pending, sleepers;
    _Atomic bool caller_sleeps;
    pthread_mutex_t lock;
    pthread_cond_t wake, done;
};

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

/* A fact about the process: read before the first thread is pinned, because a pinned thread no longer
 * sees the others' CPUs. */
static cpu_set_t allowed;

static void allowed_read(void)
{
    if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0)
        CPU_ZERO(&allowed);
}

static void allowed_once(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, allowed_read);
}

static void pin(int first_cpu, int part)
{
    int nth = first_cpu + part;
    if (first_cpu < 0)
        return;
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, &allowed) || nth-- > 0)
            continue;
        cpu_set_t one;
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        pthread_setaffinity_np(pthread_self(), sizeof(one), &one);
        return;
    }
}

/* Waits awake until the counter has another value, or for as long as a pool may. */
static bool another(const struct pool *pool, const _Atomic uint64_t *counter, uint64_t seen)
{
    int64_t begin = now_ns(), spin_end = begin + SPIN_NS, end = begin + YIELD_NS;
    for (int64_t now = begin; pool->awake && now < end; now = now_ns()) {
        for (int i = 0; i < (now < spin_end ? 64 : 1); i++) {
            if (atomic_load(counter) != seen)
                return true;
            relax();
        }
        if (now >= spin_end)
            sched_yield();
    }
    return atomic_load(counter) != seen;
}

static void wait_for_job(struct pool *pool, uint64_t seen)
{
    if (another(pool, &pool->job, seen))
        return;
    pthread_mutex_lock(&pool->lock);
    atomic_fetch_add(&pool->sleepers, 1);
    while (atomic_load(&pool->job) == seen)
        pthread_cond_wait(&pool->wake, &pool->lock);
    atomic_fetch_sub(&pool->sleepers, 1);
    pthread_mutex_unlock(&pool->lock);
}

static void *work(void *arg)
{
    struct worker *worker = arg;
    struct pool *pool = worker->pool;
    pin(pool->first_cpu, worker->part);
    for (uint64_t seen = 0;; seen++) {
        wait_for_job(pool, seen);
        if (pool->stop)
            return NULL;
        pool->fn(pool->arg, worker->part, pool->threads);
        if (atomic_fetch_sub(&pool->pending, 1) > 1)
            continue;
        atomic_fetch_add(&pool->finished, 1);
        if (atomic_load(&pool->caller_sleeps)) {
            pthread_mutex_lock(&pool->lock);
            pthread_cond_signal(&pool->done);
            pthread_mutex_unlock(&pool->lock);
        }
    }
}

static void post(struct pool *pool)
{
    atomic_store(&pool->pending, pool->started);
    atomic_fetch_add(&pool->job, 1);
    if (atomic_load(&pool->sleepers) == 0)
        return;
    pthread_mutex_lock(&pool->lock);
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
}

static void wait_for_all(struct pool *pool, uint64_t before)
{
    if (another(pool, &pool->finished, before))
        return;
    pthread_mutex_lock(&pool->lock);
    atomic_store(&pool->caller_sleeps, true);
    while (atomic_load(&pool->finished) == before)
        pthread_cond_wait(&pool->done, &pool->lock);
    atomic_store(&pool->caller_sleeps, false);
    pthread_mutex_unlock(&pool->lock);
}

void pool_run(struct pool *pool, void (*fn)(void *arg, int part, int parts), void *arg)
{
    if (pool->threads == 1) {
        fn(arg, 0, 1);
        return;
    }
    pool->fn = fn;
    pool->arg = arg;
    uint64_t before = atomic_load(&pool->finished);
    post(pool);
    fn(arg, 0, pool->threads);
    wait_for_all(pool, before);
}

struct pool *pool_open(int threads, int first_cpu, struct err *err)
{
    if (threads < 1 || threads > 4096) {
        err_set(err, ERR_INPUT, "a device has %d threads, expected 1 to 4096", threads);
        return NULL;
    }
    struct pool *pool = calloc(1, sizeof(*pool));
    struct worker *workers = calloc((size_t)threads, sizeof(*workers));
    if (!pool || !workers) {
        free(pool);
        free(workers);
        err_set(err, ERR_ENV, "no memory for %d threads", threads);
        return NULL;
    }
    allowed_once();
    *pool = (struct pool){.threads = threads, .first_cpu = first_cpu, .workers = workers};
    /* Awake threads must not keep each other, or other ranks, from a CPU. */
    pool->awake = first_cpu >= 0 && first_cpu + threads <= CPU_COUNT(&allowed);
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->wake, NULL);
    pthread_cond_init(&pool->done, NULL);
    for (int part = 1; part < threads; part++) {
        struct worker *worker = &workers[part - 1];
        *worker = (struct worker){.pool = pool, .part = part};
        int rc = pthread_create(&worker->id, NULL, work, worker);
        if (rc != 0) {
            err_set(err, ERR_ENV, "thread %d of %d did not start: %s", part + 1, threads,
                    strerror(rc));
            pool_close(pool);
            return NULL;
        }
        pool->started++;
    }
    pin(first_cpu, 0);
    return pool;
}

void pool_close(struct pool *pool)
{
    if (!pool)
        return;
    pool->stop = true;
    post(pool);
    for (int i = 0; i < pool->started; i++)
        pthread_join(pool->workers[i].id, NULL);
    if (pool->first_cpu >= 0 && CPU_COUNT(&allowed) > 0)
        pthread_setaffinity_np(pthread_self(), sizeof(allowed), &allowed);
    pthread_mutex_destroy(&pool->lock);
    pthread_cond_destroy(&pool->wake);
    pthread_cond_destroy(&pool->done);
    free(pool->workers);
    free(pool);
}

int pool_threads(const struct pool *pool)
{
    return pool->threads;
}
