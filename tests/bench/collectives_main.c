/*
 * Collectives of kernels/coll.h beside bare MPI calls, timed as the OSU micro-benchmarks do: warm up, then
 * iterations with a barrier between them, the mean of each rank, the slowest rank counts. The three ways take
 * turns, round by round, so that a machine that drifts hits all alike; medians over rounds.
 *
 * Started by tests/bench/collectives under the MPI launcher. Output, by rank 0: op bytes way us, one a line.
 */
// NOLINTNEXTLINE(bugprone-reserved-identifier): setenv
#define _GNU_SOURCE
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "kernels/coll.h"

enum {
    ROUNDS = 5,
    MOST_RANKS = 64
};

enum way {
    WAY_BARE, /* MPI itself */
    WAY_MPI,  /* coll.h with shared memory turned off */
    WAY_HERE, /* coll.h as it comes: shared memory on one host */
    WAY_COUNT
};
static const char *const way_names[] = {"bare", "mpi", "shm"};

enum kind {
    ALL_REDUCE,
    ALL_GATHER,
    REDUCE_SCATTER,
    ALL_TO_ALL,
    BROADCAST,
    SEND_RECV,
    KIND_COUNT
};
static const char *const kind_names[] = {
        "all_reduce", "all_gather", "reduce_scatter", "all_to_all", "broadcast", "send_recv"};

struct bench {
    int rank, n;
    struct coll *coll[WAY_COUNT]; /* NULL for WAY_BARE */
    char *in, *out;
    int64_t counts[MOST_RANKS];
};

