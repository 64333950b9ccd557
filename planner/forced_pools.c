#include "planner/forced_pools.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "planner/stages.h"

enum {
    MOST_STAGES = 8, /* where pp is not forced, as in planner/stages.h */
    MOST_PAIRS = 64  /* patterns of a side that are tried with those of the other */
};

/* The patterns of a side, the best first. */
struct side {
    enum replica_role role;
    struct plan_force force;
    int first_config, end_config;
    struct pattern *items;
    int n, cap;
};

struct finder {
    const struct whole_question *q;
    const struct instance *in;
    const struct price_table *table;
    struct arena *arena;
    double *least; /* [stages][end]: the slowest stage, or the sum of all with one micro-batch in flight */
    int *cut; /* [stages][end]: where the last of them begins */
};

/* Whether layers [first, end) may be stage s. */
static bool may_be(const struct plan_force *force, int s, int first, int end)
{
    int at = 0;
    for (int i = 0; i < s && i < force->n_layers; i++)
        at += force->layers[i];
    return force->n_layers == 0 || (at == first && at + force->layers[s] == end);
}

/* The best cuts into stages of one kind and configuration; false when some stage has no room. */
static bool cut_layers(struct finder *f, struct pattern *p, const struct plan_force *force,
        const struct pattern_stage *way)
{
    int side = f->in->n_layers + 1;
    for (int i = 0; i < (p->n_stages + 1) * side; i++)
        f->least[i] = HUGE_VAL;
    f->least[0] = 0;
    for (int s = 0; s < p->n_stages; s++)
        for (int first = s; first < f->in->n_layers; first++)
            for (int end = first + 1; end <= f->in->n_layers; end++) {
                const struct instance_price *price =
                        price_table_at(f->table, way->kind, way->config, p->limits, first, end);
                double before = f->least[s * side + first];
                if (isinf(before) || price == NULL || price->most_in_flight < p->in_flight
                        || !may_be(force, s, first, end))
                    continue;
                double us = p->in_flight > 1 ? fmax(before, price->us) : before + price->us;
                if (us < f->least[(s + 1) * side + end]) {
                    f->least[(s + 1) * side + end] = us;
                    f->cut[(s + 1) * side + end] = first;
                }
            }
    if (isinf(f->least[p->n_stages * side + f->in->n_layers]))
        return false;
    for (int s = p->n_stages, end = f->in->n_layers; s > 0; s--) {
        int first = f->cut[s * side + end];
        p->stages[s - 1] = (struct pattern_stage){way->kind, way->config, first, end};
        end = first;
    }
    return true;
}

static void try_pattern(
        struct finder *f, struct side *side, struct pattern p, const struct pattern_stage *way)
{
    p.stages = ARENA_NEW(f->arena, struct pattern_stage, p.n_stages);
    if (!cut_layers(f, &p, &side->force, way) || !pattern_price(&p, f->in, f->table))
        return;
    if (side->n == side->cap) {
        side->cap = side->cap > 0 ? 2 * side->cap : 64;
        side->items = arena_grow(f->arena, side->items, side->n, side->cap, sizeof *side->items);
    }
    side->items[side->n++] = p;
}

static bool other(int forced, int value)
{
    return forced > 0 && forced != value;
}

static void try_way(
        struct finder *f, struct side *side, int limits, const struct pattern_stage *way)
{
    const struct plan_force *force = &side->force;
    int pp = force->n_layers > 0 ? force->n_layers : force->pp;
    int most = pp > 0 ? pp : MOST_STAGES;
    if (most > f->in->n_layers || most > INSTANCE_STAGES)
        most = f->in->n_layers < INSTANCE_STAGES ? f->in->n_layers : INSTANCE_STAGES;
    for (int n = 1; n <= most; n++)
        for (int in_flight = 1; in_flight <= n && !other(pp, n); in_flight++) {
            bool end = in_flight == 1 || in_flight == n;
            if (other(force->in_flight, in_flight) || (force->in_flight == 0 && !end))
                continue;
            try_pattern(f, side,
                    (struct pattern){.limits = limits, .in_flight = in_flight, .n_stages = n}, way);
        }
}

