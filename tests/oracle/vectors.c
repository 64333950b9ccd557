#include "tests/oracle/vectors.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int common(int a, int b)
{
    return b == 0 ? a : common(b, a % b);
}

bool vectors_init(struct vectors *v, const struct instance *in, int limit)
{
    *v = (struct vectors){.kinds = in->n_kinds};
    int64_t states = 1;
    for (int k = 0; k < in->n_kinds; k++) {
        int unit = 0;
        for (int c = 0; c < in->n_configs; c++)
            unit = common(unit, in->configs[c].devices[k]);
        int64_t most = unit > 0 ? in->kinds[k].devices / unit : 0;
        v->unit[k] = unit > 0 ? unit : 1;
        v->step[k] = (int)states;
        if (most >= limit || (states *= most + 1) > limit)
            return false;
        v->most[k] = (int)most;
    }
    v->n_states = (int)states;
    return true;
}

/* Whether state `part` takes no more of any kind than `all`. */
static bool inside(const struct vectors *v, int part, int all)
{
    for (int k = 0; k < v->kinds; k++)
        if (vectors_at(v, part, k) > vectors_at(v, all, k))
            return false;
    return true;
}

double *vectors_fill(const struct vectors *v, const double *best)
{
    double *served = calloc((size_t)v->n_states, sizeof *served);
    int *patterns = calloc((size_t)v->n_states, sizeof *patterns);
    int n = 0;
    for (int state = 1; state < v->n_states; state++)
        if (best[state] > 0)
            patterns[n++] = state;
    for (int state = 1; state < v->n_states; state++) {
        for (int k = 0; k < v->kinds; k++)
            if (vectors_at(v, state, k) > 0)
                served[state] = fmax(served[state], served[state - v->step[k]]);
        for (int i = 0; i < n && patterns[i] <= state; i++)
            if (inside(v, patterns[i], state))
                served[state] =
                        fmax(served[state], best[patterns[i]] + served[state - patterns[i]]);
    }
    free(patterns);
    return served;
}

double *vectors_join(const struct vectors *v, double *const best[ROLES])
{
    int last = v->n_states - 1;
    double *served[ROLES];
    for (int r = 0; r < ROLES; r++)
        served[r] = vectors_fill(v, best[r]);
    double *whole = calloc((size_t)v->n_states, sizeof *whole);
    memcpy(whole, served[ROLE_MIXED], sizeof *whole * (size_t)v->n_states);
    if (served[ROLE_PREFILL][last] > 0 && served[ROLE_DECODE][last] > 0) {
        double *pooled = calloc((size_t)v->n_states, sizeof *pooled);
        for (int all = 0; all < v->n_states; all++)
            for (int part = 0; part <= all; part++)
                if (inside(v, part, all))
                    pooled[all] = fmax(pooled[all],
                            fmin(served[ROLE_PREFILL][part], served[ROLE_DECODE][all - part]));
        for (int all = 0; all < v->n_states; all++)
            for (int part = 0; part <= all; part++)
                if (inside(v, part, all))
                    whole[all] = fmax(whole[all], served[ROLE_MIXED][all - part] + pooled[part]);
        free(pooled);
    }
    for (int r = 0; r < ROLES; r++)
        free(served[r]);
    return whole;
}
