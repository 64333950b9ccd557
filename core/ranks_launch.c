/*
 * The launcher belongs to the library: a program linked to Open MPI and started by MPICH's mpirun sees
 * n worlds of one rank. So the launcher that carries the library's name is tried first, and a plain
 * `mpirun` is asked what it is.
 */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/arena.h"
#include "core/job.h"
#include "core/ranks.h"

extern char **environ;

bool ranks_launched(void)
{
    return getenv("OMPI_COMM_WORLD_SIZE") != NULL || getenv("PMI_SIZE") != NULL
           || getenv("PMIX_RANK") != NULL;
}

#ifdef HAVE_MPI

static bool uses_open_mpi(void)
{
    return strstr(ranks_mpi_version(), "Open MPI") != NULL;
}

/* The program's path on PATH, in the arena, or NULL. */
static const char *find_program(const char *name, struct arena *arena)
{
    const char *path = getenv("PATH");
    while (path != NULL && *path != '\0') {
        int len = (int)strcspn(path, ":");
        const char *file = arena_printf(arena, "%.*s/%s", len, path, name);
        if (len > 0 && access(file, X_OK) == 0)
            return file;
        path += len;
        if (*path == ':')
            path++;
    }
    return NULL;
}

/* Whether `launcher --version` has the word in its first lines. */
static bool says(const char *launcher, const char *word, struct arena *arena)
{
    FILE *pipe = popen(arena_printf(arena, "'%s' --version 2>/dev/null", launcher), "r");
    if (pipe == NULL)
        return false;
    char text[1024];
    size_t n = fread(text, 1, sizeof text - 1, pipe);
    text[n] = '\0';
    pclose(pipe);
    return strstr(text, word) != NULL;
}

static const char *find_launcher(struct arena *arena)
{
    static const char *const of_open_mpi[] = {"mpirun.openmpi", "mpirun", "mpiexec", NULL};
    static const char *const of_mpich[] = {
            "mpirun.mpich", "mpiexec.hydra", "mpirun", "mpiexec", NULL};
    bool open_mpi = uses_open_mpi();
    const char *word = open_mpi ? "Open MPI" : "HYDRA";
    for (const char *const *name = open_mpi ? of_open_mpi : of_mpich; *name != NULL; name++) {
        const char *file = find_program(*name, arena);
        if (file != NULL && (strchr(*name, '.') != NULL || says(file, word, arena)))
            return file;
    }
    return NULL;
}

/* The command line under construction. */
struct flags {
    const char **items;
    int n, cap;
    struct arena *arena;
};

static void add(struct flags *flags, const char *item)
{
    if (flags->n + 1 >= flags->cap) {
        int cap = flags->cap * 2 + 32;
        flags->items =
                arena_grow(flags->arena, flags->items, flags->cap, cap, sizeof *flags->items);
        flags->cap = cap;
    }
    flags->items[flags->n++] = item;
    flags->items[flags->n] = NULL;
}

static void add_pair(struct flags *flags, const char *name, const char *value)
{
    add(flags, name);
    add(flags, value);
}

static void add_mca(struct flags *flags, const char *name, const char *value)
{
    add(flags, "--mca");
    add_pair(flags, name, value);
}

/* The remote shell brings no environment along; what is ours goes by name. */
static void add_exports(struct flags *flags)
{
    for (char **at = environ; *at; at++) {
        if (strncmp(*at, "SHARDWRIGHT_", 12) != 0)
            continue;
        int len = (int)strcspn(*at, "=");
        if (strncmp(*at, PULSE_VARIABLE, (size_t)len) != 0 || PULSE_VARIABLE[len] != '\0')
            add_pair(flags, "-x", arena_printf(flags->arena, "%.*s", len, *at));
    }
    add_pair(flags, "-x", PULSE_VARIABLE);
}

/* "a,a,b,b": rank by rank, so that each is where the plan wants it. */
static char *list_hosts(const struct ranks_where *where, int n, struct arena *arena)
{
    size_t len = 1;
    for (int i = 0; i < n; i++)
        len += strlen(where->hosts[i]) + 1;
    char *list = arena_alloc(arena, (int64_t)len);
    char *at = list;
    for (int i = 0; i < n; i++)
        at += sprintf(at, "%s%s", i > 0 ? "," : "", where->hosts[i]);
    return list;
}

