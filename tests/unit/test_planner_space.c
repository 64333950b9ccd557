/* Types of weights and caches by stage: what is legal where, and what allowing more brings. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <math.h>

#include "planner/planner.h"

#include "planner_runs.h"

#define KIB (INT64_C(1) << 10)

static const struct dtype_pair pairs[] = {{DTYPE_BF16, DTYPE_BF16}, {DTYPE_F8, DTYPE_F8},
        {DTYPE_F8, DTYPE_BF16}, {DTYPE_F32, DTYPE_BF16}};
static const char *const no_8_bits[] = {"f32", "bf16", "f16"};

/* One old device and one new one. */
static void make(
        struct fixture *f, struct planner_input *input, int64_t old_bytes, int64_t new_bytes)
{
    memset(f, 0, sizeof *f);
    fixture_model(f, 8, 0);
    fixture_kind(f, "old", 1, old_bytes, 5e10, 1e10);
    fixture_kind(f, "new", 1, new_bytes, 1e11, 2e10);
    fixture_accelerators(f);
    f->kinds[0].dtypes = no_8_bits;
    f->kinds[0].n_dtypes = 3;
    fixture_requests(f, 16, 40, 20);
    fixture_input(input, f);
}

static void allow(struct planner_input *input, const struct dtype_pair *of, int n)
{
    input->dtypes = of;
    input->n_dtypes = n;
    input->dtype = of[0].weights;
    input->kv_dtype = of[0].kv;
}

/* A model of some 14 MiB in bf16: neither device holds it, nor do both, unless the new one has 8 bits. */
static void stages_differ_where_kinds_do(void **unused)
{
    (void)unused;
    struct fixture f;
    struct planner_input input;
    struct plan plan;
    struct err err = {0};
    make(&f, &input, 9000 * KIB, 5000 * KIB);
    assert_false(planner_run(&plan, &input, &f.arena, &err));
    assert_int_equal(err.kind, ERR_NO);
    allow(&input, &pairs[1], 1);
    assert_false(planner_run(&plan, &input, &f.arena, &err)); /* the old one takes none of it */
    assert_int_equal(err.kind, ERR_NO);
    allow(&input, pairs, 2);
    if (!planner_run(&plan, &input, &f.arena, &err))
        fail_msg("%s", err.text);
    assert_int_equal(plan.replicas[0].n_stages, 2);
    for (int s = 0; s < 2; s++) {
        struct plan_stage *stage = &plan.replicas[0].stages[s];
        bool old = strcmp(stage->kind, "old") == 0;
        assert_int_equal(plan_stage_dtype(&plan, stage), old ? DTYPE_BF16 : DTYPE_F8);
        if (!old)
            continue;
        int was = stage->dtype;
        err = (struct err){0};
        stage->dtype = STAGE_DTYPE_FIRST + DTYPE_F8;
        assert_false(plan_check(&plan, &f.model, &f.cluster, &err));
        assert_non_null(strstr(err.text, "has weights of f8, which device kind old does not list"));
        stage->dtype = was;
    }
    assert_true(plan_check(&plan, &f.model, &f.cluster, &err));
    arena_free(&f.arena);
}

static double bound(
        struct fixture *f, struct planner_input *input, const struct dtype_pair *of, int n)
{
    struct plan plan;
    struct err err = {0};
    allow(input, of, n);
    if (planner_run(&plan, input, &f->arena, &err)) {
        /* What all stages have in common stands once. */
        for (int s = 0; s < plan.replicas[0].n_stages && n == 1; s++)
            assert_int_equal(plan.replicas[0].stages[s].dtype, STAGE_DTYPE_PLAN);
        if (n == 1)
            assert_int_equal(plan.dtype, of[0].weights);
        return input->objective == OBJECTIVE_THROUGHPUT ? plan.certificate.value
                                                        : -plan.certificate.value;
    }
    assert_int_equal(err.kind, ERR_NO);
    return -HUGE_VAL;
}

/* By the program over the cluster and by the search of configurations. */
static void more_types_never_hurt(void **unused)
{
    (void)unused;
    const int objectives[] = {OBJECTIVE_THROUGHPUT, OBJECTIVE_TPOT};
    int better = 0;
    for (int o = 0; o < 2; o++)
        for (int64_t kib = 4000; kib < 40000; kib *= 2) {
            struct fixture f;
            struct planner_input input;
            make(&f, &input, kib * KIB, 40000 * KIB - kib * KIB);
            input.objective = objectives[o];
            double all = bound(&f, &input, pairs, 4);
            for (int i = 0; i < 4; i++) {
                double one = bound(&f, &input, &pairs[i], 1);
                assert_true(all >= one - 1e-3 * fabs(all));
                better += i == 0 && all > one + 1e-2 * fabs(all);
            }
            arena_free(&f.arena);
        }
    assert_true(better > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
            cmocka_unit_test(stages_differ_where_kinds_do),
            cmocka_unit_test(more_types_never_hurt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
