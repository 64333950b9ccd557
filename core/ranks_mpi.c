/*
 * Waiting is a loop of MPI_Test that first gives the CPU away and then sleeps, a little longer each
 * time: a rank that waits for a measurement on another must not slow it down, and MPI's own waits spin.
 */
#include "core/ranks.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <mpi.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/pulse.h"
#include "core/ranks_watch.h"

#define YIELD_NS    30000 /* give the CPU away for so long, then sleep */
#define SLEEP_NS    20000 /* the first sleep; each is half as long again */
#define MOST_SLEEP  500000
#define CHUNK_BYTES (1 << 30) /* MPI counts are int */
#define GATHER_TAG  0

struct ranks {
    int rank, count;
    MPI_Comm world;     /* collectives */
    MPI_Comm direct;    /* messages between two ranks, and gather */
    struct host *hosts; /* by rank */
    int n_hosts;
    struct ranks_watch *watch;
};

struct host {
    int first, index; /* its first rank; hosts before it */
    char name[64];
};

static void wait_for(MPI_Request *request)
{
    int done = 0;
    int64_t sleep_ns = SLEEP_NS;
    int64_t start_ns = clock_now_ns();
    MPI_Test(request, &done, MPI_STATUS_IGNORE);
    while (!done) {
        if (clock_now_ns() - start_ns < YIELD_NS) {
            sched_yield();
        } else {
            clock_sleep_ns(sleep_ns);
            sleep_ns = sleep_ns * 3 / 2 < MOST_SLEEP ? sleep_ns * 3 / 2 : MOST_SLEEP;
        }
        MPI_Test(request, &done, MPI_STATUS_IGNORE);
    }
}

/* NOLINTBEGIN(clang-analyzer-optin.mpi.MPI-Checker): wait_for waits, but the checker looks for MPI_Wait */

static void find_hosts(struct ranks *ranks)
{
    MPI_Comm host;
    struct host mine = {.first = ranks->rank};
    MPI_Comm_split_type(ranks->world, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &host);
    MPI_Bcast(&mine.first, 1, MPI_INT, 0, host);
    MPI_Comm_free(&host);
    gethostname(mine.name, sizeof mine.name - 1);
    ranks->hosts = calloc((size_t)ranks->count, sizeof *ranks->hosts);
    if (ranks->hosts == NULL)
        abort();
    MPI_Allgather(&mine, sizeof mine, MPI_BYTE, ranks->hosts, sizeof mine, MPI_BYTE, ranks->world);
    for (int r = 0; r < ranks->count; r++)
        ranks->hosts[r].index = ranks->hosts[r].first == r
                                        ? ranks->n_hosts++
                                        : ranks->hosts[ranks->hosts[r].first].index;
}

/* Where a launcher of the user's started the ranks, rank 0 is who watches. */
static bool watch_each_other(struct ranks *ranks, struct err *err)
{
    char address[PULSE_ADDRESS] = "";
    if (ranks->watch != NULL || ranks->count == 1)
        return true;
    bool ok = true;
    if (ranks->rank == 0)
        ok = (ranks->watch = ranks_watch_lead(ranks->count, address, err)) != NULL;
    MPI_Bcast(address, sizeof address, MPI_BYTE, 0, ranks->world);
    if (ranks->rank != 0 && address[0] != '\0')
        ok = (ranks->watch = ranks_watch_follow(address, ranks->rank, err)) != NULL;
    return ok;
}

struct ranks *ranks_open(int *argc, char ***argv, struct err *err)
{
    struct ranks *ranks = calloc(1, sizeof *ranks);
    if (ranks == NULL) {
        err_set(err, ERR_ENV, "not enough memory to start");
        return NULL;
    }
    ranks->count = 1;
    if (!ranks_launched())
        return ranks;
    /* Before MPI: start-up is a phase like any other. */
    ranks->watch = ranks_watch_join(err);
    int level = MPI_THREAD_SINGLE;
    if (err->kind == ERR_NONE)
        MPI_Init_thread(argc, argv, MPI_THREAD_FUNNELED, &level);
    if (err->kind == ERR_NONE && level < MPI_THREAD_FUNNELED) {
        err_set(err, ERR_ENV, "this MPI library cannot be used by a program with threads");
        MPI_Finalize();
    }
    if (err->kind != ERR_NONE) {
        ranks_watch_leave(ranks->watch, true);
        free(ranks);
        return NULL;
    }
    MPI_Comm_dup(MPI_COMM_WORLD, &ranks->world);
    MPI_Comm_dup(MPI_COMM_WORLD, &ranks->direct);
    MPI_Comm_rank(ranks->world, &ranks->rank);
    MPI_Comm_size(ranks->world, &ranks->count);
    find_hosts(ranks);
    if (!ranks_agree(ranks, watch_each_other(ranks, err), err)) {
        ranks_close(ranks);
        return NULL;
    }
    return ranks;
}

/* Started by a launcher, even if as one rank. */
static bool has_mpi(const struct ranks *ranks)
{
    int begun = 0;
    MPI_Initialized(&begun);
    return ranks->count > 1 || begun;
}

void ranks_close(struct ranks *ranks)
{
    if (ranks == NULL)
        return;
    if (has_mpi(ranks)) {
        ranks_barrier(ranks); /* MPI_Finalize may spin while it waits for the slowest */
        if (ranks->rank != 0 && ranks_watch_by_rank(ranks->watch)) {
            ranks_watch_leave(ranks->watch, false);
            ranks->watch = NULL;
        }
        ranks_barrier(ranks); /* the watching rank goes last */
        MPI_Comm_free(&ranks->world);
        MPI_Comm_free(&ranks->direct);
        MPI_Finalize();
    }
    ranks_watch_leave(ranks->watch, false);
    free(ranks->hosts);
    free(ranks);
}

