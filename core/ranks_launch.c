/*
 * The launcher belongs to the library: a program linked to Open MPI and started by MPICH's mpirun sees
 * n worlds of one rank. So the launcher that carries the library's name is tried first, and a plain
 * `mpirun` is asked what it is.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/arena.h"
#include "core/ranks.h"

bool ranks_launched(void)
{
    return getenv("OMPI_COMM_WORLD_SIZE") != NULL || getenv("PMI_SIZE") != NULL
           || getenv("PMIX_RANK") != NULL;
}

#ifdef HAVE_MPI

#define MOST_FLAGS 24

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

/* Ranks pin their own threads, so the launcher must not; what it prints besides is noise. */
static int launcher_flags(const char **out, int n, struct arena *arena)
{
    int used = 0;
    out[used++] = find_launcher(arena);
    if (out[0] == NULL)
        return 0;
    bool crowded = n > sysconf(_SC_NPROCESSORS_ONLN);
    if (uses_open_mpi()) {
        if (geteuid() == 0)
            out[used++] = "--allow-run-as-root";
        out[used++] = "--quiet";
        out[used++] = "--bind-to";
        out[used++] = "none";
        out[used++] =
                "--oversubscribe"; /* slots are cores, and a rank may be given one thread of one */
        out[used++] = "--mca";
        out[used++] = "mpi_yield_when_idle";
        out[used++] = crowded ? "1" : "0";
        out[used++] = "--mca";
        out[used++] = "btl_base_warn_component_unused";
        out[used++] = "0";
    } else {
        out[used++] = "-bind-to";
        out[used++] = "none";
    }
    out[used++] = "-np";
    out[used++] = arena_printf(arena, "%d", n);
    return used;
}

/* In the child: nothing but the exec, or the reason why not through the pipe. */
_Noreturn static void become(char *const *command, pid_t parent, int report)
{
    /* The ranks end when the command that started them is killed. */
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent)
        _exit(1);
    execv(command[0], command);
    int error = errno;
    ssize_t ignored = write(report, &error, sizeof error);
    (void)ignored;
    _exit(127);
}

static bool run(char *const *command, int *status, struct err *err)
{
    int report[2];
    /* closed by a successful exec, and then the read below finds the end */
    if (pipe(report) != 0 || fcntl(report[0], F_SETFD, FD_CLOEXEC) != 0
            || fcntl(report[1], F_SETFD, FD_CLOEXEC) != 0)
        return err_set(err, ERR_ENV, "cannot start %s: %s", command[0], strerror(errno));
    fflush(NULL); /* or both processes print what is still buffered */
    pid_t parent = getpid();
    pid_t child = fork();
    if (child == 0)
        become(command, parent, report[1]);
    int error = errno;
    close(report[1]);
    bool started = child > 0;
    if (started && read(report[0], &error, sizeof error) == (ssize_t)sizeof error)
        started = false;
    close(report[0]);
    int how = 0;
    while (child > 0 && waitpid(child, &how, 0) < 0 && errno == EINTR) {
    }
    if (!started)
        return err_set(err, ERR_ENV, "cannot start %s: %s", command[0], strerror(error));
    *status = WIFSIGNALED(how) ? 128 + WTERMSIG(how) : WEXITSTATUS(how);
    return true;
}

bool ranks_launch(int n, char *const argv[], int *status, struct err *err)
{
    struct arena arena = {0};
    int n_args = 0;
    while (argv[n_args] != NULL)
        n_args++;
    const char **flags = ARENA_NEW(&arena, const char *, MOST_FLAGS);
    int n_flags = launcher_flags(flags, n, &arena);
    bool ok = false;
    if (n_flags == 0) {
        err_set(err, ERR_ENV,
                "%d ranks are needed, but no launcher of %s was found on PATH; install %s", n,
                ranks_mpi_version(), uses_open_mpi() ? "openmpi-bin" : "mpich");
        goto done;
    }
    char program[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", program, sizeof program - 1);
    char **command = ARENA_NEW(&arena, char *, n_flags + n_args + 1);
    for (int i = 0; i < n_flags; i++)
        command[i] = arena_strdup(&arena, flags[i]);
    for (int i = 0; i < n_args; i++)
        command[n_flags + i] = argv[i];
    if (len > 0) /* argv[0] may be a bare name */
        command[n_flags] = arena_strndup(&arena, program, len);
    ok = run(command, status, err);
done:
    arena_free(&arena);
    return ok;
}

#endif
