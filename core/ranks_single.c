/* A build without MPI: every program is alone. */
#include "core/ranks.h"

#include <stdlib.h>
#include <string.h>

struct ranks {
    int unused;
};

struct ranks *ranks_open(int *argc, char ***argv, struct err *err)
{
    (void)argc;
    (void)argv;
    static struct ranks alone;
    if (!ranks_launched())
        return &alone;
    err_set(err, ERR_ENV,
            "started by an MPI launcher, but this build has no MPI: install libopenmpi-dev and "
            "build "
            "again with SHARDWRIGHT_MPI=ON");
    return NULL;
}

void ranks_close(struct ranks *ranks)
{
    (void)ranks;
}

int ranks_rank(const struct ranks *ranks)
{
    (void)ranks;
    return 0;
}

int ranks_count(const struct ranks *ranks)
{
    (void)ranks;
    return 1;
}

int ranks_host(const struct ranks *ranks, int rank)
{
    (void)ranks;
    (void)rank;
    return 0;
}

int ranks_hosts(const struct ranks *ranks)
{
    (void)ranks;
    return 1;
}

const char *ranks_host_name(const struct ranks *ranks, int rank)
{
    (void)ranks;
    (void)rank;
    return "this host";
}

void ranks_phase(struct ranks *ranks, const char *phase)
{
    (void)ranks;
    (void)phase;
}

void ranks_barrier(struct ranks *ranks)
{
    (void)ranks;
}

void ranks_broadcast(struct ranks *ranks, void *data, int64_t bytes, int root)
{
    (void)ranks;
    (void)data;
    (void)bytes;
    (void)root;
}

void ranks_gather(struct ranks *ranks, const void *data, int64_t bytes, void *out, int root)
{
    (void)ranks;
    (void)root;
    if (bytes > 0)
        memcpy(out, data, (size_t)bytes);
}

double ranks_max(struct ranks *ranks, double value)
{
    (void)ranks;
    return value;
}

/* Nobody to talk to: a program that gets here has a bug. */
_Noreturn static void no_peer(void)
{
    abort();
}

void ranks_send(struct ranks *ranks, const void *data, int64_t bytes, int to, int tag)
{
    (void)ranks;
    (void)data;
    (void)bytes;
    (void)to;
    (void)tag;
    no_peer();
}

void ranks_recv(struct ranks *ranks, void *data, int64_t bytes, int from, int tag)
{
    (void)ranks;
    (void)data;
    (void)bytes;
    (void)from;
    (void)tag;
    no_peer();
}

bool ranks_agree(struct ranks *ranks, bool ok, struct err *err)
{
    (void)ranks;
    (void)err;
    return ok;
}

void ranks_abort(struct ranks *ranks, int status)
{
    (void)ranks;
    exit(status);
}

const char *ranks_mpi_version(void)
{
    return "none";
}

bool ranks_launch(int n, char *const argv[], int *status, struct err *err)
{
    return ranks_launch_at(NULL, n, argv, status, err);
}

bool ranks_launch_at(
        const struct ranks_where *where, int n, char *const argv[], int *status, struct err *err)
{
    (void)where;
    (void)argv;
    (void)status;
    return err_set(err, ERR_ENV,
            "%d ranks are needed, but this build has no MPI: install libopenmpi-dev and "
            "openmpi-bin, then build again",
            n);
}
