#include "planner/robust.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/str.h"

/* Regrets this close are equal: the better plan by the costs as told is taken. */
#define TIE 1e-3

enum {
    MOST_PLANS = 10, /* of each answer */
    MOST_FACTOR = 100
};

static bool parse_factor(double *out, const char *text, const char *factor, struct err *err)
{
    size_t len = strlen(factor);
    char number[32];
    struct err reason = {0};
    bool sized = len > 1 && len < sizeof number && factor[len - 1] == 'x';
    if (sized) {
        memcpy(number, factor, len - 1);
        number[len - 1] = '\0';
    }
    if (sized && str_to_double(out, number, &reason) && *out >= 1 && *out <= MOST_FACTOR)
        return true;
    return err_set(err, ERR_INPUT, "--robust %s: found \"%s\", expected a factor from 1x to %dx",
            text, factor, MOST_FACTOR);
}

static bool parse_item(
        struct plan_inflation *out, const char *text, const char *item, struct err *err)
{
    double factor = 1;
    if (strcmp(item, "intervals") == 0) {
        out->upper = true;
        return true;
    }
    const char *equals = strchr(item, '=');
    if (!parse_factor(&factor, text, equals != NULL ? equals + 1 : item, err))
        return false;
    bool network = strncmp(item, "network=", 8) == 0;
    bool compute = strncmp(item, "compute=", 8) == 0;
    if (equals != NULL && !network && !compute)
        return err_set(err, ERR_INPUT,
                "--robust %s: found \"%.*s\", expected intervals, a factor such as 1.3x, "
                "network=1.5x or compute=1.2x",
                text, (int)(equals - item), item);
    out->compute *= network ? 1 : factor;
    out->network *= compute ? 1 : factor;
    return true;
}

bool plan_inflation_parse(
        struct plan_inflation *out, const char *text, struct arena *arena, struct err *err)
{
    *out = (struct plan_inflation){.text = text, .compute = 1, .network = 1};
    char *rest = arena_strdup(arena, text);
    for (;;) {
        char *comma = strchr(rest, ',');
        if (comma != NULL)
            *comma = '\0';
        if (!parse_item(out, text, rest, err))
            return false;
        if (comma == NULL)
            break;
        rest = comma + 1;
    }
    if (!out->upper && out->compute <= 1 && out->network <= 1)
        return err_set(
                err, ERR_INPUT, "--robust %s: that inflates nothing, expected more than 1x", text);
    return true;
}

/* A plan under both sets of costs. */
struct entry {
    int item; /* of the choice */
    struct finalist inflated;
    double regret[2]; /* nominal, inflated */
    double worst;
};

struct pool {
    struct entry *items;
    int n;
};

static const struct finalist *side(
        const struct pool *pool, const struct choice *choice, int i, int s)
{
    return s == 0 ? &choice->items[pool->items[i].item] : &pool->items[i].inflated;
}

/* The best of the pool with one set of costs, among those that meet the objectives where any does. */
static int best_of(const struct pool *pool, const struct choice *choice, int s,
        const struct planner_input *input)
{
    int best = 0;
    for (int i = 1; i < pool->n; i++) {
        const struct finalist *a = side(pool, choice, i, s);
        const struct finalist *b = side(pool, choice, best, s);
        bool better = choose_value(a, input) > choose_value(b, input);
        if (a->meets_slo != b->meets_slo ? a->meets_slo : better)
            best = i;
    }
    return best;
}

/* A plan that misses the objectives where another meets them has lost all. */
static double regret_of(
        const struct finalist *f, const struct finalist *best, const struct planner_input *input)
{
    double top = choose_value(best, input);
    if (best->meets_slo && !f->meets_slo)
        return 1;
    return fmax(0, (top - choose_value(f, input)) / fmax(fabs(top), 1e-300));
}

static int by_worst(const void *a, const void *b)
{
    const struct entry *x = a;
    const struct entry *y = b;
    if (fabs(x->worst - y->worst) > TIE)
        return x->worst < y->worst ? -1 : 1;
    if (x->regret[0] != y->regret[0])
        return x->regret[0] < y->regret[0] ? -1 : 1;
    return (x->item > y->item) - (x->item < y->item);
}

