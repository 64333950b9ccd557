/*
 * solve - all candidates for a question, best first, with what no legal plan exceeds.
 *
 * The program over the whole cluster (planner/whole.h), the search over configurations (planner/search.h), or
 * both where the whole program does not know everything that was asked. Open it anew for another cluster or other
 * costs: what one more device would buy is two of these.
 */
#ifndef PLANNER_SOLVE_H
#define PLANNER_SOLVE_H

#include "planner/columns.h"
#include "planner/search.h"

/* A plan is this close to the optimum before the program stops: no cost is known as well. */
#define SOLVE_GOOD_ENOUGH 5e-4

struct solve {
    const struct planner_input *input;
    struct demand demand;
    struct cost_model *costs;
    struct layout *layouts;
    int n_layouts;
    int keep;        /* layouts wanted beside the best */
    double gap_frac; /* the whole program stops this close; SOLVE_GOOD_ENOUGH */
    bool pools;      /* separate replicas of which something was forced: planner/forced_pools.h */
    bool whole, search; /* which of the two are asked; may be narrowed before it is run */
};
/* Borrows the input. Nothing to close after a failure. */
MUST_CHECK bool solve_open(
        struct solve *out, const struct planner_input *input, struct arena *arena, struct err *err);
void solve_close(struct solve *solve);

struct solved {
    struct search_result found;
    struct columns_result columns; /* of the whole cluster; all 0 when only the search was asked */
    bool both;                     /* the search was asked beside the whole program ... */
    double search_best;            /* ... and this is the score of its best, -HUGE_VAL = none */
    double seconds;
};
/* Service objectives are multiplied by tighten, 1 = as they are. found.n == 0 when nothing fits. */
MUST_CHECK bool solve_run(struct solved *out, const struct solve *solve, double tighten,
        struct arena *arena, struct err *err);
/* Whether --force fixes anything. */
bool solve_forced(const struct planner_input *input);

#endif
