/*
 * One row a limit. The rows are made first, from the cluster and the workload; then each is moved by itself and
 * the program is solved again. Value and bound of both programs leave an interval for the gain:
 *
 *     [value' - bound, bound' - value]
 */
#include "planner/limits.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "planner/what_if.h"

/* Limits are moved by a tenth: far more than the gap of a program, little enough to speak of "one more". */
#define STEP 0.1

enum lever_kind {
    LEVER_DEVICES,
    LEVER_FACTOR, /* "NAME=1.1x" for what_if_apply */
    LEVER_TTFT,
    LEVER_TPOT,
    LEVER_REQUESTS /* nothing to solve: the workload ends what the plan can do */
};

struct lever {
    enum lever_kind kind;
    int device;       /* index of the kind, for LEVER_DEVICES */
    const char *name; /* of the row */
};

/* What the program reaches, larger is better. */
struct reach {
    bool found;
    double value, bound;
    const char *plan;
};

struct list {
    const struct limits_question *q;
    struct arena *arena;
    struct plan_limit *rows;
    struct lever *levers;
    int n;
};

static struct plan_limit *add(struct list *list, struct lever lever, const char *unit, double there)
{
    struct plan_limit *row = &list->rows[list->n];
    list->levers[list->n++] = lever;
    *row = (struct plan_limit){.name = lever.name, .unit = unit, .there_is = there};
    if (there <= 0) { /* measured, and not told: it can be multiplied all the same */
        row->unit = "x";
        row->there_is = 1;
    }
    return row;
}

static bool same(const char *a, const char *b)
{
    return a != NULL && b != NULL && strcmp(a, b) == 0;
}

/* Devices of a kind that the plan takes, and the memory of its fullest one. */
static void taken_of(double *devices, double *bytes, const struct plan *plan, const char *kind)
{
    *devices = *bytes = 0;
    for (int r = 0; r < plan->n_replicas; r++)
        for (int s = 0; s < plan->replicas[r].n_stages; s++) {
            const struct plan_stage *stage = &plan->replicas[r].stages[s];
            if (!same(stage->kind, kind))
                continue;
            double full = (double)(stage->weight_bytes + stage->kv_bytes + stage->work_bytes);
            *devices += (double)stage->n_ranks * stage->threads;
            *bytes = fmax(*bytes, full / stage->threads);
        }
}

static double devices_of(const struct cluster *cluster, const char *kind)
{
    double n = 0;
    for (int i = 0; i < cluster->n_nodes; i++)
        if (same(cluster->nodes[i].kind, kind))
            n += (double)cluster->nodes[i].count * cluster->nodes[i].devices;
    return n;
}

static void add_kind(struct list *list, int k)
{
    const struct limits_question *q = list->q;
    const struct cluster *cluster = q->solve->input->cluster;
    const struct device_kind *kind = &cluster->kinds[k];
    double devices;
    double bytes;
    taken_of(&devices, &bytes, &q->chosen->plan, kind->name);
    struct lever lever = {LEVER_DEVICES, k, arena_printf(list->arena, "%s.count", kind->name)};
    struct plan_limit *row = add(list, lever, "devices", devices_of(cluster, kind->name));
    row->taken = devices;
    const double *worth = q->solved->columns.device_worth; /* C21 */
    if (worth != NULL && q->solve->input->objective == OBJECTIVE_THROUGHPUT)
        row->shadow_price = worth[k] * q->solve->demand.output;
    lever = (struct lever){LEVER_FACTOR, k, arena_printf(list->arena, "%s.memory", kind->name)};
    row = add(list, lever, "B", (double)kind->memory_bytes);
    row->taken = bytes;
}

