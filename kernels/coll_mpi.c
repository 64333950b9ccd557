/*
 * Groups over MPI, and through shared memory where all ranks are on one host. MPI's calls return an error only when its default handler, which ends the job, was
 * replaced; so there is nothing to check after each.
 */
#include <assert.h>
#include <fcntl.h>
#include <limits.h>
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kernels/coll_impl.h"
#include "kernels/coll_shm.h"

/* What is only copied goes by MPI above this: it copies once, from process to process, we twice
 * (tests/bench/collectives: 64 KiB take half as long). Sums are ours at every size. */
#define SHM_COPY_BYTES (INT64_C(16) << 10)
/* Requests in flight: a pipeline has one per stage and neighbour. */
#define MAX_REQUESTS 256
/* Of the large messages of an all-to-all; callers' tags are smaller (runtime/handover.c), MPI promises 32767. */
#define LARGE_TAG 32001

struct mpi {
    struct coll coll;
    MPI_Comm comm;
    float *temporary;
    int64_t temporary_count;
    int *counts; /* size * 4: send and receive counts and offsets */
    MPI_Request requests[MAX_REQUESTS];
    MPI_Request *large; /* size * 2: messages of an all-to-all */
    struct shm *shm;    /* when all members are on one host and memory could be shared; else NULL */
    void *mapped;
    size_t mapped_bytes;
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
    shm_destroy(mpi->shm);
    if (mpi->mapped)
        munmap(mpi->mapped, mpi->mapped_bytes);
    if (mpi->comm != MPI_COMM_NULL)
        MPI_Comm_free(&mpi->comm);
    free(mpi->temporary);
    free(mpi->counts);
    free(mpi->large);
    free(mpi);
}

static void mpi_barrier(struct coll *coll)
{
    if (self(coll)->shm)
        shm_barrier(self(coll)->shm);
    else
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
    if (self(coll)->shm)
        shm_all_reduce(self(coll)->shm, data, count);
    else if (coll->deterministic && power)
        tree_all_reduce(self(coll), data, count);
    else
        MPI_Allreduce(MPI_IN_PLACE, data, count_of(count), MPI_FLOAT, MPI_SUM, self(coll)->comm);
}

static void mpi_all_gather(struct coll *coll, const void *in, void *out, int64_t bytes)
{
    if (self(coll)->shm && bytes <= SHM_COPY_BYTES)
        shm_all_gather(self(coll)->shm, in, out, bytes);
    else
        MPI_Allgather(
                in, count_of(bytes), MPI_BYTE, out, count_of(bytes), MPI_BYTE, self(coll)->comm);
}

static void mpi_reduce_scatter(struct coll *coll, const float *in, float *out, int64_t count)
{
    if (self(coll)->shm)
        shm_reduce_scatter(self(coll)->shm, in, out, count);
    else
        MPI_Reduce_scatter_block(in, out, count_of(count), MPI_FLOAT, MPI_SUM, self(coll)->comm);
}

static void mpi_broadcast(struct coll *coll, void *data, int64_t bytes, int root)
{
    if (self(coll)->shm && bytes <= SHM_COPY_BYTES)
        shm_broadcast(self(coll)->shm, data, bytes, root);
    else
        MPI_Bcast(data, count_of(bytes), MPI_BYTE, root, self(coll)->comm);
}

/* Messages of an all-to-all that are too large for shared memory: both ends of a pair know its bytes. */
static int start_large(struct mpi *mpi, const void *in, const int64_t *send_bytes, void *out,
        const int64_t *recv_bytes)
{
    int n = 0;
    const char *from = in;
    char *to = out;
    for (int rank = 0; rank < mpi->coll.size; to += recv_bytes[rank++])
        if (rank != mpi->coll.rank && recv_bytes[rank] > SHM_COPY_BYTES)
            MPI_Irecv(to, count_of(recv_bytes[rank]), MPI_BYTE, rank, LARGE_TAG, mpi->comm,
                    &mpi->large[n++]);
    for (int rank = 0; rank < mpi->coll.size; from += send_bytes[rank++])
        if (rank != mpi->coll.rank && send_bytes[rank] > SHM_COPY_BYTES)
            MPI_Isend(from, count_of(send_bytes[rank]), MPI_BYTE, rank, LARGE_TAG, mpi->comm,
                    &mpi->large[n++]);
    return n;
}

static void mpi_all_to_all(struct coll *coll, const void *in, const int64_t *send_bytes, void *out,
        const int64_t *recv_bytes)
{
    if (self(coll)->shm) {
        int n_large = start_large(self(coll), in, send_bytes, out, recv_bytes);
        shm_all_to_all(self(coll)->shm, in, send_bytes, out, recv_bytes, SHM_COPY_BYTES);
        MPI_Waitall(n_large, self(coll)->large, MPI_STATUSES_IGNORE);
        return;
    }
    int n = coll->size, *sends = self(coll)->counts;
    int *send_at = sends + n, *recvs = send_at + n, *recv_at = recvs + n;
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
} // NOLINT(clang-analyzer-optin.mpi.MPI-Checker): who asked for it waits, by mpi_wait

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

