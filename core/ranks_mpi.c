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

#include "core/clock.h"

#define YIELD_NS    30000 /* give the CPU away for so long, then sleep */
#define SLEEP_NS    20000 /* the first sleep; each is half as long again */
#define MOST_SLEEP  500000
#define CHUNK_BYTES (1 << 30) /* MPI counts are int */
#define GATHER_TAG  0

struct ranks {
    int rank, count;
    MPI_Comm world;  /* collectives */
    MPI_Comm direct; /* messages between two ranks, and gather */
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
    int level = MPI_THREAD_SINGLE;
    MPI_Init_thread(argc, argv, MPI_THREAD_FUNNELED, &level);
    if (level < MPI_THREAD_FUNNELED) {
        err_set(err, ERR_ENV, "this MPI library cannot be used by a program with threads");
        MPI_Finalize();
        free(ranks);
        return NULL;
    }
    MPI_Comm_dup(MPI_COMM_WORLD, &ranks->world);
    MPI_Comm_dup(MPI_COMM_WORLD, &ranks->direct);
    MPI_Comm_rank(ranks->world, &ranks->rank);
    MPI_Comm_size(ranks->world, &ranks->count);
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
        MPI_Comm_free(&ranks->world);
        MPI_Comm_free(&ranks->direct);
        MPI_Finalize();
    }
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
        err_set(&found, ERR_BUG, "rank %d failed without saying why", ranks->rank);
    ranks_broadcast(ranks, &found, sizeof found, first);
    *err = found;
    return false;
}

/* NOLINTEND(clang-analyzer-optin.mpi.MPI-Checker) */

void ranks_abort(struct ranks *ranks, int status)
{
    fflush(NULL);
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
