/*
 * ranks - who am I among the processes; barrier, broadcast, gather, agree; and how to start more.
 *
 * ranks_mpi.c when built with MPI and started by its launcher, ranks_single.c otherwise. A program that
 * was not started by the launcher is alone (rank 0 of 1) and never pays MPI start-up.
 */
#ifndef CORE_RANKS_H
#define CORE_RANKS_H

#include <stdint.h>

#include "core/err.h"

struct ranks; /* one per process */

MUST_CHECK struct ranks *ranks_open(int *argc, char ***argv, struct err *err);
void ranks_close(struct ranks *ranks);
int ranks_rank(const struct ranks *ranks);
int ranks_count(const struct ranks *ranks);
/* Hosts are numbered by their first rank. The name is what the machine calls itself. */
int ranks_host(const struct ranks *ranks, int rank);
int ranks_hosts(const struct ranks *ranks);
const char *ranks_host_name(const struct ranks *ranks, int rank);
/* What comes next, for the sentence about a rank that is lost meanwhile: "loading the weights". */
void ranks_phase(struct ranks *ranks, const char *phase);

/* Collective over all ranks. They yield the CPU while waiting, so that idle ranks disturb nobody. */
void ranks_barrier(struct ranks *ranks);
void ranks_broadcast(struct ranks *ranks, void *data, int64_t bytes, int root);
/* out on root: count * bytes, by rank; may be NULL elsewhere. */
void ranks_gather(struct ranks *ranks, const void *data, int64_t bytes, void *out, int root);
double ranks_max(struct ranks *ranks, double value); /* every rank gets it */
/* Point to point for host messages of any size; recv blocks, yielding. */
void ranks_send(struct ranks *ranks, const void *data, int64_t bytes, int to, int tag);
void ranks_recv(struct ranks *ranks, void *data, int64_t bytes, int from, int tag);
/* Every rank calls it after a phase; true when all were ok, else every rank has the first failure, with the
 * rank and its host in front unless that is rank 0 of a job on one host. */
MUST_CHECK bool ranks_agree(struct ranks *ranks, bool ok, struct err *err);
/* Ends every rank at once; for failures between collectives. */
_Noreturn void ranks_abort(struct ranks *ranks, int status);

/* "Open MPI v4.1.4" or "none": the library of this build. Needs no open ranks. */
const char *ranks_mpi_version(void);
/* True when this process was started by an MPI launcher. */
bool ranks_launched(void);
/* Replaces nothing: starts argv as n ranks on this host under the MPI launcher and waits. *status is
 * their exit status (128+n for a signal). With more threads than cores they are told to yield.
 * ERR_ENV with the package to install when there is no launcher, and with one sentence when a rank was
 * killed, stopped or cut off: then the whole job has been ended (core/pulse.h). */
MUST_CHECK bool ranks_launch(int n, char *const argv[], int *status, struct err *err);

/* Where ranks go. Open MPI and MPICH reach hosts by ssh, or inside a Slurm allocation by its own means. */
struct ranks_where {
    bool on_this_host;        /* all of them; the hosts and agent are not looked at */
    int threads;              /* of all ranks together, there; 0 = one for each */
    const char *const *hosts; /* of each rank; NULL = the allocation's, per_node ranks on each */
    int per_node;
    const char *
            agent; /* program that stands in for ssh: AGENT HOST COMMAND...; NULL = the launcher's */
};
MUST_CHECK bool ranks_launch_at(
        const struct ranks_where *where, int n, char *const argv[], int *status, struct err *err);

#endif
