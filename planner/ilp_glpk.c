/*
 * Solves an ilp with GLPK in a child process. GLPK aborts when an allocation fails and cannot be
 * stopped from outside; a child can be limited and killed. It streams what it knows over a pipe, a
 * record whenever it has a better solution and one at the end, so that whatever happens to it the last
 * solution and bound are here. Why a process: docs/decisions, the GLPK licence boundary.
 */
#include "planner/ilp.h"

#include <errno.h>
#include <fcntl.h>
#include <glpk.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/clock.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define HUGE_ADDRESS_SPACE 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define HUGE_ADDRESS_SPACE 1
#endif
#endif

#define DEFAULT_MEMORY (INT64_C(2) << 30)
#define EXIT_ABORTED   9 /* GLPK gave up: its error hook ran */

/* What the child says; followed by n_x doubles: values of the columns, then duals of the rows. */
struct record {
    int32_t status; /* enum ilp_status */
    int32_t n_x;
    double value, bound;
    int64_t nodes;
};

struct child {
    int fd;
    const struct ilp *ilp;
    const struct ilp_limits *limits;
    glp_prob *lp;
    double *x; /* n_cols + 1, from 1 as GLPK counts */
    bool handed_in;
    double bound;
    int64_t nodes;
};

static void write_all(int fd, const void *data, size_t bytes)
{
    const char *at = data;
    while (bytes > 0) {
        ssize_t n = write(fd, at, bytes);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            _exit(EXIT_ABORTED);
        at += n;
        bytes -= (size_t)n;
    }
}

static void tell_all(
        struct child *c, enum ilp_status status, double value, const double *x, int n_x)
{
    struct record record = {(int32_t)status, n_x, value, c->bound, c->nodes};
    write_all(c->fd, &record, sizeof record);
    if (n_x > 0)
        write_all(c->fd, x + 1, sizeof *x * (size_t)n_x);
}

/* x counts from 1; NULL without a solution. */
static void tell(struct child *c, enum ilp_status status, double value, const double *x)
{
    tell_all(c, status, value, x, x != NULL ? c->ilp->n_cols : 0);
}

static void on_abort(void *info)
{
    (void)info;
    _exit(EXIT_ABORTED);
}

/* Bounds as GLPK wants them: a type beside two numbers. */
static int bound_type(double lo, double hi)
{
    if (isinf(lo))
        return isinf(hi) ? GLP_FR : GLP_UP;
    if (isinf(hi))
        return GLP_LO;
    return lo == hi ? GLP_FX : GLP_DB;
}

static glp_prob *build(const struct ilp *ilp, bool relax)
{
    glp_prob *lp = glp_create_prob();
    glp_set_obj_dir(lp, GLP_MIN);
    if (ilp->n_rows > 0)
        glp_add_rows(lp, ilp->n_rows);
    if (ilp->n_cols > 0)
        glp_add_cols(lp, ilp->n_cols);
    for (int r = 0; r < ilp->n_rows; r++)
        glp_set_row_bnds(lp, r + 1, bound_type(ilp->rows[r].lo, ilp->rows[r].hi), ilp->rows[r].lo,
                ilp->rows[r].hi);
    for (int c = 0; c < ilp->n_cols; c++) {
        const struct ilp_col *col = &ilp->cols[c];
        if (col->integer && !relax)
            glp_set_col_kind(lp, c + 1, GLP_IV);
        glp_set_col_bnds(lp, c + 1, bound_type(col->lo, col->hi), col->lo, col->hi);
        glp_set_obj_coef(lp, c + 1, col->cost);
    }
    size_t n = (size_t)ilp->n_terms + 1;
    int *row = calloc(n, sizeof *row);
    int *col = calloc(n, sizeof *col);
    double *value = calloc(n, sizeof *value);
    if (row == NULL || col == NULL || value == NULL)
        _exit(EXIT_ABORTED);
    for (int64_t i = 0; i < ilp->n_terms; i++) {
        row[i + 1] = ilp->terms[i].row + 1;
        col[i + 1] = ilp->terms[i].col + 1;
        value[i + 1] = ilp->terms[i].value;
    }
    glp_load_matrix(lp, (int)ilp->n_terms, row, col, value);
    free(row);
    free(col);
    free(value);
    return lp;
}