/* The service objectives, and what the simulated plan makes of them. */
static void add_objectives(struct list *list)
{
    const struct limits_question *q = list->q;
    const struct workload *w = q->solve->input->workload;
    const struct simulate_result *sim = &q->chosen->sim;
    if (w->slo.ttft_us > 0)
        add(list, (struct lever){LEVER_TTFT, 0, "slo.ttft"}, "us", w->slo.ttft_us)->taken =
                sim->slo_ttft_us;
    if (w->slo.tpot_us > 0)
        add(list, (struct lever){LEVER_TPOT, 0, "slo.tpot"}, "us", w->slo.tpot_us)->taken =
                sim->slo_tpot_us;
    double offered = q->solve->demand.requests_per_s;
    if (isinf(offered) || q->solve->input->objective != OBJECTIVE_THROUGHPUT)
        return;
    double can = q->chosen->candidate->tokens_per_s / q->solve->demand.output;
    struct plan_limit *row =
            add(list, (struct lever){LEVER_REQUESTS, 0, "requests"}, "requests/s", offered);
    row->taken = fmin(can, offered);
    /* A tenth more requests are served as far as the plan can. */
    row->more = STEP * offered;
    row->buys = (fmin(can, (1 + STEP) * offered) - row->taken) * q->solve->demand.output;
    row->buys_least = row->buys_most = row->buys;
}

static void open_list(struct list *list, const struct limits_question *q, struct arena *arena)
{
    const struct cluster *cluster = q->solve->input->cluster;
    int64_t most = 4 * (int64_t)cluster->n_kinds + cluster->n_links + 3;
    *list = (struct list){.q = q, .arena = arena};
    list->rows = ARENA_NEW(arena, struct plan_limit, most);
    list->levers = ARENA_NEW(arena, struct lever, most);
    for (int k = 0; k < cluster->n_kinds; k++)
        add_kind(list, k);
    add_objectives(list);
}

void limits_list(struct plan_why *why, const struct limits_question *q, struct arena *arena)
{
    struct list list;
    open_list(&list, q, arena);
    why->limits = list.rows;
    why->n_limits = list.n;
}

/* What only a second solution knows: speed of devices and links. */
static void add_speeds(struct list *list)
{
    const struct cluster *cluster = list->q->solve->input->cluster;
    struct arena *arena = list->arena;
    for (int k = 0; k < cluster->n_kinds; k++) {
        const struct device_kind *kind = &cluster->kinds[k];
        struct lever lever = {LEVER_FACTOR, k, arena_printf(arena, "%s.bandwidth", kind->name)};
        add(list, lever, "B/s", kind->memory_rate);
        lever.name = arena_printf(arena, "%s.compute", kind->name);
        add(list, lever, "FLOP/s", kind->flops);
    }
    for (int i = 0; i < cluster->n_links; i++) {
        const struct cluster_link *link = &cluster->links[i];
        struct lever lever = {
                LEVER_FACTOR, 0, arena_printf(arena, "link.%s.bandwidth", link->name)};
        bool known = false; /* links of one name are one lever */
        for (int j = 0; j < list->n; j++)
            known = known || strcmp(list->rows[j].name, lever.name) == 0;
        if (!known)
            add(list, lever, "B/s", link->rate);
    }
}

/* The program's own figures, not cut off at what the workload offers. */
static void reach_of(struct reach *out, const struct solve *solve, const struct solved *solved,
        struct arena *arena)
{
    *out = (struct reach){.found = solved->found.n > 0};
    if (!out->found)
        return;
    out->value = solved->found.best;
    out->bound = solved->found.bound;
    if (solve->whole && solved->columns.feasible
            && solve->input->objective == OBJECTIVE_THROUGHPUT) {
        out->value = solved->columns.value * solve->demand.output;
        out->bound = solved->columns.bound * solve->demand.output;
    }
    struct plan plan;
    choose_build(&plan, &solved->found.items[0], solve->input, solve->costs, arena);
    out->plan = plan.name;
}

/* Solved with the whole-cluster program alone where the first answer has one: duals and gains are its own. */
static bool reach(struct reach *out, const struct limits_question *q,
        const struct planner_input *input, struct arena *arena, struct err *err)
{
    struct arena scratch = {0}; /* a large cluster's patterns need not outlive the answer */
    struct solve solve;
    struct solved solved;
    bool ok = false;
    if (!solve_open(&solve, input, &scratch, err))
        goto done;
    solve.whole = q->solved->columns.feasible;
    solve.search = !solve.whole;
    solve.keep = 1; /* nothing is simulated */
    if (input->objective == OBJECTIVE_THROUGHPUT)
        solve.demand.requests_per_s = HUGE_VAL;
    ok = solve_run(&solved, &solve, 1, &scratch, err);
    if (ok)
        reach_of(out, &solve, &solved, &scratch);
    if (ok && out->found)
        out->plan = arena_strdup(arena, out->plan);
    solve_close(&solve);
done:
    arena_free(&scratch);
    return ok;
}

