#include "cli/cli.h"

#include <stdio.h>
#include <unistd.h>

#include "core/log.h"

/* The launcher looks names up in PATH of its own; the program itself is certain. */
static const char *program_path(const char *argv0, struct arena *arena)
{
    enum {
        ROOM = 4096
    };
    char *path = arena_alloc(arena, ROOM);
    ssize_t len = readlink("/proc/self/exe", path, ROOM - 1);
    return len > 0 ? path : argv0;
}

static bool join(struct cli *cli, int n, struct ranks **ranks)
{
    if (!cli->ranks)
        cli->ranks = ranks_open(&cli->full_argc, &cli->full_argv, cli->err);
    if (!cli->ranks)
        return false;
    *ranks = cli->ranks;
    int rank = ranks_rank(cli->ranks);
    if (!cli->quiet)
        log_setup(cli->verbose ? LOG_DEBUG : rank == 0 ? LOG_INFO : LOG_ERROR, rank);
    if (ranks_count(cli->ranks) != n)
        return err_set(cli->err, ERR_INPUT,
                "this job has %d ranks, %d are needed: start the program without the MPI launcher "
                "(it "
                "starts its own ranks), or with -n %d",
                ranks_count(cli->ranks), n, n);
    return true;
}

bool cli_ranks(struct cli *cli, int n, struct ranks **ranks, bool *inside)
{
    *inside = n == 1 || ranks_launched();
    if (*inside)
        return join(cli, n, ranks);

    char **argv = ARENA_NEW(cli->arena, char *, cli->full_argc + 1);
    argv[0] = arena_strdup(cli->arena, program_path(cli->full_argv[0], cli->arena));
    for (int i = 1; i < cli->full_argc; i++)
        argv[i] = cli->full_argv[i];
    /* What this process printed must stand before what the ranks print. */
    fflush(stdout);
    return ranks_launch(n, argv, &cli->status, cli->err);
}