static void run_bare(struct bench *b, enum kind kind, int bytes)
{
    switch (kind) {
    case ALL_REDUCE:
        MPI_Allreduce(MPI_IN_PLACE, b->in, bytes / 4, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
        break;
    case ALL_GATHER:
        MPI_Allgather(b->in, bytes, MPI_BYTE, b->out, bytes, MPI_BYTE, MPI_COMM_WORLD);
        break;
    case REDUCE_SCATTER:
        MPI_Reduce_scatter_block(b->in, b->out, bytes / 4, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
        break;
    case ALL_TO_ALL:
        MPI_Alltoall(b->in, bytes, MPI_BYTE, b->out, bytes, MPI_BYTE, MPI_COMM_WORLD);
        break;
    case BROADCAST:
        MPI_Bcast(b->in, bytes, MPI_BYTE, 0, MPI_COMM_WORLD);
        break;
    case SEND_RECV:
        if (b->rank == 0)
            MPI_Send(b->in, bytes, MPI_BYTE, 1, 0, MPI_COMM_WORLD);
        if (b->rank == 1)
            MPI_Recv(b->out, bytes, MPI_BYTE, 0, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        break;
    case KIND_COUNT:
        break;
    }
}

static void run_ours(struct bench *b, struct coll *coll, enum kind kind, int64_t bytes)
{
    switch (kind) {
    case ALL_REDUCE:
        coll_all_reduce(coll, (float *)(void *)b->in, bytes / 4);
        break;
    case ALL_GATHER:
        coll_all_gather(coll, b->in, b->out, bytes);
        break;
    case REDUCE_SCATTER:
        coll_reduce_scatter(coll, (float *)(void *)b->in, (float *)(void *)b->out, bytes / 4);
        break;
    case ALL_TO_ALL:
        for (int i = 0; i < b->n; i++)
            b->counts[i] = bytes;
        coll_all_to_all(coll, b->in, b->counts, b->out, b->counts);
        break;
    case BROADCAST:
        coll_broadcast(coll, b->in, bytes, 0);
        break;
    case SEND_RECV:
        if (b->rank == 0)
            coll_send(coll, b->in, bytes, 1, 0);
        if (b->rank == 1)
            coll_recv(coll, b->out, bytes, 0, 0);
        break;
    case KIND_COUNT:
        break;
    }
}

/* Microseconds of one operation: the mean over iterations, of the slowest rank. */
static double time_one(struct bench *b, enum way way, enum kind kind, int bytes, int iterations)
{
    double mean = 0, slowest = 0;
    for (int i = -iterations / 10 - 2; i < iterations; i++) {
        int64_t begin_ns = clock_now_ns();
        if (way == WAY_BARE)
            run_bare(b, kind, bytes);
        else
            run_ours(b, b->coll[way], kind, bytes);
        if (i >= 0)
            mean += (double)(clock_now_ns() - begin_ns) * 1e-3 / iterations;
        MPI_Barrier(MPI_COMM_WORLD);
    }
    MPI_Allreduce(&mean, &slowest, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
    return slowest;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void measure(struct bench *b, enum kind kind, int bytes, double budget_us)
{
    double us[WAY_COUNT][ROUNDS];
    double once = time_one(b, WAY_BARE, kind, bytes, 3);
    int iterations = (int)(budget_us / (once * ROUNDS * WAY_COUNT));
    iterations = iterations < 3 ? 3 : iterations > 2000 ? 2000 : iterations;
    MPI_Bcast(&iterations, 1, MPI_INT, 0, MPI_COMM_WORLD);
    for (int r = 0; r < ROUNDS; r++) /* another way begins each time */
        for (int w = 0; w < WAY_COUNT; w++) {
            enum way way = (enum way)((w + r) % WAY_COUNT);
            us[way][r] = time_one(b, way, kind, bytes, iterations);
        }
    for (int w = 0; w < WAY_COUNT; w++) {
        qsort(us[w], ROUNDS, sizeof us[w][0], by_value);
        if (b->rank == 0)
            printf("%s %d %s %.4f\n", kind_names[kind], bytes, way_names[w], us[w][ROUNDS / 2]);
    }
    fflush(stdout);
}

static bool open_ways(struct bench *b, struct err *err)
{
    int members[MOST_RANKS];
    for (int i = 0; i < b->n; i++)
        members[i] = i;
    setenv("SHARDWRIGHT_COLL", "mpi", 1);
    b->coll[WAY_MPI] = coll_open(members, b->n, &(struct coll_options){.key = 1}, err);
    unsetenv("SHARDWRIGHT_COLL");
    b->coll[WAY_HERE] = coll_open(members, b->n, &(struct coll_options){.key = 2}, err);
    return b->coll[WAY_MPI] && b->coll[WAY_HERE];
}

/* usage: bench_collectives MILLISECONDS-PER-SIZE BYTES... */
int main(int argc, char **argv)
{
    struct bench b = {0};
    struct err err = {0};
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &b.rank);
    MPI_Comm_size(MPI_COMM_WORLD, &b.n);
    double budget_us = argc > 1 ? strtod(argv[1], NULL) * 1e3 : 1e5;
    int64_t most = 0;
    for (int i = 2; i < argc; i++)
        most = strtoll(argv[i], NULL, 10) > most ? strtoll(argv[i], NULL, 10) : most;
    b.in = calloc((size_t)b.n, (size_t)most + 64);
    b.out = calloc((size_t)b.n, (size_t)most + 64);
    if (b.n < 2 || b.n > MOST_RANKS || !b.in || !b.out || !open_ways(&b, &err)) {
        fprintf(stderr, "bench_collectives: %s\n",
                err.kind ? err.text : "2 to 64 ranks and memory");
        MPI_Abort(MPI_COMM_WORLD, 3);
        return 3;
    }
    for (int k = 0; k < KIND_COUNT; k++)
        for (int i = 2; i < argc; i++)
            measure(&b, (enum kind)k, (int)strtol(argv[i], NULL, 10), budget_us);
    coll_close(b.coll[WAY_MPI]);
    coll_close(b.coll[WAY_HERE]);
    free(b.in);
    free(b.out);
    MPI_Finalize();
    return 0;
}
