/* Least regret, held against plans for a cluster whose links are that slow. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <math.h>

#include "planner/robust.h"

#include "planner_runs.h"

static void make(struct fixture *f, struct planner_input *input)
{
    memset(f, 0, sizeof *f);
    fixture_model(f, 6, 0);
    fixture_kind(f, "gpu", 4, INT64_C(24) << 20, 5e10, 1e10);
    f->nodes[0].count = 2;
    fixture_accelerators(f);
    fixture_requests(f, 64, 40, 20);
    fixture_input(input, f);
}

static void robust(
        struct plan *plan, struct planner_input *input, struct fixture *f, const char *text)
{
    struct err err = {0};
    if (!plan_inflation_parse(&input->robust, text, &f->arena, &err))
        fail_msg("%s", err.text);
    fixture_plan(plan, input, f);
    input->robust = (struct plan_inflation){0};
    const struct plan_regret *r = &plan->why.regret;
    assert_string_equal(r->costs, text);
    assert_true(r->plans >= 2);
    assert_true(r->nominal_regret_frac >= 0 && r->inflated_regret_frac >= 0);
    /* The plan that is best with costs as told has no regret there: it was in the running. */
    assert_true(fmax(r->nominal_regret_frac, r->inflated_regret_frac)
                <= r->nominal_best_regret_frac + 1e-3);
    assert_true(fabs(r->nominal - plan->predicted.output_tokens_per_s) < 1e-9 * r->nominal);
}

static void near(double found, double expected, double frac)
{
    if (fabs(found - expected) > frac * fabs(expected))
        fail_msg("found %.9g, expected %.9g", found, expected);
}

static void slow_links_cost_what_a_slow_cluster_says(void **unused)
{
    (void)unused;
    for (int times = 2; times <= 32; times *= 4) {
        struct fixture f;
        struct planner_input input;
        struct plan plan;
        struct plan nominal;
        struct plan slow;
        make(&f, &input);
        fixture_plan(&nominal, &input, &f);
        robust(&plan, &input, &f, arena_printf(&f.arena, "network=%dx", times));
        f.links[0].rate /= times;
        f.links[0].latency_us *= times;
        fixture_plan(&slow, &input, &f);
        const struct plan_regret *r = &plan.why.regret;
        assert_string_equal(r->nominal_best, nominal.name);
        near(1 - r->nominal_regret_frac, r->nominal / nominal.predicted.output_tokens_per_s, 1e-9);
        near(1 - r->inflated_regret_frac, r->inflated / slow.predicted.output_tokens_per_s, 2e-3);
        arena_free(&f.arena);
    }
}

static void a_factor_of_everything_changes_no_choice(void **unused)
{
    (void)unused;
    struct fixture f;
    struct planner_input input;
    struct plan plan;
    struct plan nominal;
    make(&f, &input);
    fixture_plan(&nominal, &input, &f);
    robust(&plan, &input, &f, "2x");
    assert_string_equal(plan.name, nominal.name);
    near(plan.why.regret.nominal, 2 * plan.why.regret.inflated, 1e-3);
    assert_true(plan.why.regret.inflated_regret_frac < 1e-3);
    arena_free(&f.arena);
}

/* Estimated costs have wide intervals: their upper ends are worse than the medians. */
static void upper_ends_are_worse(void **unused)
{
    (void)unused;
    struct fixture f;
    struct planner_input input;
    struct plan plan;
    make(&f, &input);
    robust(&plan, &input, &f, "intervals");
    assert_true(plan.why.regret.inflated < plan.why.regret.nominal * 0.99);
    near(plan.why.regret.inflated / plan.why.regret.nominal, plan.predicted.lo_frac, 0.05);
    arena_free(&f.arena);
}

static void what_is_misspelt_is_told(void **unused)
{
    (void)unused;
    static const char *const texts[][2] = {
            {"network=2", "--robust network=2: found \"2\", expected a factor from 1x to 100x"},
            {"links=2x", "--robust links=2x: found \"links\", expected intervals, a factor such as "
                         "1.3x, network=1.5x or compute=1.2x"},
            {"1x", "--robust 1x: that inflates nothing, expected more than 1x"},
            {"interval",
                    "--robust interval: found \"interval\", expected a factor from 1x to 100x"},
            {"2x,0.5x", "--robust 2x,0.5x: found \"0.5x\", expected a factor from 1x to 100x"}};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct arena arena = {0};
        struct plan_inflation out;
        struct err err = {0};
        assert_false(plan_inflation_parse(&out, texts[i][0], &arena, &err));
        assert_string_equal(err.text, texts[i][1]);
        arena_free(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
            cmocka_unit_test(slow_links_cost_what_a_slow_cluster_says),
            cmocka_unit_test(a_factor_of_everything_changes_no_choice),
            cmocka_unit_test(upper_ends_are_worse),
            cmocka_unit_test(what_is_misspelt_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
