#include "core/job.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/pulse.h"

enum {
    WAIT_MS = 100,
    GRACE_MS = 2500, /* for the launcher to end the ranks, before it is killed itself */
    HELD_BYTES = 8192
};

/* stderr of the job, line by line. */
struct relay {
    int fd;
    char line[4096];
    size_t len;
    char held[HELD_BYTES]; /* what the library said, its end */
    size_t n_held;
    bool block;   /* between two lines of dashes */
    bool mute;    /* the job is being ended: what comes now follows from that */
    bool someone; /* a rank of ours said something that begins with the program's name */
};

static bool is_dashes(const char *line)
{
    return strspn(line, "-") >= 20;
}

/* "[host:123] ...", "[host:123:0:456] ...", blocks between dashes, and the launcher's own name. */
static bool is_library(struct relay *relay, const char *line)
{
    if (is_dashes(line)) {
        relay->block = !relay->block;
        return true;
    }
    if (relay->block)
        return true;
    if (line[0] == '[') {
        size_t name = strcspn(line, ":]");
        return line[name] == ':' && isdigit((unsigned char)line[name + 1]);
    }
    return strncmp(line, "mpirun", 6) == 0 || strncmp(line, "mpiexec", 7) == 0
           || strncmp(line, "ORTE ", 5) == 0;
}

static void hold(struct relay *relay, const char *line, size_t len)
{
    if (relay->n_held + len > HELD_BYTES)
        return;
    memcpy(relay->held + relay->n_held, line, len);
    relay->n_held += len;
}

static void pass_line(struct relay *relay)
{
    relay->line[relay->len] = '\0';
    if (is_library(relay, relay->line)) {
        hold(relay, relay->line, relay->len);
    } else if (!relay->mute) {
        relay->someone = relay->someone || strncmp(relay->line, "shardwright:", 12) == 0;
        ssize_t ignored = write(STDERR_FILENO, relay->line, relay->len);
        (void)ignored;
    }
    relay->len = 0;
}

static void relay_all(struct relay *relay)
{
    char piece[4096];
    ssize_t n = 0;
    while (relay->fd >= 0 && (n = read(relay->fd, piece, sizeof piece)) > 0) {
        for (ssize_t i = 0; i < n; i++) {
            relay->line[relay->len++] = piece[i];
            if (piece[i] == '\n' || relay->len == sizeof relay->line - 1)
                pass_line(relay);
        }
    }
    if (relay->fd >= 0 && n == 0) { /* everybody has closed it */
        close(relay->fd);
        relay->fd = -1;
    }
}

static void relay_end(struct relay *relay, bool failed)
{
    relay_all(relay);
    if (relay->len > 0)
        pass_line(relay);
    if (failed && !relay->someone && !relay->mute && relay->n_held > 0) {
        ssize_t ignored = write(STDERR_FILENO, relay->held, relay->n_held);
        (void)ignored;
    }
    if (relay->fd >= 0)
        close(relay->fd);
}

/* In the child: nothing but the exec, or the reason why not through the pipe. */
_Noreturn static void become(char *const *command, pid_t parent, int report, int errors)
{
    /* The ranks end when the command that started them is killed. */
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent)
        _exit(1);
    dup2(errors, STDERR_FILENO);
    execv(command[0], command);
    int error = errno;
    ssize_t ignored = write(report, &error, sizeof error);
    (void)ignored;
    _exit(127);
}

/* errors: both ends of the pipe that becomes its stderr. */
static pid_t start(char *const *command, const int errors[2], struct err *err)
{
    int report[2];
    /* closed by a successful exec, and then the read below finds the end */
    if (pipe(report) != 0 || fcntl(report[0], F_SETFD, FD_CLOEXEC) != 0
            || fcntl(report[1], F_SETFD, FD_CLOEXEC) != 0) {
        err_set(err, ERR_ENV, "cannot start %s: %s", command[0], strerror(errno));
        return -1;
    }
    fflush(NULL); /* or both processes print what is still buffered */
    pid_t parent = getpid();
    pid_t child = fork();
    if (child == 0)
        become(command, parent, report[1], errors[1]);
    int error = errno;
    close(report[1]);
    bool started = child > 0;
    if (started && read(report[0], &error, sizeof error) == (ssize_t)sizeof error)
        started = false;
    close(report[0]);
    if (started)
        return child;
    if (child > 0)
        waitpid(child, NULL, 0);
    err_set(err, ERR_ENV, "cannot start %s: %s", command[0], strerror(error));
    return -1;
}

/* After a loss: asks the launcher to end all ranks wherever they are, and does not wait for long. */
static void end_job(pid_t child, struct pulse_hub *hub, struct relay *relay, int *how)
{
    struct err ignored = {0};
    int64_t begin_ns = clock_now_ns();
    bool killed = false;
    relay->mute = true;
    pulse_hub_end_all(hub);
    kill(child, SIGTERM);
    while (waitpid(child, how, WNOHANG) == 0) {
        if (!killed && clock_now_ns() - begin_ns > GRACE_MS * INT64_C(1000000)) {
            killed = true;
            kill(child, SIGKILL);
        }
        if (!pulse_hub_step(hub, relay->fd, WAIT_MS, &ignored))
            err_clear(&ignored);
        relay_all(relay);
    }
}

static bool watch(
        pid_t child, struct pulse_hub *hub, struct relay *relay, int *how, struct err *err)
{
    for (;;) {
        pid_t ended = waitpid(child, how, WNOHANG);
        if (ended == child || (ended < 0 && errno != EINTR))
            return true;
        bool alive = pulse_hub_step(hub, relay->fd, WAIT_MS, err);
        relay_all(relay);
        if (!alive) {
            end_job(child, hub, relay, how);
            return false;
        }
    }
}

bool job_run(char *const *command, int n_ranks, int *status, struct err *err)
{
    bool ok = false;
    int errors[2] = {-1, -1}, how = 0;
    struct relay relay = {.fd = -1};
    struct pulse_hub *hub = pulse_hub_open(n_ranks, err);
    if (!hub)
        return false;
    if (pipe(errors) != 0 || fcntl(errors[0], F_SETFL, O_NONBLOCK) != 0
            || fcntl(errors[0], F_SETFD, FD_CLOEXEC) != 0) {
        err_set(err, ERR_ENV, "cannot start %s: %s", command[0], strerror(errno));
        goto done;
    }
    relay.fd = errors[0];
    setenv(PULSE_VARIABLE, pulse_hub_address(hub), 1);
    pid_t child = start(command, errors, err);
    unsetenv(PULSE_VARIABLE);
    close(errors[1]);
    if (child < 0)
        goto done;
    ok = watch(child, hub, &relay, &how, err);
    *status = WIFSIGNALED(how) ? 128 + WTERMSIG(how) : WEXITSTATUS(how);
    relay_end(&relay, *status != 0);
    relay.fd = -1;
done:
    if (relay.fd >= 0)
        close(relay.fd);
    pulse_hub_close(hub);
    return ok;
}
