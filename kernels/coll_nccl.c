/*
 * The library is opened by name at run time, so that one program serves machines with and without it;
 * its header says how to call it. Calls on a non-blocking communicator may return ncclInProgress: `settle`
 * waits for that state to pass before the next call, as NCCL asks for.
 */
#include "kernels/coll_nccl.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <nccl.h>

#include "core/clock.h"
#include "kernels/coll_impl.h"

#define FUNCTIONS(NAME)      \
    NAME(AllGather)          \
    NAME(AllReduce)          \
    NAME(Broadcast)          \
    NAME(CommAbort)          \
    NAME(CommDestroy)        \
    NAME(CommFinalize)       \
    NAME(CommGetAsyncError)  \
    NAME(CommInitRankConfig) \
    NAME(GetErrorString)     \
    NAME(GetUniqueId)        \
    NAME(GetVersion)         \
    NAME(GroupEnd)           \
    NAME(GroupStart)         \
    NAME(Recv)               \
    NAME(ReduceScatter)      \
    NAME(Send)

static struct {
/* NOLINTNEXTLINE(bugprone-macro-parentheses): the name that is declared */
#define MEMBER(name) __typeof__(nccl##name) *name;
    FUNCTIONS(MEMBER)
#undef MEMBER
} nccl;

static pthread_once_t once = PTHREAD_ONCE_INIT;
static char missing[256];