static void add_open_mpi(struct flags *flags, int n, const struct ranks_where *where)
{
    int threads = where->threads > n ? where->threads : n;
    bool crowded = where->on_this_host && threads > sysconf(_SC_NPROCESSORS_ONLN);
    if (geteuid() == 0)
        add(flags, "--allow-run-as-root");
    add(flags, "--quiet");
    add_pair(flags, "--bind-to", "none");
    /* slots are cores, and a rank may be given one thread of one */
    add(flags, "--oversubscribe");
    add_mca(flags, "mpi_yield_when_idle", crowded ? "1" : "0");
    add_mca(flags, "btl_base_warn_component_unused", "0");
    add_mca(flags, "orte_base_help_aggregate", "0");
    if (where->on_this_host)
        return;
    char here[PATH_MAX];
    if (getcwd(here, sizeof here))
        add_pair(flags, "-wdir", arena_strdup(flags->arena, here));
    add_exports(flags);
    /* A daemon on a host that was cut off ends itself, and does not wait for ever. */
    add_mca(flags, "oob_tcp_keepalive_time", "5");
    add_mca(flags, "oob_tcp_keepalive_intvl", "1");
    add_mca(flags, "oob_tcp_keepalive_probes", "4");
    if (where->agent)
        add_mca(flags, "plm_rsh_agent", where->agent);
    if (where->hosts) {
        add_pair(flags, "--map-by", "seq");
        add_pair(flags, "-H", list_hosts(where, n, flags->arena));
    } else {
        add_pair(flags, "--map-by", arena_printf(flags->arena, "ppr:%d:node", where->per_node));
    }
}

static void add_mpich(struct flags *flags, int n, const struct ranks_where *where)
{
    add_pair(flags, "-bind-to", "none");
    if (where->hosts)
        add_pair(flags, "-hosts", list_hosts(where, n, flags->arena));
    else if (!where->on_this_host)
        add_pair(flags, "-ppn", arena_printf(flags->arena, "%d", where->per_node));
    if (where->agent)
        add_pair(flags, "-launcher-exec", where->agent);
}

/* Ranks pin their own threads, so the launcher must not; what it prints besides is noise. */
static bool launcher_flags(struct flags *flags, int n, const struct ranks_where *where)
{
    const char *launcher = find_launcher(flags->arena);
    if (!launcher)
        return false;
    add(flags, launcher);
    if (uses_open_mpi())
        add_open_mpi(flags, n, where);
    else
        add_mpich(flags, n, where);
    add_pair(flags, "-np", arena_printf(flags->arena, "%d", n));
    return true;
}

bool ranks_launch_at(
        const struct ranks_where *where, int n, char *const argv[], int *status, struct err *err)
{
    struct arena arena = {0};
    struct flags flags = {.arena = &arena};
    bool ok = false;
    char program[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", program, sizeof program - 1);

    if (!launcher_flags(&flags, n, where)) {
        err_set(err, ERR_ENV,
                "%d ranks are needed, but no launcher of %s was found on PATH; install %s", n,
                ranks_mpi_version(), uses_open_mpi() ? "openmpi-bin" : "mpich");
        goto done;
    }
    /* argv[0] may be a bare name */
    add(&flags, len > 0 ? arena_strndup(&arena, program, len) : argv[0]);
    for (int i = 1; argv[i] != NULL; i++)
        add(&flags, argv[i]);
    char **command = ARENA_NEW(&arena, char *, flags.n + 1);
    for (int i = 0; i < flags.n; i++)
        command[i] = arena_strdup(&arena, flags.items[i]);
    ok = job_run(command, n, status, err);
done:
    arena_free(&arena);
    return ok;
}

bool ranks_launch(int n, char *const argv[], int *status, struct err *err)
{
    const struct ranks_where here = {.on_this_host = true};
    return ranks_launch_at(&here, n, argv, status, err);
}

#endif
