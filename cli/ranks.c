#include "cli/cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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
    /* Any other may have failed by now, on a file that is not on its host. */
    if (!ranks_agree(cli->ranks, true, cli->err))
        return false;
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

/* "a,b,c" in the arena. */
static const char **split_names(int *n, const char *text, struct arena *arena)
{
    int cap = 1;
    for (const char *p = text; *p; p++)
        cap += *p == ',';
    const char **names = ARENA_NEW(arena, const char *, cap);
    *n = 0;
    while (*text) {
        int len = (int)strcspn(text, ",");
        if (len > 0)
            names[(*n)++] = arena_strndup(arena, text, len);
        text += len + (text[len] == ',');
    }
    return names;
}

static int machine_of(const struct cli_ranks *wanted, int rank)
{
    return wanted->machines ? wanted->machines[rank] : 0;
}

/* Equal numbers of ranks on each machine, in order, as an allocation deals them out. 0 = they are not. */
static int ranks_per_machine(const struct cli_ranks *wanted)
{
    int each = 1;
    while (each < wanted->n && machine_of(wanted, each) == machine_of(wanted, 0))
        each++;
    for (int r = 0; r < wanted->n; r++)
        if (machine_of(wanted, r) != machine_of(wanted, 0) + r / each)
            return 0;
    return wanted->n % each == 0 ? each : 0;
}

static bool in_allocation(void)
{
    return getenv("SLURM_JOB_ID") || getenv("PBS_NODEFILE") || getenv("LSB_HOSTS");
}

static bool find_place(struct ranks_where *out, const struct cli_ranks *wanted, struct cli *cli)
{
    const char *const *names = wanted->hosts;
    int n_names = wanted->n_hosts, most = 0;
    for (int r = 0; r < wanted->n; r++)
        most = machine_of(wanted, r) > most ? machine_of(wanted, r) : most;
    if (wanted->option_hosts)
        names = split_names(&n_names, wanted->option_hosts, cli->arena);
    *out = (struct ranks_where){.agent = wanted->rsh ? wanted->rsh : getenv("SHARDWRIGHT_RSH")};
    if (n_names > most) {
        const char **hosts = ARENA_NEW(cli->arena, const char *, wanted->n);
        for (int r = 0; r < wanted->n; r++)
            hosts[r] = names[machine_of(wanted, r)];
        out->hosts = hosts;
        return true;
    }
    if (n_names > 0)
        return err_set(cli->err, ERR_INPUT,
                "%d machines are needed and --hosts names %d: give one name for each", most + 1,
                n_names);
    if (most == 0) {
        out->on_this_host = true;
        out->threads = wanted->threads;
        return true;
    }
    out->per_node = ranks_per_machine(wanted);
    if (in_allocation() && out->per_node > 0)
        return true;
    return err_set(cli->err, ERR_INPUT,
            "%d machines are needed, and neither the file names their hosts nor is this an "
            "allocation of a job scheduler: give --hosts a,b,... or add hosts: to the nodes of the "
            "cluster file, or start it as srun -n %d (docs/hosts.md)",
            most + 1, wanted->n);
}

bool cli_ranks(struct cli *cli, const struct cli_ranks *wanted, struct ranks **ranks, bool *inside)
{
    struct ranks_where where;

    *inside = ranks_launched();
    if (*inside)
        return join(cli, wanted->n, ranks);
    if (!find_place(&where, wanted, cli))
        return false;
    if (wanted->n == 1 && where.on_this_host) {
        *inside = true;
        return join(cli, 1, ranks);
    }
    char **argv = ARENA_NEW(cli->arena, char *, cli->full_argc + 1);
    argv[0] = arena_strdup(cli->arena, program_path(cli->full_argv[0], cli->arena));
    for (int i = 1; i < cli->full_argc; i++)
        argv[i] = cli->full_argv[i];
    /* What this process printed must stand before what the ranks print. */
    fflush(stdout);
    return ranks_launch_at(&where, wanted->n, argv, &cli->status, cli->err);
}

void cli_fail_together(struct cli *cli)
{
    struct err second = {0};
    if (!ranks_launched() || cli->ranks)
        return;
    cli->ranks = ranks_open(&cli->full_argc, &cli->full_argv, &second);
    if (cli->ranks && ranks_agree(cli->ranks, false, cli->err))
        return;
}
