/*
 * whole - the best plans for a whole cluster: unlike replicas, of mixed kinds, with the proof.
 *
 * Makes an instance of the model on the cluster (planner/stages.h), solves it (planner/columns.h) and
 * says the answer in the words of planner/search.h, so that the same simulator chooses.
 */
#ifndef PLANNER_WHOLE_H
#define PLANNER_WHOLE_H

#include "planner/columns.h"
#include "planner/search.h"
#include "planner/stages.h"

struct whole_question {
    const struct planner_input *input;
    struct cost_model *costs;
    const struct demand *demand;
    const struct layout *layouts;
    int n_layouts;
    int keep;        /* plans wanted beside the best */
    double tighten;  /* service objectives are multiplied by it; 1 = as they are */
    double gap_frac; /* good enough */
};

/* The solution first, then plans of equal replicas: the best that serve whole requests and the best with separate
 * pools in turn. n == 0 when nothing fits. */
MUST_CHECK bool whole_run(struct search_result *out, struct columns_result *solved,
        const struct whole_question *question, struct arena *arena, struct err *err);

/* A plan in the making of so many of each pattern; not one of a layout that is there and better. */
void whole_add_candidate(struct search_result *out, const struct whole_question *question,
        const struct stages *stages, const struct columns_pick *picks, int n, struct arena *arena);

#endif
