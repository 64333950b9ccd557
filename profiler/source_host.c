/*
 * Rank 0 decides, the others follow: each step of a measurement is a command that rank 0 broadcasts. The
 * broadcasts yield the CPU while they wait; between commands, ranks that take part in an op meet in a
 * spinning barrier before every sample, so that all of them are busy at once.
 */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/clock.h"
#include "kernels/op_table.h"
#include "profiler/coll_case.h"
#include "profiler/disturb.h"
#include "profiler/source.h"
#include "profiler/source_group.h"

enum {
    GPU_SAMPLE_US = 2000, /* a row of launches this long hides what waiting for it takes */
    SHORT_US = 20,        /* ops shorter than this are timed several at a time */
    SAMPLE_US = 60,
    MOST_REPEATS = 200
};
static const double long_us = 5e3;

enum action {
    BEGIN,
    SAMPLE,
    CLOSE
};

struct command {
    enum action action;
    int n;
    struct op op;
};

/* What each rank hands in for a sample. */
struct stamp {
    int64_t begin_ns, end_ns;
    int32_t hit, slow;
};

struct host {
    struct ranks *ranks;
    struct source_groups groups;
    struct dev *dev;
    int threads;
    int64_t offset_ns; /* of this machine's clock to that of the first member's */
    struct op op;
    struct op_case *compute;
    struct coll_case exchange;
    struct coll *together; /* the barrier before a sample */
    int repeats;
    bool stirs; /* what the op reads is written anew before each sample, which is one execution then */
    struct disturb clock;
    struct stamp *mine, *all;
};

static bool use_threads(struct host *host, int threads, struct err *err)
{
    if (host->dev && host->threads == threads)
        return true;
    dev_close(host->dev);
    host->dev = NULL;
    struct dev_options options = {.threads = threads,
            .first_cpu = (ranks_rank(host->ranks) - host->groups.layout.first)
                         % host->groups.layout.devices * threads,
            .gpu = host->groups.layout.gpu,
            .algorithms = host->groups.layout.algorithms,
            .gpu_index = (ranks_rank(host->ranks) - host->groups.layout.first)
                         % host->groups.layout.devices};
    host->dev = dev_host_open(&options, err);
    host->threads = threads;
    return host->dev != NULL;
}

static void run_once(struct host *host)
{
    if (host->compute)
        op_case_run(host->compute);
    else
        coll_case_run(&host->exchange);
}

/* The work of a GPU has ended; a failure is told when the next op is prepared. */
static void finish(struct host *host)
{
    struct err kept = {0};

    if (host->compute && !dev_finish(host->dev, &kept))
        err_clear(&kept);
}

/* One run on every rank that takes part; the time of the slowest, the same on all. */
static double warm_up_once(struct host *host)
{
    double us = 0;
    if (host->groups.place >= 0) {
        coll_barrier(host->together);
        int64_t begin = clock_now_ns();
        run_once(host);
        finish(host);
        us = (double)(clock_now_ns() - begin) * 1e-3;
    }
    return ranks_max(host->ranks, us);
}

/* The first run makes the pages and starts the threads; only short ops need more to be warm. All ranks
 * decide by the same time, or they would wait for each other at different barriers. */
static double warm_up(struct host *host)
{
    double us = warm_up_once(host);
    for (int i = 0; i < 2 && us < long_us; i++) {
        double again = warm_up_once(host);
        us = again < us ? again : us;
    }
    return us;
}

static void close_case(struct host *host)
{
    op_case_close(host->compute);
    host->compute = NULL;
    coll_case_close(&host->exchange);
}

static bool open_case(struct host *host, struct err *err)
{
    const struct op *op = &host->op;
    struct coll *group = NULL;
    int local = source_local_ranks(op);

    if (!source_list_members(&host->groups, op))
        return err_set(err, ERR_BUG, "an op for more ranks than this job has");
    /* Groups first, by every rank in the same order, whether it is in one or not. */
    if (!source_together(&host->together, &host->groups, op, err))
        return false;
    if (op_is_collective(op->kind)) {
        close_case(host);
        if (!source_group(&group, &host->groups, op, err))
            return false;
        return host->groups.place < 0
               || (use_threads(host, 1, err) && coll_case_open(&host->exchange, op, group, err));
    }
    if (host->groups.place < 0) {
        close_case(host);
        return true;
    }
    if (host->compute && op_case_shrink(host->compute, op))
        return true;
    close_case(host);
    if (!use_threads(host, op->degree, err))
        return false;
    if (!dev_finish(host->dev, err))
        return false;
    host->compute = op_case_open(host->dev, op, source_cold_bytes(local), 1, err);
    return host->compute != NULL;
}