/* Every plan that either answer thinks well of, simulated under both sets of costs. */
static bool fill(struct pool *pool, struct choice *choice, const struct choice *worse,
        const struct solve *solve, const struct solve *inflated, struct arena *arena,
        struct err *err)
{
    bool *taken = ARENA_NEW(arena, bool, choice->n + worse->n + 1);
    int n_own = choice->n_runners_up < MOST_PLANS ? choice->n_runners_up : MOST_PLANS - 1;
    int n_worse = worse->n_runners_up < MOST_PLANS ? worse->n_runners_up : MOST_PLANS - 1;
    pool->items = ARENA_NEW(arena, struct entry, (int64_t)2 * MOST_PLANS);
    for (int i = -1; i < n_own; i++)
        taken[i < 0 ? choice->chosen : choice->runners_up[i]] = true;
    for (int i = -1; i < n_worse && worse->n > 0; i++) {
        const struct finalist *f = &worse->items[i < 0 ? worse->chosen : worse->runners_up[i]];
        int at;
        if (!choose_add(&at, choice, f->candidate, solve, arena, err))
            return false;
        taken[at] = true;
    }
    for (int i = 0; i < choice->n; i++) {
        if (!taken[i])
            continue;
        struct entry *e = &pool->items[pool->n++];
        e->item = i;
        e->inflated.candidate = choice->items[i].candidate;
        e->inflated.plan = choice->items[i].plan;
        if (!choose_simulate(&e->inflated, solve->input, inflated->costs, arena, err))
            return false;
    }
    return true;
}

static void judge(struct pool *pool, struct choice *choice, struct plan_regret *out,
        const struct planner_input *input, struct arena *arena)
{
    int best[2];
    for (int s = 0; s < 2; s++) {
        best[s] = best_of(pool, choice, s, input);
        const struct finalist *top = side(pool, choice, best[s], s);
        for (int i = 0; i < pool->n; i++) {
            struct entry *e = &pool->items[i];
            e->regret[s] = regret_of(side(pool, choice, i, s), top, input);
            e->worst = fmax(e->worst, e->regret[s]);
        }
    }
    const struct entry nominal = pool->items[best[0]];
    qsort(pool->items, (size_t)pool->n, sizeof *pool->items, by_worst);
    const struct entry *chosen = &pool->items[0];
    choice->chosen = chosen->item;
    choice->slo_missed = !choice->items[chosen->item].meets_slo;
    choice->runners_up = ARENA_NEW(arena, int, pool->n);
    choice->n_runners_up = 0;
    for (int i = 1; i < pool->n; i++)
        choice->runners_up[choice->n_runners_up++] = pool->items[i].item;
    *out = (struct plan_regret){
            .costs = input->robust.text,
            .plans = pool->n,
            .nominal = fabs(choose_value(&choice->items[chosen->item], input)),
            .inflated = fabs(choose_value(&chosen->inflated, input)),
            .nominal_regret_frac = chosen->regret[0],
            .inflated_regret_frac = chosen->regret[1],
            .nominal_best = choice->items[nominal.item].plan.name,
            .nominal_best_inflated = fabs(choose_value(&nominal.inflated, input)),
            .nominal_best_regret_frac = nominal.regret[1],
    };
}

bool robust_choose(struct choice *choice, struct plan_regret *out, const struct solve *solve,
        struct arena *arena, struct err *err)
{
    bool ok = false;
    const struct planner_input *input = solve->input;
    struct planner_input again = *input;
    struct solve inflated;
    struct solved solved;
    struct choice worse;
    struct pool pool = {0};
    again.export_lp = NULL;
    if (!solve_open(&inflated, &again, arena, err))
        return false;
    cost_inflate(inflated.costs, input->robust.upper, input->robust.compute, input->robust.network);
    if (!solve_run(&solved, &inflated, 1, arena, err))
        goto done;
    worse = (struct choice){0};
    if (solved.found.n > 0 && !choose_plan(&worse, &solved, &inflated, arena, err))
        goto done;
    if (!fill(&pool, choice, &worse, solve, &inflated, arena, err))
        goto done;
    judge(&pool, choice, out, input, arena);
    ok = true;
done:
    solve_close(&inflated);
    return ok;
}