/* Requests a second for a device, those with the fewest first among equals. */
static int by_rate(const void *a, const void *b)
{
    const struct pattern *x = a;
    const struct pattern *y = b;
    int64_t nx = 0;
    int64_t ny = 0;
    for (int k = 0; k < INSTANCE_KINDS; k++) {
        nx += x->devices[k];
        ny += y->devices[k];
    }
    double rx = x->requests_per_s / (double)nx;
    double ry = y->requests_per_s / (double)ny;
    if (rx != ry)
        return rx > ry ? -1 : 1;
    return pattern_compare(x, y);
}

static bool beats(const struct pattern *a, const struct pattern *b)
{
    bool better = a->requests_per_s >= b->requests_per_s;
    for (int k = 0; better && k < INSTANCE_KINDS; k++)
        better = a->devices[k] <= b->devices[k];
    return better;
}

/* Only those that no other one beats in rate and devices. */
static void find_side(struct finder *f, struct side *side)
{
    for (int l = 0; l < f->in->n_limits; l++)
        for (int c = side->first_config; c < side->end_config; c++)
            for (int k = 0; k < f->in->n_kinds; k++)
                if (f->in->limits[l].role == (int)side->role
                        && price_table_way(f->table, k, c, l) != NULL)
                    try_way(f, side, l, &(struct pattern_stage){.kind = k, .config = c});
    if (side->n > 0)
        qsort(side->items, (size_t)side->n, sizeof *side->items, by_rate);
    int kept = 0;
    for (int i = 0; i < side->n; i++) {
        bool beaten = false;
        for (int j = 0; j < kept && !beaten; j++)
            beaten = beats(&side->items[j], &side->items[i]);
        if (!beaten && kept < MOST_PAIRS)
            side->items[kept++] = side->items[i];
    }
    side->n = kept;
}

struct pair {
    struct columns_pick picks[2];
    double rate;
};

/* So many of both, where there are as many devices. */
static void try_counts(struct pair *best, const struct instance *in, const struct pattern *prefill,
        int64_t n_prefill, const struct pattern *decode, int64_t n_decode)
{
    double rate = fmin(
            (double)n_prefill * prefill->requests_per_s, (double)n_decode * decode->requests_per_s);
    for (int k = 0; k < in->n_kinds; k++)
        if (n_prefill * prefill->devices[k] + n_decode * decode->devices[k] > in->kinds[k].devices)
            return;
    if (rate > best->rate)
        *best = (struct pair){{{*prefill, n_prefill}, {*decode, n_decode}}, rate};
}

static struct pair best_counts(const struct instance *in, const struct side *sides,
        const struct pattern *prefill, const struct pattern *decode)
{
    struct pair best = {.rate = 0};
    int64_t n = sides[0].force.dp;
    int64_t m = sides[1].force.dp;
    double ratio = prefill->requests_per_s / decode->requests_per_s;
    int64_t all = 0;
    for (int k = 0; k < in->n_kinds; k++)
        all += in->kinds[k].devices;
    /* For each number of the one side, just as many of the other as keep up, or one less. */
    for (int64_t i = n > 0 ? n : 1; i <= (n > 0 ? n : all); i++) {
        int64_t enough = (int64_t)ceil((double)i * ratio - 1e-9);
        int64_t least = m > 0 ? m : enough > 1 ? enough - 1 : 1;
        for (int64_t j = least; j <= (m > 0 ? m : enough); j++)
            try_counts(&best, in, prefill, i, decode, j);
    }
    /* And the other way round: what the rest of the devices holds. */
    for (int64_t j = m > 0 ? m : 1; j <= (m > 0 ? m : all) && n == 0; j++)
        try_counts(&best, in, prefill, (int64_t)ceil((double)j / ratio - 1e-9), decode, j);
    return best;
}

static int by_pair(const void *a, const void *b)
{
    const struct pair *x = a;
    const struct pair *y = b;
    if (x->rate != y->rate)
        return x->rate > y->rate ? -1 : 1;
    int order = pattern_compare(&x->picks[0].pattern, &y->picks[0].pattern);
    return order != 0 ? order : pattern_compare(&x->picks[1].pattern, &y->picks[1].pattern);
}