/* One machine more of a kind, as its last; in a single host that is joined to no other, one core more. */
static void more_devices(struct planner_input *input, struct cluster *cluster, int k, double *more,
        struct arena *arena)
{
    *cluster = *input->cluster;
    input->cluster = cluster;
    cluster->nodes = arena_grow(
            arena, cluster->nodes, cluster->n_nodes, cluster->n_nodes, sizeof *cluster->nodes);
    struct cluster_node *last = NULL;
    int machines = 0;
    for (int i = 0; i < cluster->n_nodes; i++) {
        machines += cluster->nodes[i].count;
        if (same(cluster->nodes[i].kind, cluster->kinds[k].name))
            last = &cluster->nodes[i];
    }
    if (last == NULL)
        return;
    if (machines == 1 && cluster->kinds[k].type == DEVICE_CPU) {
        last->devices++;
        *more = 1;
        return;
    }
    last->count++;
    *more = last->devices;
}

/* The question with a limit moved. False: it cannot be, for the reason in err. */
static bool move(struct planner_input *input, struct what_if *what, struct workload *workload,
        const struct lever *lever, struct plan_limit *row, struct arena *arena, struct err *err)
{
    row->more = STEP * row->there_is;
    *workload = *input->workload;
    switch (lever->kind) {
    case LEVER_DEVICES:
        more_devices(input, &what->cluster, lever->device, &row->more, arena);
        return true;
    case LEVER_TTFT:
        workload->slo.ttft_us *= 1 + STEP;
        input->workload = workload;
        return true;
    case LEVER_TPOT:
        workload->slo.tpot_us *= 1 + STEP;
        input->workload = workload;
        return true;
    case LEVER_FACTOR:
    case LEVER_REQUESTS:
        break;
    }
    if (!what_if_apply(what, arena_printf(arena, "%s=%gx", lever->name, 1 + STEP), arena, err))
        return false;
    input->cluster = &what->cluster;
    input->profile = what->n_profiles > 0 ? what->profiles : NULL;
    return true;
}

static bool move_one(struct plan_limit *row, const struct lever *lever, const struct reach *base,
        const struct limits_question *q, struct arena *arena, struct err *err)
{
    struct planner_input input = *q->solve->input;
    struct what_if what = {.cluster = *input.cluster, .n_profiles = input.n_profiles};
    struct workload workload;
    struct reach now;
    struct err why = {0};
    input.export_lp = NULL;
    what.profiles = ARENA_NEW(arena, struct profile, input.n_profiles + 1);
    if (input.n_profiles > 0)
        memcpy(what.profiles, input.profile, sizeof *what.profiles * (size_t)input.n_profiles);
    bool ok = move(&input, &what, &workload, lever, row, arena, &why)
              && reach(&now, q, &input, arena, &why);
    if (!ok && (why.kind == ERR_BUG || why.kind == ERR_ENV))
        return err_set(err, why.kind, "more %s: %s", lever->name, why.text);
    if (!ok || !now.found) {
        row->more = 0;
        row->then = ok ? "no plan" : arena_strdup(arena, why.text);
        return true;
    }
    row->buys = now.value - base->value;
    row->buys_least = now.value - base->bound;
    row->buys_most = now.bound - base->value;
    if (strcmp(now.plan, base->plan) != 0)
        row->then = now.plan;
    return true;
}

bool limits_move(
        struct plan_why *why, const struct limits_question *q, struct arena *arena, struct err *err)
{
    struct list list;
    struct reach base;
    struct planner_input input = *q->solve->input;
    input.export_lp = NULL;
    open_list(&list, q, arena);
    add_speeds(&list);
    why->limits = list.rows;
    why->n_limits = list.n;
    if (!reach(&base, q, &input, arena, err))
        return false;
    for (int i = 0; base.found && i < list.n; i++)
        if (list.levers[i].kind != LEVER_REQUESTS
                && !move_one(&list.rows[i], &list.levers[i], &base, q, arena, err))
            return false;
    return true;
}
