/*
 * Groups over MPI. Its calls return an error only when its default handler, which ends the job, was
 * replaced; so there is nothing to check after each.
 */
#include <assert.h>
#include <limits.h>
#include <mpi.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/coll_impl.h"

/* Requests in flight: a pipeline has one per stage and neighbour. */
#define MAX_REQUESTS 256

struct mpi {
    struct coll coll;
    MPI_Comm comm;
    float *temporary;
    int64_t temporary_count;
    int *counts; /* size * 4: send and receive counts and offsets */
    MPI_Request requests[MAX_REQUESTS];
};

static struct mpi *self(struct coll *coll)
{
    return (struct mpi *)coll;
}

static int count_of(int64_t bytes)
{
    assert(bytes >= 0 && bytes <= INT_MAX && "one message is less than 2 GiB");
    return (int)bytes;
}

static void mpi_close(struct coll *coll)
{
    struct mpi *mpi = self(coll);
    if (mpi->comm != MPI_COMM_NULL)
        MPI_Comm_free(&mpi->comm);
    free(mpi->temporary);
    free(mpi->counts);
    free(mpi);
}

static void mpi_barrier(struct coll *coll)
{
    MPI_Barrier(self(coll)->comm);
}

static float *temporary(struct mpi *mpi, int64_t count)
{
    if (count > mpi->temporary_count) {
        free(mpi->temporary);
        mpi->temporary = malloc(sizeof(float) * (size_t)count);
        if (!mpi->temporary)
            abort();
        mpi->temporary_count = count;
    }
    return mpi->temporary;
}

/* Recursive doubling: after step s every rank has the sum of its 2^(s+1) neighbours, added as a tree. */
static void tree_all_reduce(struct mpi *mpi, float *data, int64_t count)
{
    float *other = temporary(mpi, count);
    for (int bit = 1; bit < mpi->coll.size; bit *= 2) {
        int partner = mpi->coll.rank ^ bit;
        MPI_Sendrecv(data, count_of(count * 4), MPI_BYTE, partner, bit, other, count_of(count * 4),
                MPI_BYTE, partner, bit, mpi->comm, MPI_STATUS_IGNORE);
        for (int64_t i = 0; i < count; i++)
            data[i] += other[i];
    }
}

static void mpi_all_reduce(struct coll *coll, float *data, int64_t count)
{
    bool power = (coll->size & (coll->size - 1)) == 0;
    if (coll->deterministic && power)
        tree_all_reduce(self(coll), data, count);
    else
        MPI_Allreduce(MPI_IN_PLACE, data, count_of(count), MPI_FLOAT, MPI_SUM, self(coll)->comm);
}

static void mpi_all_gather(struct coll *coll, const void *in, void *out, int64_t bytes)
{
    MPI_Allgather(in, count_of(bytes), MPI_BYTE, out, count_of(bytes), MPI_BYTE, self(coll)->comm);
}

static void mpi_reduce_scatter(struct coll *coll, const float *in, float *out, int64_t count)
{
    MPI_Reduce_scatter_block(in, out, count_of(count), MPI_FLOAT, MPI_SUM, self(coll)->comm);
}

static void mpi_broadcast(struct coll *coll, void *data, int64_t bytes, int root)
{
    MPI_Bcast(data, count_of(bytes), MPI_BYTE, root, self(coll)->comm);
}

static void mpi_all_to_all(struct coll *coll, const void *in, const int64_t *send_bytes, void *out,
        const int64_t *recv_bytes)
{
    int n = coll->size, *sends = self(coll)->counts;
    int *send_at = sends + n, *recvs = sends + 2 * n, *recv_at = sends + 3 * n;
    int64_t sent = 0, received = 0;
    for (int i = 0; i < n; i++) {
        sends[i] = count_of(send_bytes[i]);
        send_at[i] = count_of(sent);
        sent += send_bytes[i];
        recvs[i] = count_of(recv_bytes[i]);
        recv_at[i] = count_of(received);
        received += recv_bytes[i];
    }
    MPI_Alltoallv(in, sends, send_at, MPI_BYTE, out, recvs, recv_at, MPI_BYTE, self(coll)->comm);
}