/* GLPK has no MIP start: the known solution goes in at the first call for heuristics. */
static void on_tree(glp_tree *tree, void *info)
{
    struct child *c = info;
    int best = glp_ios_best_node(tree);
    if (best != 0)
        c->bound = fmax(c->bound, glp_ios_node_bound(tree, best));
    int total;
    glp_ios_tree_size(tree, NULL, NULL, &total);
    c->nodes = total;
    if (c->limits->nodes > 0 && total >= c->limits->nodes) {
        glp_ios_terminate(tree);
        return;
    }
    switch (glp_ios_reason(tree)) {
    case GLP_IHEUR:
        if (!c->handed_in && c->limits->incumbent != NULL) {
            c->handed_in = true;
            memcpy(c->x + 1, c->limits->incumbent, sizeof *c->x * (size_t)c->ilp->n_cols);
            glp_ios_heur_sol(tree, c->x);
        }
        break;
    case GLP_IBINGO:
        for (int i = 1; i <= c->ilp->n_cols; i++)
            c->x[i] = glp_mip_col_val(c->lp, i);
        tell(c, ILP_FEASIBLE, glp_mip_obj_val(c->lp), c->x);
        break;
    default: /* the other reasons need no answer */
        break;
    }
}

static void solve_mip(struct child *c, int time_ms)
{
    glp_iocp options;
    glp_init_iocp(&options);
    options.msg_lev = GLP_MSG_OFF;
    options.tm_lim = time_ms;
    options.cb_func = on_tree;
    options.cb_info = c;
    options.mir_cuts = GLP_ON;
    options.mip_gap = c->limits->gap_frac;
    int rc = glp_intopt(c->lp, &options);
    int status = glp_mip_status(c->lp);
    if (status == GLP_OPT || status == GLP_FEAS) {
        for (int i = 1; i <= c->ilp->n_cols; i++)
            c->x[i] = glp_mip_col_val(c->lp, i);
        bool proven = (rc == 0 && status == GLP_OPT) || rc == GLP_EMIPGAP;
        if (rc == 0 && status == GLP_OPT)
            c->bound = glp_mip_obj_val(c->lp);
        if (rc == GLP_EMIPGAP) /* it stops as soon as the gap is small, before it says so to on_tree */
            c->bound = fmax(c->bound,
                    glp_mip_obj_val(c->lp) - c->limits->gap_frac * fabs(glp_mip_obj_val(c->lp)));
        tell(c, proven ? ILP_OPTIMAL : ILP_FEASIBLE, glp_mip_obj_val(c->lp), c->x);
    } else {
        tell(c, rc == 0 && status == GLP_NOFEAS ? ILP_INFEASIBLE : ILP_UNKNOWN, 0, NULL);
    }
}

