/*
 * What decode replicas leave to the others (docs/ilp.md, C22). All choices of decode replicas that matter are walked
 * through, depth first. What prefill and whole replicas can do on the devices that are left has a bound by its own linear
 * program, which is nearly always enough: these two roles, which have the most patterns, need not be listed. Every such
 * bound holds for smaller rests, too, and ends other branches of the walk.
 */
#include <string.h>

#include "planner/columns_rest.h"

enum {
    MOST_NODES = 400000 /* choices of decode replicas */
};

void columns_add_cut(struct solver *s, const struct columns_cut *cut)
{
    if (s->n_cuts % 64 == 0)
        s->cuts = arena_grow(s->arena, s->cuts, s->n_cuts, s->n_cuts + 64, sizeof *s->cuts);
    s->cuts[s->n_cuts++] = *cut;
}

static bool possible(const struct split *sp, const struct rest *rest, bool more)
{
    for (int i = sp->s->n_cuts - 1; i >= 0; i--)
        if (rest_most(sp, &sp->s->cuts[i], rest, more)
                < rest_needed(sp, rest) - REST_ROUNDING * sp->aim)
            return false;
    return true;
}

static bool walk(struct split *sp, const struct rest *rest)
{
    if (++sp->nodes > MOST_NODES)
        sp->open = true;
    if (sp->open || !possible(sp, rest, true))
        return true;
    if (possible(sp, rest, false) && !rest_judge(sp, rest))
        return false;
    for (int i = rest->next; i < sp->n_items && !sp->open; i++) {
        const struct split_item *item = &sp->items[i];
        const struct pattern *pattern = rest_pattern(sp, item->pattern);
        if (!rest_fits(sp, pattern, rest->devices))
            continue;
        struct rest next = *rest;
        for (int k = 0; k < sp->s->instance->n_kinds; k++)
            next.devices[k] -= (double)pattern->devices[k];
        next.next = i;
        if (i < sp->n_whole)
            next.whole += item->rate;
        else
            next.decode += item->rate;
        sp->path[sp->n_path++] = item->pattern;
        bool ok = walk(sp, &next);
        sp->n_path--;
        if (!ok)
            return false;
    }
    return true;
}

/* Patterns of a role, but for small ones, that no other one beats in rate and devices, the fastest first. */
static void list_items(struct split *sp, int role)
{
    const struct master *m = &sp->s->master;
    int first = sp->n_items;
    for (int i = 0; i < m->n; i++) {
        const struct pattern *p = &m->items[i];
        bool beaten = rest_role(sp, i) != role || p->requests_per_s <= sp->small_rate[role];
        for (int j = 0; j < m->n && !beaten; j++) {
            const struct pattern *q = &m->items[j];
            bool better =
                    j != i && rest_role(sp, j) == role && q->requests_per_s >= p->requests_per_s;
            bool equal = better && q->requests_per_s <= p->requests_per_s;
            for (int k = 0; k < sp->s->instance->n_kinds && better; k++) {
                better = q->devices[k] <= p->devices[k];
                equal = equal && q->devices[k] == p->devices[k];
            }
            beaten = better && (!equal || j < i);
        }
        if (beaten)
            continue;
        int at = sp->n_items++;
        for (; at > first && sp->items[at - 1].rate < p->requests_per_s; at--)
            sp->items[at] = sp->items[at - 1];
        sp->items[at] = (struct split_item){i, p->requests_per_s};
    }
}

bool columns_split(struct solver *s, struct master_whole *whole,
        const struct columns_split_ask *ask, double *aim, bool *proven, struct err *err)
{
    struct split sp = {.s = s,
            .whole = whole,
            .aim = *aim,
            .slack_frac = ask->slack_frac,
            .looks = ask->looks,
            .effort = ask->effort,
            .err = err};
    memcpy(sp.small_rate, ask->small_rate, sizeof sp.small_rate);
    struct rest rest = {0};
    int64_t replicas = 0;
    for (int k = 0; k < s->instance->n_kinds; k++) {
        rest.devices[k] = (double)s->instance->kinds[k].devices;
        replicas += s->instance->kinds[k].devices;
    }
    sp.path = ARENA_NEW(s->arena, int, replicas + 1);
    sp.items = ARENA_NEW(s->arena, struct split_item, s->master.n + 1);
    list_items(&sp, ROLE_MIXED);
    sp.n_whole = sp.n_items;
    list_items(&sp, ROLE_DECODE);
    bool ok = walk(&sp, &rest);
    *proven = ok && !sp.open;
    *aim = sp.aim;
    return ok;
}