static bool do_begin(struct host *host, const struct op *op, struct err *err)
{
    host->op = *op;
    host->repeats = 1;
    bool ok = ranks_agree(host->ranks, open_case(host, err), err);
    host->offset_ns = ok && op->nodes > 1 && host->groups.place >= 0
                              ? source_clock_offset(&host->groups, host->together)
                              : 0;
    double us = ok ? warm_up(host) : 0;
    /* A collective is timed alone: from the common start to the last one's end. */
    host->stirs = ok && host->compute && op_case_stir(host->compute);
    if (ok && host->compute && us < SHORT_US && !host->stirs)
        host->repeats = us * MOST_REPEATS < SAMPLE_US ? MOST_REPEATS : (int)(SAMPLE_US / us) + 1;
    if (ok && host->compute && host->groups.layout.gpu)
        host->repeats =
                us * MOST_REPEATS < GPU_SAMPLE_US ? MOST_REPEATS : (int)(GPU_SAMPLE_US / us) + 1;
    if (!ok)
        close_case(host);
    return ok;
}

static void take_samples(struct host *host, int n)
{
    bool slow = disturb_slow_clock(&host->clock);
    for (int i = 0; i < n; i++) {
        if (!host->compute)
            coll_case_touch(&host->exchange);
        else if (host->stirs)
            op_case_stir(host->compute);
        int64_t lost = disturb_lost_cpu();
        coll_barrier(host->together);
        int64_t begin = clock_now_ns();
        for (int r = 0; r < host->repeats; r++)
            run_once(host);
        finish(host);
        int64_t end = clock_now_ns();
        host->mine[i] = (struct stamp){
                begin - host->offset_ns, end - host->offset_ns, disturb_lost_cpu() != lost, slow};
    }
}

static void do_sample(struct host *host, int n)
{
    memset(host->mine, 0, (size_t)n * sizeof *host->mine);
    if (host->groups.place >= 0)
        take_samples(host, n);
    ranks_gather(host->ranks, host->mine, n * (int64_t)sizeof *host->mine, host->all, 0);
}

static void send_command(struct host *host, struct command *command)
{
    ranks_broadcast(host->ranks, command, sizeof *command, 0);
}

static enum source_answer host_begin(void *self, const struct op *op, struct err *err)
{
    struct host *host = self;
    char text[160];