/* The child's whole life. */
static _Noreturn void child_run(struct child *c)
{
    const struct ilp_limits *limits = c->limits;
    int64_t memory = limits->memory_bytes > 0 ? limits->memory_bytes : DEFAULT_MEMORY;
#if !defined(HUGE_ADDRESS_SPACE)
    struct rlimit rlimit = {(rlim_t)memory + (512u << 20), (rlim_t)memory + (512u << 20)};
    setrlimit(RLIMIT_AS, &rlimit);
#endif
    struct rlimit no_core = {0, 0};
    setrlimit(RLIMIT_CORE, &no_core);
    signal(SIGINT, SIG_DFL);
    signal(SIGPIPE, SIG_DFL);
    /* GLPK prints why it aborts even with its output off; the exit status tells it better. */
    int nowhere = open("/dev/null", O_WRONLY);
    if (nowhere >= 0)
        dup2(nowhere, STDERR_FILENO);
    glp_term_out(GLP_OFF);
    glp_error_hook(on_abort, NULL);
    int64_t mib = memory >> 20;
    glp_mem_limit(mib < 1 ? 1 : (int)(mib < INT_MAX ? mib : INT_MAX));
    int time_ms = limits->time_s > 0 ? (int)fmin(limits->time_s * 1e3 + 1, 1e9) : INT_MAX;

    c->lp = build(c->ilp, limits->relax);
    c->x = calloc((size_t)c->ilp->n_cols + (size_t)c->ilp->n_rows + 1, sizeof *c->x);
    if (c->x == NULL)
        _exit(EXIT_ABORTED);
    glp_smcp simplex;
    glp_init_smcp(&simplex);
    simplex.msg_lev = GLP_MSG_OFF;
    simplex.tm_lim = time_ms;
    int rc = glp_simplex(c->lp, &simplex);
    int status = glp_get_status(c->lp);
    if (rc != 0 || (status != GLP_OPT && status != GLP_NOFEAS)) {
        tell(c, ILP_UNKNOWN, 0, NULL);
        _exit(0);
    }
    if (status == GLP_NOFEAS) {
        tell(c, ILP_INFEASIBLE, 0, NULL);
        _exit(0);
    }
    c->bound = glp_get_obj_val(c->lp);
    if (limits->relax) {
        for (int i = 1; i <= c->ilp->n_cols; i++)
            c->x[i] = glp_get_col_prim(c->lp, i);
        for (int i = 1; i <= c->ilp->n_rows; i++)
            c->x[c->ilp->n_cols + i] = glp_get_row_dual(c->lp, i);
        tell_all(c, ILP_OPTIMAL, c->bound, c->x, c->ilp->n_cols + c->ilp->n_rows);
        _exit(0);
    }
    tell(c, ILP_UNKNOWN, 0, NULL); /* the LP bound, should the rest never come */
    solve_mip(c, time_ms);
    _exit(0);
}

/* What has come over the pipe and is not yet a whole record. */
struct inbox {
    char *data;
    size_t len, cap;
};

static void take_records(struct inbox *in, struct ilp_result *out)
{
    size_t at = 0;
    struct record record;
    while (in->len - at >= sizeof record) {
        memcpy(&record, in->data + at, sizeof record);
        size_t x_bytes = sizeof *out->x * (size_t)record.n_x;
        if (in->len - at < sizeof record + x_bytes)
            break;
        if (record.n_x > 0
                && (out->x == NULL || out->status == ILP_UNKNOWN || record.value <= out->value)) {
            memcpy(out->x, in->data + at + sizeof record, x_bytes);
            out->value = record.value;
        }
        if (record.n_x > 0 || record.status == ILP_INFEASIBLE || out->status == ILP_UNKNOWN)
            out->status = (enum ilp_status)record.status;
        out->bound = fmax(out->bound, record.bound);
        out->nodes = record.nodes;
        at += sizeof record + x_bytes;
    }
    memmove(in->data, in->data + at, in->len - at);
    in->len -= at;
}