static void mpi_send(struct coll *coll, const void *data, int64_t bytes, int to, int tag)
{
    MPI_Send(data, count_of(bytes), MPI_BYTE, to, tag, self(coll)->comm);
}

static void mpi_recv(struct coll *coll, void *data, int64_t bytes, int from, int tag)
{
    MPI_Recv(data, count_of(bytes), MPI_BYTE, from, tag, self(coll)->comm, MPI_STATUS_IGNORE);
}

static void mpi_isend(struct coll *coll, const void *data, int64_t bytes, int to, int tag,
        struct coll_request *request)
{
    MPI_Request *slot = self(coll)->requests;
    while (slot < self(coll)->requests + MAX_REQUESTS && *slot != MPI_REQUEST_NULL)
        slot++;
    if (slot == self(coll)->requests + MAX_REQUESTS) {
        mpi_send(coll, data, bytes, to, tag);
        request->handle = NULL;
        return;
    }
    MPI_Isend(data, count_of(bytes), MPI_BYTE, to, tag, self(coll)->comm, slot);
    request->handle = slot;
}

static bool mpi_test(struct coll *coll, struct coll_request *request)
{
    int done = 0;
    (void)coll;
    MPI_Test(request->handle, &done, MPI_STATUS_IGNORE);
    if (done)
        request->handle = NULL;
    return done;
}

static void mpi_wait(struct coll *coll, struct coll_request *request)
{
    (void)coll;
    MPI_Wait(request->handle, MPI_STATUS_IGNORE);
    request->handle = NULL;
}

static bool mpi_probe(struct coll *coll, int from, int tag)
{
    int there = 0;
    MPI_Iprobe(from, tag, self(coll)->comm, &there, MPI_STATUS_IGNORE);
    return there;
}

static const struct coll_ops mpi_ops = {
        .close = mpi_close,
        .barrier = mpi_barrier,
        .all_reduce = mpi_all_reduce,
        .all_gather = mpi_all_gather,
        .reduce_scatter = mpi_reduce_scatter,
        .broadcast = mpi_broadcast,
        .all_to_all = mpi_all_to_all,
        .send = mpi_send,
        .recv = mpi_recv,
        .isend = mpi_isend,
        .test = mpi_test,
        .wait = mpi_wait,
        .probe = mpi_probe,
};

static bool members_check(const int *members, int n, struct err *err)
{
    int started = 0, world = 0;
    MPI_Initialized(&started);
    if (!started)
        return err_set(err, ERR_ENV,
                "a group of %d ranks was asked for in a process that no MPI launcher started", n);
    MPI_Comm_size(MPI_COMM_WORLD, &world);
    for (int i = 0; i < n; i++)
        if (members[i] < 0 || members[i] >= world)
            return err_set(
                    err, ERR_BUG, "rank %d in a group of a job of %d ranks", members[i], world);
    return true;
}

struct coll *coll_mpi_open(const int *members, int n, int key, bool deterministic, struct err *err)
{
    if (!members_check(members, n, err))
        return NULL;
    struct mpi *mpi = calloc(1, sizeof(*mpi));
    int *counts = calloc((size_t)n * 4, sizeof(*counts));
    if (!mpi || !counts) {
        free(mpi);
        free(counts);
        err_set(err, ERR_ENV, "no memory for a group of %d ranks", n);
        return NULL;
    }
    MPI_Group world, group;
    MPI_Comm_group(MPI_COMM_WORLD, &world);
    MPI_Group_incl(world, n, members, &group);
    *mpi = (struct mpi){.coll = {&mpi_ops, n, 0, deterministic}, .counts = counts};
    MPI_Comm_create_group(MPI_COMM_WORLD, group, key, &mpi->comm);
    MPI_Group_free(&group);
    MPI_Group_free(&world);
    MPI_Comm_rank(mpi->comm, &mpi->coll.rank);
    for (int i = 0; i < MAX_REQUESTS; i++)
        mpi->requests[i] = MPI_REQUEST_NULL;
    return &mpi->coll;
}