static void load(void)
{
    const char *asked = getenv("SHARDWRIGHT_NCCL_LIBRARY");
    void *handle = dlopen(asked == NULL ? "libnccl.so.2" : asked, RTLD_NOW | RTLD_LOCAL);
    if (handle == NULL && asked == NULL)
        handle = dlopen("librccl.so.1", RTLD_NOW | RTLD_LOCAL); /* AMD's, with NCCL's functions */
    if (handle == NULL) {
        snprintf(missing, sizeof missing,
                "libnccl.so.2 was not found: install NCCL (libnccl2), or name the file in "
                "SHARDWRIGHT_NCCL_LIBRARY");
        return;
    }
    void *found = NULL;
#define FIND(name)                                                         \
    found = dlsym(handle, "nccl" #name);                                   \
    if (found == NULL) {                                                   \
        snprintf(missing, sizeof missing,                                  \
                "libnccl.so.2 lacks nccl" #name ": expected NCCL 2.14 or " \
                "newer");                                                  \
        return;                                                            \
    }                                                                      \
    memcpy(&nccl.name, &found, sizeof found);
    FUNCTIONS(FIND)
#undef FIND
}

static bool loaded(struct err *err)
{
    pthread_once(&once, load);
    return missing[0] == '\0' || err_set(err, ERR_ENV, "%s", missing);
}

struct group {
    struct coll coll; /* first */
    ncclComm_t comm;
    struct coll_nccl_stream stream;
    double timeout_s;
    struct err failure;   /* the first one */
    struct dev_cuda *dev; /* owns stream.scratch; NULL when the caller does */
};

static struct group *group_of(struct coll *coll)
{
    return (struct group *)coll;
}

static void give_up(struct group *g)
{
    if (g->comm != NULL)
        nccl.CommAbort(g->comm);
    g->comm = NULL;
}

static void fail(struct group *g, const char *what, ncclResult_t result)
{
    err_set(&g->failure, ERR_ENV, "NCCL, rank %d of %d: %s: %s", g->coll.rank, g->coll.size, what,
            nccl.GetErrorString(result));
    give_up(g);
}

static bool late(struct group *g, int64_t start_ns, const char *what)
{
    if ((double)(clock_now_ns() - start_ns) < g->timeout_s * 1e9)
        return false;
    err_set(&g->failure, ERR_ENV,
            "NCCL, rank %d of %d: %s took longer than %g s: another rank is gone or cut off",
            g->coll.rank, g->coll.size, what, g->timeout_s);
    give_up(g);
    return true;
}

/* Waits until the call before has been taken. */
static bool settle(struct group *g, const char *what, ncclResult_t result)
{
    int64_t start_ns = clock_now_ns();
    while (result == ncclInProgress && g->comm != NULL) {
        ncclResult_t asked = nccl.CommGetAsyncError(g->comm, &result);
        if (asked != ncclSuccess)
            result = asked;
        if (result == ncclInProgress && !late(g, start_ns, what))
            clock_sleep_ns(20000);
    }
    if (g->comm == NULL)
        return false;
    if (result != ncclSuccess)
        fail(g, what, result);
    return result == ncclSuccess;
}

/* Waits for the stream, watching for errors of the other members. */
static void drain(struct group *g)
{
    int64_t start_ns = clock_now_ns();
    bool idle = false;
    while (g->comm != NULL && !idle) {
        ncclResult_t state = ncclSuccess;
        if (!g->stream.poll(g->stream.self, &idle, &g->failure)) {
            give_up(g);
            return;
        }
        if (idle)
            return;
        ncclResult_t asked = nccl.CommGetAsyncError(g->comm, &state);
        if (asked != ncclSuccess || (state != ncclSuccess && state != ncclInProgress))
            fail(g, "waiting", asked != ncclSuccess ? asked : state);
        else if (!late(g, start_ns, "waiting"))
            clock_sleep_ns(10000);
    }
}

static bool usable(const struct group *g)
{
    return g->comm != NULL;
}

static cudaStream_t stream_of(const struct group *g)
{
    return (cudaStream_t)g->stream.stream;
}

static void close_group(struct coll *coll)
{
    struct group *g = group_of(coll);
    if (usable(g)) {
        drain(g);
        if (usable(g) && settle(g, "closing", nccl.CommFinalize(g->comm)))
            nccl.CommDestroy(g->comm);
    }
    if (g->dev != NULL)
        dev_cuda_free(g->dev, g->stream.scratch);
    free(g);
}

static void all_reduce(struct coll *coll, float *data, int64_t count)
{
    struct group *g = group_of(coll);
    if (usable(g))
        settle(g, "all_reduce",
                nccl.AllReduce(
                        data, data, (size_t)count, ncclFloat32, ncclSum, g->comm, stream_of(g)));
}

static void all_gather(struct coll *coll, const void *in, void *out, int64_t bytes)
{
    struct group *g = group_of(coll);
    if (usable(g))
        settle(g, "all_gather",
                nccl.AllGather(in, out, (size_t)bytes, ncclInt8, g->comm, stream_of(g)));
}

static void reduce_scatter(struct coll *coll, const float *in, float *out, int64_t count)
{
    struct group *g = group_of(coll);
    if (usable(g))
        settle(g, "reduce_scatter",
                nccl.ReduceScatter(
                        in, out, (size_t)count, ncclFloat32, ncclSum, g->comm, stream_of(g)));
}

static void broadcast(struct coll *coll, void *data, int64_t bytes, int root)
{
    struct group *g = group_of(coll);
    if (usable(g))
        settle(g, "broadcast",
                nccl.Broadcast(data, data, (size_t)bytes, ncclInt8, root, g->comm, stream_of(g)));
}

/* A pair of messages with each member, in one group so that they cannot wait for each other in a ring. */
static void all_to_all(struct coll *coll, const void *in, const int64_t *send_bytes, void *out,
        const int64_t *recv_bytes)
{
    struct group *g = group_of(coll);
    if (!usable(g) || !settle(g, "all_to_all", nccl.GroupStart()))
        return;
    const char *from = in;
    char *to = out;
    ncclResult_t result = ncclSuccess;
    for (int i = 0; i < coll->size; i++) {
        if (send_bytes[i] > 0 && (result == ncclSuccess || result == ncclInProgress))
            result = nccl.Send(from, (size_t)send_bytes[i], ncclInt8, i, g->comm, stream_of(g));
        if (recv_bytes[i] > 0 && (result == ncclSuccess || result == ncclInProgress))
            result = nccl.Recv(to, (size_t)recv_bytes[i], ncclInt8, i, g->comm, stream_of(g));
        from += send_bytes[i];
        to += recv_bytes[i];
    }
    ncclResult_t ended = nccl.GroupEnd();
    bool broken = result != ncclSuccess && result != ncclInProgress;
    settle(g, "all_to_all", broken ? result : ended);
}

/* NCCL has no barrier: a sum of one element needs every member. */
static void barrier(struct coll *coll)
{
    struct group *g = group_of(coll);
    all_reduce(coll, g->stream.scratch, 1);
    drain(g);
}

static void send_message(struct coll *coll, const void *data, int64_t bytes, int to, int tag)
{
    (void)tag;
    struct group *g = group_of(coll);
    if (usable(g))
        settle(g, "send", nccl.Send(data, (size_t)bytes, ncclInt8, to, g->comm, stream_of(g)));
}

static void recv_message(struct coll *coll, void *data, int64_t bytes, int from, int tag)
{
    (void)tag;
    struct group *g = group_of(coll);
    if (usable(g))
        settle(g, "recv", nccl.Recv(data, (size_t)bytes, ncclInt8, from, g->comm, stream_of(g)));
}

static void isend(struct coll *coll, const void *data, int64_t bytes, int to, int tag,
        struct coll_request *request)
{
    send_message(coll, data, bytes, to, tag);
    request->handle = coll; /* free when the stream has passed it */
}

static bool test_request(struct coll *coll, struct coll_request *request)
{
    struct group *g = group_of(coll);
    bool idle = true;
    if (usable(g) && !g->stream.poll(g->stream.self, &idle, &g->failure)) {
        give_up(g);
        idle = true;
    }
    if (idle)
        request->handle = NULL;
    return idle;
}

static void wait_request(struct coll *coll, struct coll_request *request)
{
    drain(group_of(coll));
    request->handle = NULL;
}

static bool probe(struct coll *coll, int from, int tag)
{
    (void)coll;
    (void)from;
    (void)tag;
    return true;
}

static const struct coll_ops nccl_ops = {
        .close = close_group,
        .barrier = barrier,
        .all_reduce = all_reduce,
        .all_gather = all_gather,
        .reduce_scatter = reduce_scatter,
        .broadcast = broadcast,
        .all_to_all = all_to_all,
        .send = send_message,
        .recv = recv_message,
        .isend = isend,
        .test = test_request,
        .wait = wait_request,
        .probe = probe,
};

bool coll_nccl_id(unsigned char id[COLL_NCCL_ID_BYTES], struct err *err)
{
    _Static_assert(sizeof(ncclUniqueId) == COLL_NCCL_ID_BYTES, "NCCL's id has the size we send");
    if (!loaded(err))
        return false;
    ncclUniqueId unique;
    ncclResult_t result = nccl.GetUniqueId(&unique);
    if (result != ncclSuccess)
        return err_set(err, ERR_ENV, "NCCL: drawing an id: %s", nccl.GetErrorString(result));
    memcpy(id, &unique, COLL_NCCL_ID_BYTES);
    return true;
}

const char *coll_nccl_version(void)
{
    static char text[32];
    struct err err = {0};
    int version = 0;
    if (!loaded(&err) || nccl.GetVersion(&version) != ncclSuccess)
        return NULL;
    snprintf(text, sizeof text, "%d.%d.%d", version / 10000, version / 100 % 100, version % 100);
    return text;
}

static bool join(struct group *g, const struct coll_nccl_group *group)
{
    ncclUniqueId unique;
    memcpy(&unique, group->id, sizeof unique);
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    ncclResult_t result = nccl.CommInitRankConfig(&g->comm, group->n, unique, group->rank, &config);
    if (g->comm == NULL && result != ncclSuccess) {
        fail(g, "joining", result);
        return false;
    }
    return settle(g, "joining", result);
}

struct coll *coll_nccl_open_on(
        const struct coll_nccl_stream *stream, const struct coll_nccl_group *group, struct err *err)
{
    if (!loaded(err))
        return NULL;
    struct group *g = calloc(1, sizeof *g);
    if (g == NULL) {
        err_set(err, ERR_ENV, "not enough memory");
        return NULL;
    }
    g->coll = (struct coll){.ops = &nccl_ops, .size = group->n, .rank = group->rank};
    g->stream = *stream;
    g->timeout_s = group->timeout_s;
    if (join(g, group))
        return &g->coll;
    *err = g->failure;
    free(g);
    return NULL;
}

static bool poll_device(void *self, bool *idle, struct err *err)
{
    return dev_cuda_poll(self, idle, err);
}

struct coll *coll_nccl_open(
        struct dev_cuda *dev, const struct coll_nccl_group *group, struct err *err)
{
    float *scratch = dev_cuda_alloc(dev, sizeof *scratch, err);
    if (scratch == NULL)
        return NULL;
    struct coll_nccl_stream stream = {dev_cuda_stream(dev), dev, scratch, poll_device};
    struct coll *coll = coll_nccl_open_on(&stream, group, err);
    if (coll == NULL)
        dev_cuda_free(dev, scratch);
    else
        group_of(coll)->dev = dev;
    return coll;
}

bool coll_nccl_check(struct coll *coll, struct err *err)
{
    struct group *g = group_of(coll);
    ncclResult_t state = ncclSuccess;
    if (usable(g)) {
        ncclResult_t asked = nccl.CommGetAsyncError(g->comm, &state);
        if (asked != ncclSuccess || (state != ncclSuccess && state != ncclInProgress))
            fail(g, "checking", asked != ncclSuccess ? asked : state);
    }
    return usable(g) || err_set(err, g->failure.kind, "%s", g->failure.text);
}

void coll_nccl_abort(struct coll *coll)
{
    struct group *g = group_of(coll);
    err_set(&g->failure, ERR_ENV, "NCCL, rank %d of %d: aborted", coll->rank, coll->size);
    give_up(g);
}