int ranks_rank(const struct ranks *ranks)
{
    return ranks->rank;
}

int ranks_count(const struct ranks *ranks)
{
    return ranks->count;
}

int ranks_host(const struct ranks *ranks, int rank)
{
    return ranks->hosts != NULL ? ranks->hosts[rank].index : 0;
}

int ranks_hosts(const struct ranks *ranks)
{
    return ranks->hosts != NULL ? ranks->n_hosts : 1;
}

const char *ranks_host_name(const struct ranks *ranks, int rank)
{
    return ranks->hosts != NULL ? ranks->hosts[rank].name : "this host";
}

void ranks_phase(struct ranks *ranks, const char *phase)
{
    ranks_watch_phase(ranks->watch, phase);
}

void ranks_barrier(struct ranks *ranks)
{
    if (ranks->count == 1)
        return;
    MPI_Request request;
    MPI_Ibarrier(ranks->world, &request);
    wait_for(&request);
}

static int chunk(int64_t left)
{
    return left < CHUNK_BYTES ? (int)left : CHUNK_BYTES;
}

void ranks_broadcast(struct ranks *ranks, void *data, int64_t bytes, int root)
{
    if (ranks->count == 1)
        return;
    for (int64_t at = 0; at < bytes; at += CHUNK_BYTES) {
        MPI_Request request;
        MPI_Ibcast((char *)data + at, chunk(bytes - at), MPI_BYTE, root, ranks->world, &request);
        wait_for(&request);
    }
}

static void send_on(struct ranks *ranks, const void *data, int64_t bytes, int to, int tag)
{
    int64_t at = 0;
    do { /* an empty message is a message too */
        MPI_Request request;
        MPI_Isend((const char *)data + at, chunk(bytes - at), MPI_BYTE, to, tag, ranks->direct,
                &request);
        wait_for(&request);
        at += CHUNK_BYTES;
    } while (at < bytes);
}

static void recv_on(struct ranks *ranks, void *data, int64_t bytes, int from, int tag)
{
    int64_t at = 0;
    do {
        MPI_Request request;
        MPI_Irecv(
                (char *)data + at, chunk(bytes - at), MPI_BYTE, from, tag, ranks->direct, &request);
        wait_for(&request);
        at += CHUNK_BYTES;
    } while (at < bytes);
}

/* Tags of callers are moved up by one; the lowest belongs to gather. */
void ranks_send(struct ranks *ranks, const void *data, int64_t bytes, int to, int tag)
{
    send_on(ranks, data, bytes, to, tag + 1);
}

void ranks_recv(struct ranks *ranks, void *data, int64_t bytes, int from, int tag)
{
    recv_on(ranks, data, bytes, from, tag + 1);
}

void ranks_gather(struct ranks *ranks, const void *data, int64_t bytes, void *out, int root)
{
    if (ranks->rank != root) {
        send_on(ranks, data, bytes, root, GATHER_TAG);
        return;
    }
    for (int i = 0; i < ranks->count; i++) {
        char *to = (char *)out + i * bytes;
        if (i != root)
            recv_on(ranks, to, bytes, i, GATHER_TAG);
        else if (bytes > 0)
            memmove(to, data, (size_t)bytes);
    }
}

double ranks_max(struct ranks *ranks, double value)
{
    if (ranks->count == 1)
        return value;
    double most = value;
    MPI_Request request;
    MPI_Iallreduce(&value, &most, 1, MPI_DOUBLE, MPI_MAX, ranks->world, &request);
    wait_for(&request);
    return most;
}

bool ranks_agree(struct ranks *ranks, bool ok, struct err *err)
{
    if (ranks->count == 1)
        return ok;
    int mine = ok ? ranks->count : ranks->rank, first = mine;
    MPI_Request request;
    MPI_Iallreduce(&mine, &first, 1, MPI_INT, MPI_MIN, ranks->world, &request);
    wait_for(&request);
    if (first == ranks->count)
        return true;
    struct err found = *err;
    if (first == ranks->rank && found.kind == ERR_NONE)
        err_set(&found, ERR_BUG, "failed without saying why");
    if (first == ranks->rank && (first > 0 || ranks_hosts(ranks) > 1))
        err_context(&found, "rank %d on %s", first, ranks_host_name(ranks, first));
    ranks_broadcast(ranks, &found, sizeof found, first);
    *err = found;
    return false;
}

/* NOLINTEND(clang-analyzer-optin.mpi.MPI-Checker) */

void ranks_abort(struct ranks *ranks, int status)
{
    fflush(NULL);
    if (ranks != NULL)
        ranks_watch_leave(ranks->watch, true);
    if (ranks != NULL && has_mpi(ranks))
        MPI_Abort(MPI_COMM_WORLD, status);
    exit(status);
}

const char *ranks_mpi_version(void)
{
    static char version[MPI_MAX_LIBRARY_VERSION_STRING];
    int len = 0;
    MPI_Get_library_version(version, &len);
    /* "Open MPI v4.1.4, package: ..." and "MPICH Version:\t4.0.2\nMPICH Release date: ..." */
    version[strcspn(version, ",\n")] = '\0';
    for (char *p = version; *p != '\0'; p++) {
        if (*p == '\t')
            *p = ' ';
    }
    return version;
}
