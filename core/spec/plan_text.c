/* A plan in one line. */
#include <string.h>

#include "core/spec/plan.h"

/* "2" when all stages agree, else "2+1". */
static char *over_stages(const struct plan_replica *replica,
        int (*value)(const struct plan_stage *), struct arena *arena)
{
    int first = value(&replica->stages[0]);
    bool same = true;
    char *all = arena_strdup(arena, "");
    for (int i = 0; i < replica->n_stages; i++) {
        int v = value(&replica->stages[i]);
        same = same && v == first;
        all = arena_printf(arena, "%s%s%d", all, i == 0 ? "" : "+", v);
    }
    return same ? arena_printf(arena, "%d", first) : all;
}

static int tp_of(const struct plan_stage *stage)
{
    return stage->tp;
}

static int ep_of(const struct plan_stage *stage)
{
    return stage->ep;
}

static int attention_dp_of(const struct plan_stage *stage)
{
    return stage->attention_dp;
}

static int threads_of(const struct plan_stage *stage)
{
    return stage->threads;
}

/* "f8", or "bf16+f8" where stages differ; NULL when all have the plan's. */
static char *show_types(
        const struct plan *plan, const struct plan_replica *r, bool cache, struct arena *arena)
{
    char *text = NULL;
    bool same = true;
    bool own = false;
    for (int i = 0; i < r->n_stages; i++) {
        const struct plan_stage *s = &r->stages[i];
        enum dtype d = cache ? plan_stage_kv_dtype(plan, s) : plan_stage_dtype(plan, s);
        enum dtype first = cache ? plan_stage_kv_dtype(plan, &r->stages[0])
                                 : plan_stage_dtype(plan, &r->stages[0]);
        own = own || (cache ? s->kv_dtype : s->dtype) != STAGE_DTYPE_PLAN;
        same = same && d == first;
        text = i == 0 ? arena_strdup(arena, dtype_names[d])
                      : arena_printf(arena, "%s+%s", text, dtype_names[d]);
    }
    char *plus = text != NULL ? strchr(text, '+') : NULL;
    if (same && plus != NULL)
        *plus = '\0';
    return own ? text : NULL;
}

/* " dtype=bf16+f8 kv_dtype=f8" where stages have types of their own. */
static char *show_dtypes(const struct plan *plan, const struct plan_replica *r, struct arena *arena)
{
    char *weights = show_types(plan, r, false, arena);
    char *cache = show_types(plan, r, true, arena);
    return arena_printf(arena, "%s%s%s%s", weights != NULL ? " dtype=" : "",
            weights != NULL ? weights : "", cache != NULL ? " kv_dtype=" : "",
            cache != NULL ? cache : "");
}

static char *show_replica(
        const struct plan *plan, const struct plan_replica *r, int n, struct arena *arena)
{
    char *layers = arena_strdup(arena, "");
    for (int i = 0; i < r->n_stages; i++)
        layers = arena_printf(arena, "%s%s%d", layers, i == 0 ? "" : "+",
                r->stages[i].end_layer - r->stages[i].first_layer);
    char *flight = r->n_stages > 1 ? arena_printf(arena, " in_flight=%d", r->in_flight)
                                   : arena_strdup(arena, "");
    return arena_printf(arena,
            "tp=%s pp=%d dp=%d ep=%s adp=%s threads=%s layers=%s max_seqs=%d max_tokens=%d%s%s%s",
            over_stages(r, tp_of, arena), r->n_stages, n, over_stages(r, ep_of, arena),
            over_stages(r, attention_dp_of, arena), over_stages(r, threads_of, arena), layers,
            r->max_seqs, r->max_tokens, flight, show_dtypes(plan, r, arena),
            r->role == ROLE_MIXED ? ""
                                  : arena_printf(arena, " role=%s", replica_role_names[r->role]));
}

char *plan_show(const struct plan *plan, struct arena *arena)
{
    char *text = NULL;
    for (int i = 0; i < plan->n_replicas;) {
        char *one = show_replica(plan, &plan->replicas[i], 1, arena);
        int n = 1;
        while (i + n < plan->n_replicas
                && strcmp(show_replica(plan, &plan->replicas[i + n], 1, arena), one) == 0)
            n++;
        one = show_replica(plan, &plan->replicas[i], n, arena);
        text = text == NULL ? one : arena_printf(arena, "%s and %s", text, one);
        i += n;
    }
    return text == NULL ? arena_strdup(arena, "no replicas") : text;
}
