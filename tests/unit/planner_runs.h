/* Plans of the fixture's model on its cluster. Include after cmocka. */
#ifndef TESTS_UNIT_PLANNER_RUNS_H
#define TESTS_UNIT_PLANNER_RUNS_H

#include "planner/planner.h"

#include "planner_fixture.h"

static inline void fixture_input(struct planner_input *input, const struct fixture *f)
{
    *input = (struct planner_input){.model = &f->model,
            .cluster = &f->cluster,
            .workload = &f->workload,
            .requests = &f->requests,
            .dtype = DTYPE_BF16,
            .kv_dtype = DTYPE_BF16,
            .reproducible = true};
}

/* Devices of all kinds are accelerators: no threads to choose. */
static inline void fixture_accelerators(struct fixture *f)
{
    for (int k = 0; k < f->cluster.n_kinds; k++) {
        f->kinds[k].type = DEVICE_CUDA;
        f->kinds[k].n_threads = 0;
    }
}

static inline void fixture_plan(
        struct plan *plan, const struct planner_input *input, struct fixture *f)
{
    struct err err = {0};
    if (!planner_run(plan, input, &f->arena, &err))
        fail_msg("%s", err.text);
}

#endif