static void pair_up(struct search_result *out, const struct finder *f, const struct side *sides,
        const struct stages *stages)
{
    struct pair *pairs = ARENA_NEW(f->arena, struct pair, (int64_t)sides[0].n * sides[1].n + 1);
    int n = 0;
    for (int i = 0; i < sides[0].n; i++)
        for (int j = 0; j < sides[1].n; j++) {
            pairs[n] = best_counts(f->in, sides, &sides[0].items[i], &sides[1].items[j]);
            n += pairs[n].rate > 0;
        }
    qsort(pairs, (size_t)n, sizeof *pairs, by_pair);
    out->items = ARENA_NEW(f->arena, struct candidate, (int64_t)f->q->keep + 1);
    for (int i = 0; i < n && out->n < f->q->keep; i++) {
        int64_t at = out->n;
        whole_add_candidate(out, f->q, stages, pairs[i].picks, 2, f->arena);
        for (int r = 0; at < out->n && r < 2; r++)
            if (sides[r].force.kv_blocks > 0)
                out->items[at].replicas[r].kv_blocks = sides[r].force.kv_blocks;
    }
    out->evaluated = n;
    out->best = out->bound = out->n > 0 ? out->items[0].score : 0;
}

/* Layouts of both sides, one list: configurations of the prefill side come first. */
static bool find_layouts(struct layout **out, int *n, struct side *sides,
        const struct planner_input *input, struct arena *arena, struct err *err)
{
    struct layout *of[2];
    int count[2];
    for (int r = 0; r < 2; r++) {
        struct planner_input one = *input;
        one.force = sides[r].force;
        int layers = 0;
        for (int i = 0; i < one.force.n_layers; i++)
            layers += one.force.layers[i];
        if (one.force.n_layers > 0 && layers != input->model->n_layers)
            return err_set(err, ERR_INPUT,
                    "--force layers: the stages of the %s replicas hold %d layers in all; %s has "
                    "%d",
                    replica_role_names[sides[r].role], layers, input->model->name,
                    input->model->n_layers);
        if (!space_layouts(&of[r], &count[r], &one, arena, err))
            return err_context(err, "%s replicas", replica_role_names[sides[r].role]);
        sides[r].first_config = r == 0 ? 0 : count[0];
        sides[r].end_config = sides[r].first_config + count[r];
    }
    *n = count[0] + count[1];
    *out = ARENA_NEW(arena, struct layout, *n);
    memcpy(*out, of[0], sizeof **out * (size_t)count[0]);
    memcpy(*out + count[0], of[1], sizeof **out * (size_t)count[1]);
    return true;
}

bool forced_pools_run(struct search_result *out, const struct whole_question *q,
        struct arena *arena, struct err *err)
{
    struct side sides[2] = {{.role = ROLE_PREFILL}, {.role = ROLE_DECODE}};
    struct layout *layouts = NULL;
    int n = 0;
    memset(out, 0, sizeof *out);
    for (int r = 0; r < 2; r++)
        sides[r].force = plan_force_of(&q->input->force, sides[r].role);
    if (!find_layouts(&layouts, &n, sides, q->input, arena, err))
        return false;
    struct stages *stages = stages_open(q->input, q->costs, q->demand, layouts, n, q->tighten, err);
    if (stages == NULL)
        return false;
    const struct instance *in = stages_instance(stages);
    int64_t cells = (int64_t)(in->n_layers + 1) * (in->n_layers + 2);
    struct finder f = {.q = q,
            .in = in,
            .arena = arena,
            .least = ARENA_NEW(arena, double, cells),
            .cut = ARENA_NEW(arena, int, cells)};
    out->complete = true;
    out->configs = (int64_t)in->n_configs * in->n_limits;
    struct price_table *table = in->n_limits > 0 ? price_table_open(in, err) : NULL;
    bool ok = table != NULL || in->n_limits == 0;
    if (table != NULL) {
        f.table = table;
        for (int r = 0; r < 2; r++)
            find_side(&f, &sides[r]);
        pair_up(out, &f, sides, stages);
    }
    price_table_close(table);
    stages_close(stages);
    return ok;
}