/* Reads until the child closes its end; false when the deadline passed first. */
static bool listen_to(int fd, int64_t deadline_ns, struct inbox *in, struct ilp_result *out)
{
    for (;;) {
        int wait_ms = -1;
        if (deadline_ns > 0) {
            int64_t left_ns = deadline_ns - clock_now_ns();
            if (left_ns <= 0)
                return false;
            wait_ms = (int)(left_ns / 1000000 + 1);
        }
        struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
        int rc = poll(&poll_fd, 1, wait_ms);
        if (rc < 0 && errno != EINTR)
            return false;
        if (rc <= 0)
            continue;
        if (in->len == in->cap) {
            size_t cap = in->cap > 0 ? in->cap * 2 : 65536;
            char *data = realloc(in->data, cap);
            if (data == NULL)
                return false;
            in->data = data;
            in->cap = cap;
        }
        ssize_t n = read(fd, in->data + in->len, in->cap - in->len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return true;
        in->len += (size_t)n;
        take_records(in, out);
    }
}

static const char *trouble_of(int status, bool in_time, struct arena *arena)
{
    if (!in_time)
        return "the solver did not stop at its time limit and was ended";
    if (WIFSIGNALED(status))
        return arena_printf(arena, "the solver was killed by signal %d (%s)", WTERMSIG(status),
                strsignal(WTERMSIG(status)));
    if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_ABORTED)
        return "the solver gave up: it reached its memory limit or met a program it cannot handle";
    if (WIFEXITED(status) && WEXITSTATUS(status) != 0)
        return arena_printf(arena, "the solver ended with status %d", WEXITSTATUS(status));
    return NULL;
}

/* A dead solver leaves the solution that was handed in, or the better one it had told. */
static bool settle(struct ilp_result *out, const struct ilp *ilp, const struct ilp_limits *limits,
        struct err *err)
{
    bool has_x = out->status == ILP_OPTIMAL || out->status == ILP_FEASIBLE;
    if (!has_x && out->status == ILP_UNKNOWN && limits->incumbent != NULL && !limits->relax) {
        memcpy(out->x, limits->incumbent, sizeof *out->x * (size_t)ilp->n_cols);
        out->value = ilp_value(ilp, out->x);
        out->status = ILP_FEASIBLE;
        has_x = true;
    }
    if (!has_x)
        out->x = NULL;
    if (out->trouble != NULL && out->status == ILP_UNKNOWN)
        return err_set(err, ERR_ENV,
                "program %s (%d rows, %d columns): %s; no solution was known by then: give it more "
                "time "
                "(--time-limit) or a smaller question (--force)",
                ilp->name, ilp->n_rows, ilp->n_cols, out->trouble);
    return true;
}

bool ilp_solve(struct ilp_result *out, const struct ilp *ilp, const struct ilp_limits *limits,
        struct arena *arena, struct err *err)
{
    int64_t start_ns = clock_now_ns();
    *out = (struct ilp_result){.status = ILP_UNKNOWN, .bound = -HUGE_VAL};
    out->x = ARENA_NEW(arena, double, (int64_t)ilp->n_cols + ilp->n_rows + 1);
    int fds[2];
    if (pipe(fds) != 0)
        return err_set(err, ERR_ENV,
                "cannot open a pipe to the solver: %s; close other programs and retry",
                strerror(errno));
    pid_t pid = fork();
    if (pid < 0) {
        close(fds[0]);
        close(fds[1]);
        return err_set(err, ERR_ENV, "cannot start the solver: %s; close other programs and retry",
                strerror(errno));
    }
    if (pid == 0) {
        close(fds[0]);
        struct child child = {.fd = fds[1], .ilp = ilp, .limits = limits, .bound = -HUGE_VAL};
        child_run(&child);
    }
    close(fds[1]);
    if (limits->started != NULL)
        limits->started(limits->self, (int)pid);

    struct inbox in = {0};
    int64_t deadline_ns = limits->time_s > 0 ? start_ns + (int64_t)((limits->time_s + 1) * 1e9) : 0;
    bool in_time = listen_to(fds[0], deadline_ns, &in, out);
    if (!in_time)
        kill(pid, SIGKILL);
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    close(fds[0]);
    free(in.data);
    out->trouble = trouble_of(status, in_time, arena);
    if (limits->relax && out->status == ILP_OPTIMAL)
        out->dual = out->x + ilp->n_cols;
    out->seconds = (double)(clock_now_ns() - start_ns) * 1e-9;
    return settle(out, ilp, limits, err);
}

const char *ilp_solver(struct arena *arena)
{
    return arena_printf(arena, "glpk %s", glp_version());
}