/* Launchers say how many there are; a guess from the job otherwise. */
static int host_ranks(void)
{
    static const char *const names[] = {"OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS"};
    int ranks = 0;
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    for (int i = 0; i < 2; i++) {
        const char *here = getenv(names[i]);
        if (here)
            ranks = (int)strtol(here, NULL, 10);
    }
    return ranks;
}

static bool one_host(MPI_Comm comm, int size)
{
    MPI_Comm host;
    int here;
    MPI_Comm_split_type(comm, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &host);
    MPI_Comm_size(host, &here);
    MPI_Comm_free(&host);
    return here == size;
}

static bool everybody(MPI_Comm comm, bool ok)
{
    int all = ok;
    MPI_Allreduce(MPI_IN_PLACE, &all, 1, MPI_INT, MPI_MIN, comm);
    return all;
}

/* Rank 0 makes the memory, the others open it by name, and the name goes before anybody uses it, so that
 * nothing stays behind a job that is killed. Pages are reserved: a full file system is noticed here. */
static void *map_shared(struct mpi *mpi, size_t bytes)
{
    char name[64] = "";
    bool first = mpi->coll.rank == 0;
    int fd = -1;
    void *memory = MAP_FAILED;
    if (first) {
        snprintf(name, sizeof(name), "/shardwright-%ld-%p", (long)getpid(), (void *)mpi);
        fd = shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0600);
        if (fd >= 0 && posix_fallocate(fd, 0, (off_t)bytes) != 0) {
            close(fd);
            fd = -1;
        }
    }
    MPI_Bcast(name, sizeof(name), MPI_BYTE, 0, mpi->comm);
    bool made = everybody(mpi->comm, !first || fd >= 0);
    if (made && !first)
        fd = shm_open(name, O_RDWR, 0);
    if (made && fd >= 0)
        memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    bool mapped = everybody(mpi->comm, memory != MAP_FAILED);
    if (first)
        shm_unlink(name);
    if (fd >= 0)
        close(fd);
    if (!mapped && memory != MAP_FAILED)
        munmap(memory, bytes);
    return mapped ? memory : NULL;
}

/* SHARDWRIGHT_COLL=mpi turns shared memory off, to compare and to test. */
static bool shared_wanted(void)
{
    const char *how = getenv("SHARDWRIGHT_COLL");
    return !how || strcmp(how, "mpi") != 0;
}

/* Leaves shm NULL where memory cannot be shared: then everything goes by MPI. */
static void share(struct mpi *mpi, int host_threads)
{
    struct err ignored = {0};
    bool crowded = coll_crowded(host_threads, host_ranks(), (int)sysconf(_SC_NPROCESSORS_ONLN));
    void *segments[SHM_MAX_RANKS];
    int n = mpi->coll.size;
    bool here = n <= SHM_MAX_RANKS && one_host(mpi->comm, n);
    if (!everybody(mpi->comm, here && shared_wanted()))
        return;
    mpi->mapped_bytes = (size_t)(shm_segment_bytes() * n);
    mpi->mapped = map_shared(mpi, mpi->mapped_bytes);
    if (!mpi->mapped)
        return;
    for (int i = 0; i < n; i++)
        segments[i] = (char *)mpi->mapped + shm_segment_bytes() * i;
    mpi->shm = shm_create(segments, n, mpi->coll.rank, crowded, &ignored);
    if (!everybody(mpi->comm, mpi->shm != NULL)) {
        shm_destroy(mpi->shm);
        mpi->shm = NULL;
    }
}

struct coll *coll_mpi_open(
        const int *members, int n, const struct coll_options *options, struct err *err)
{
    if (!members_check(members, n, err))
        return NULL;
    struct mpi *mpi = calloc(1, sizeof(*mpi));
    int *counts = calloc((size_t)n * 4, sizeof(*counts));
    MPI_Request *large = calloc((size_t)n * 2, sizeof(MPI_Request));
    if (!mpi || !counts || !large) {
        free(mpi);
        free(counts);
        free(large);
        err_set(err, ERR_ENV, "no memory for a group of %d ranks", n);
        return NULL;
    }
    MPI_Group world, group;
    MPI_Comm_group(MPI_COMM_WORLD, &world);
    MPI_Group_incl(world, n, members, &group);
    *mpi = (struct mpi){
            .coll = {&mpi_ops, n, 0, options->deterministic}, .counts = counts, .large = large};
    MPI_Comm_create_group(MPI_COMM_WORLD, group, options->key, &mpi->comm);
    MPI_Group_free(&group);
    MPI_Group_free(&world);
    MPI_Comm_rank(mpi->comm, &mpi->coll.rank);
    for (int i = 0; i < MAX_REQUESTS; i++)
        mpi->requests[i] = MPI_REQUEST_NULL;
    share(mpi, options->host_threads);
    return &mpi->coll;
}
