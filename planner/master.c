#include "planner/master.h"

#include <math.h>
#include <string.h>

#include "core/file.h"
#include "planner/ilp.h"

bool master_add(struct master *m, const struct pattern *pattern)
{
    for (int i = 0; i < m->n; i++)
        if (pattern_compare(&m->items[i], pattern) == 0)
            return false;
    if (m->n % 256 == 0)
        m->items = arena_grow(m->arena, m->items, m->n, m->n + 256, sizeof *m->items);
    m->items[m->n++] = *pattern;
    return true;
}

static double price_of(const struct master *m, const struct pattern *pattern)
{
    double price = 0;
    for (int k = 0; k < m->instance->n_kinds; k++)
        price += m->instance->kinds[k].price * (double)pattern->devices[k];
    return price;
}

double master_served(const struct master *m, const double *counts)
{
    double by_role[ROLE_DECODE + 1] = {0};
    for (int i = 0; i < m->n; i++)
        by_role[m->instance->limits[m->items[i].limits].role] +=
                counts[i] * m->items[i].requests_per_s;
    return by_role[ROLE_MIXED] + fmin(by_role[ROLE_PREFILL], by_role[ROLE_DECODE]);
}

double master_cost(const struct master *m, const double *counts)
{
    double price = 0;
    for (int i = 0; i < m->n; i++)
        price += counts[i] * price_of(m, &m->items[i]);
    return price;
}

/* Rows of the program, in the order they are added. */
struct rows {
    int budget, prefill, decode, served;
};

/* Column i is pattern i; the last one is the flow through separate pools. */
static struct rows build(struct ilp *ilp, const struct master *m, struct arena *arena)
{
    const struct instance *in = m->instance;
    bool price = m->objective == INSTANCE_PRICE;
    struct rows rows;
    ilp_init(ilp, arena_printf(arena, "cluster of %s", in->name), arena);
    rows.budget = 0;
    for (int k = 0; k < in->n_kinds; k++) /* C8 */
        ilp_add_row(
                ilp, arena_printf(arena, "devices_%d", k), -HUGE_VAL, (double)in->kinds[k].devices);
    rows.prefill = ilp_add_row(ilp, "prefill", 0, HUGE_VAL);                     /* C9 */
    rows.decode = ilp_add_row(ilp, "decode", 0, HUGE_VAL);                       /* C10 */
    rows.served = price ? ilp_add_row(ilp, "served", in->demand, HUGE_VAL) : -1; /* C11 */
    for (int i = 0; i < m->n; i++) {
        const struct pattern *p = &m->items[i];
        int role = in->limits[p->limits].role;
        double rate = p->requests_per_s;
        struct ilp_col col = {
                .name = arena_printf(arena, "x_%d", i), .hi = HUGE_VAL, .integer = true};
        if (price)
            col.cost = price_of(m, p);
        else if (role == ROLE_MIXED)
            col.cost = -rate;
        ilp_add_col(ilp, &col);
        for (int k = 0; k < in->n_kinds; k++)
            if (p->devices[k] > 0)
                ilp_add_term(ilp, rows.budget + k, i, (double)p->devices[k]);
        if (role == ROLE_PREFILL)
            ilp_add_term(ilp, rows.prefill, i, rate);
        if (role == ROLE_DECODE)
            ilp_add_term(ilp, rows.decode, i, rate);
        if (role == ROLE_MIXED && price)
            ilp_add_term(ilp, rows.served, i, rate);
    }
    struct ilp_col flow = {.name = "pooled", .hi = HUGE_VAL, .cost = price ? 0 : -1};
    ilp_add_col(ilp, &flow);
    ilp_add_term(ilp, rows.prefill, m->n, -1);
    ilp_add_term(ilp, rows.decode, m->n, -1);
    if (price)
        ilp_add_term(ilp, rows.served, m->n, 1);
    return rows;
}

static void note(struct master *m, const struct ilp_result *result)
{
    m->programs++;
    m->nodes += result->nodes;
    if (result->trouble != NULL)
        m->trouble = arena_strdup(m->arena, result->trouble);
}

bool master_relax(struct master_prices *out, struct master *m, struct arena *arena, struct err *err)
{
    memset(out, 0, sizeof *out);
    struct ilp ilp;
    struct rows rows = build(&ilp, m, arena);
    struct ilp_limits limits = {.relax = true};
    struct ilp_result result;
    if (!ilp_solve(&result, &ilp, &limits, arena, err))
        return false;
    note(m, &result);
    if (result.status == ILP_INFEASIBLE)
        return true;
    if (result.dual == NULL)
        return err_set(err, ERR_ENV, "program %s: the solver gave no linear optimum%s%s", ilp.name,
                result.trouble != NULL ? ": " : "", result.trouble != NULL ? result.trouble : "");
    out->feasible = true;
    out->value = m->objective == INSTANCE_PRICE ? result.value : -result.value;
    out->count = result.x;
    out->n = m->n;
    for (int k = 0; k < m->instance->n_kinds; k++)
        out->device[k] = fmax(0, -result.dual[rows.budget + k]);
    out->worth[ROLE_MIXED] = rows.served >= 0 ? fmax(0, result.dual[rows.served]) : 1;
    out->worth[ROLE_PREFILL] = fmax(0, result.dual[rows.prefill]);
    out->worth[ROLE_DECODE] = fmax(0, result.dual[rows.decode]);
    return true;
}

static bool write_program(const struct master *m, const struct ilp *ilp, struct err *err)
{
    if (m->export_lp == NULL)
        return true;
    const char *text = ilp_write_lp(ilp);
    return file_write(m->export_lp, text, (int64_t)strlen(text), err);
}

bool master_solve(struct master_whole *whole, struct master *m, const struct master_limits *limits,
        struct err *err)
{
    bool ok = false;
    struct arena scratch = {0};
    struct ilp ilp;
    build(&ilp, m, &scratch);
    bool price = m->objective == INSTANCE_PRICE;
    double *start = ARENA_NEW(&scratch, double, m->n + 1);
    struct ilp_limits ilp_limits = {
            .time_s = limits->time_s, .gap_frac = limits->gap_frac, .nodes = limits->nodes};
    if (whole->known) {
        memcpy(start, whole->counts, sizeof *start * (size_t)m->n);
        double by_role[ROLE_DECODE + 1] = {0};
        for (int i = 0; i < m->n; i++)
            by_role[m->instance->limits[m->items[i].limits].role] +=
                    start[i] * m->items[i].requests_per_s;
        start[m->n] = fmin(by_role[ROLE_PREFILL], by_role[ROLE_DECODE]);
        ilp_limits.incumbent = start;
    }
    struct ilp_result result;
    if (!write_program(m, &ilp, err) || !ilp_solve(&result, &ilp, &ilp_limits, &scratch, err))
        goto done;
    note(m, &result);
    whole->proven = result.status == ILP_OPTIMAL || result.status == ILP_INFEASIBLE;
    whole->bound = price ? result.bound : -result.bound;
    if (result.x != NULL) {
        double *counts = ARENA_NEW(&scratch, double, m->n + 1);
        for (int i = 0; i < m->n; i++)
            counts[i] = nearbyint(result.x[i]);
        double value = price ? master_cost(m, counts) : master_served(m, counts);
        if (!whole->known || (price ? value < whole->value : value > whole->value)) {
            whole->known = true;
            whole->value = value;
            memcpy(whole->counts, counts, sizeof *counts * (size_t)m->n);
        }
    }
    ok = true;
done:
    arena_free(&scratch);
    return ok;
}