    if (!source_list_members(&host->groups, op)) {
        err_set(err, ERR_BUG, "%s needs more ranks than this job has", op_show(text, op));
        return SOURCE_FAIL;
    }
    int64_t bytes = op_is_collective(op->kind) ? coll_case_bytes(op)
                                               : op_case_bytes(op, source_cold_bytes(op->busy));
    int64_t pages = sysconf(_SC_AVPHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    if (pages > 0 && (double)bytes * op->busy > 0.8 * (double)pages * (double)page)
        return SOURCE_SKIP;
    struct command command = {.action = BEGIN, .op = *op};
    send_command(host, &command);
    if (do_begin(host, op, err))
        return SOURCE_OK;
    if (err->kind != ERR_ENV)
        return SOURCE_FAIL;
    err_clear(err); /* no memory on some rank */
    return SOURCE_SKIP;
}

/* Each rank's time is a sample of a compute op; a collective has one, until its last rank is done. */
static void add_collective(struct batch *out, const struct host *host, int i, int n)
{
    int64_t begin = 0, end = 0;
    bool hit = false;
    for (int m = 0; m < host->groups.n_members; m++) {
        const struct stamp *s = &host->all[host->groups.members[m] * n + i];
        begin = s->begin_ns > begin ? s->begin_ns : begin;
        end = s->end_ns > end ? s->end_ns : end;
        hit = hit || s->hit;
    }
    double us = (double)(end - begin) * 1e-3;
    if (hit)
        out->hit_us[out->n_hit++] = us;
    else
        out->us[out->n++] = us;
}

static void add_compute(struct batch *out, const struct host *host, int i, int n)
{
    for (int m = 0; m < host->groups.n_members; m++) {
        const struct stamp *s = &host->all[host->groups.members[m] * n + i];
        double us = (double)(s->end_ns - s->begin_ns) * 1e-3 / host->repeats;
        if (s->hit)
            out->hit_us[out->n_hit++] = us;
        else
            out->us[out->n++] = us;
    }
}

static bool host_sample(void *self, int n, struct batch *out)
{
    struct host *host = self;
    const struct op *op = &host->op;
    bool collective = op_is_collective(op->kind);
    int n_ranks = host->groups.n_members;

    /* Ranks pool their samples: half as many rounds with two of them. */
    if (!collective && n_ranks > 1)
        n = (n + n_ranks - 1) / n_ranks;
    if (n < 2)
        n = 2;
    struct command command = {.action = SAMPLE, .n = n, .op = *op};
    int64_t stolen = disturb_stolen_ticks();
    send_command(host, &command);
    do_sample(host, n);
    *out = (struct batch){.disturbed = disturb_stolen_ticks() != stolen};
    for (int m = 0; m < n_ranks; m++)
        for (int i = 0; i < n; i++)
            out->disturbed = out->disturbed || host->all[host->groups.members[m] * n + i].slow;
    for (int i = 0; i < n && (i + 1) * n_ranks <= SOURCE_MOST; i++) {
        if (collective)
            add_collective(out, host, i, n);
        else
            add_compute(out, host, i, n);
    }
    return true;
}

static void host_end(void *self)
{
    (void)self; /* the case stays: the next op may be the same with fewer rows */
}

static void host_close(void *self)
{
    struct host *host = self;
    struct command command = {.action = CLOSE};
    send_command(host, &command);
}

struct source source_host(struct host *host)
{
    return (struct source){host, host_begin, host_sample, host_end, host_close, .cold = true};
}

bool source_host_serve(struct host *host, struct err *err)
{
    for (;;) {
        struct command command;
        struct err seen = {0}; /* rank 0 has it too, and decides */
        send_command(host, &command);
        switch (command.action) {
        case BEGIN:
            if (!do_begin(host, &command.op, &seen) && seen.kind != ERR_ENV)
                *err = seen;
            break;
        case SAMPLE:
            do_sample(host, command.n);
            break;
        case CLOSE:
            return err->kind == ERR_NONE;
        }
    }
}

/* Operands come and go by the hundreds of megabytes. Memory that went back to the system would be cleared
 * again each time, which takes longer than measuring (most of all in a virtual machine). */
static void keep_memory(void)
{
#ifdef __GLIBC__
    mallopt(M_MMAP_MAX, 0);
    mallopt(M_TRIM_THRESHOLD, -1);
#endif
}

struct host *source_host_open(
        struct ranks *ranks, const struct source_layout *layout, struct err *err)
{
    keep_memory();
    struct host *host = calloc(1, sizeof *host);
    bool ok = host != NULL;

    if (ok) {
        host->ranks = ranks;
        ok = source_groups_init(&host->groups, ranks, layout, err);
        host->mine = calloc(SOURCE_MOST, sizeof *host->mine);
        host->all = calloc((size_t)SOURCE_MOST * (size_t)ranks_count(ranks), sizeof *host->all);
        ok = ok && host->mine && host->all;
    }
    if (!ok)
        err_set(err, ERR_ENV, "no memory to measure with");
    if (ranks_agree(ranks, ok, err) && host) {
        for (int i = 0; i < 50; i++)
            disturb_slow_clock(&host->clock); /* finds the best */
        return host;
    }
    source_host_close(host);
    return NULL;
}

void source_host_close(struct host *host)
{
    if (!host)
        return;
    close_case(host);
    source_groups_fini(&host->groups);
    dev_close(host->dev);
    free(host->mine);
    free(host->all);
    free(host);
}
