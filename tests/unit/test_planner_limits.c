/* What limits claim, held against plans for clusters that have more. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <math.h>

#include "planner/limits.h"

#include "planner_runs.h"

#define MIB (INT64_C(1) << 20)

/* Two kinds of accelerators: 2 machines of 4, and 1 machine of 2 that is twice as fast. */
static void make(struct fixture *f, struct planner_input *input, int64_t memory)
{
    memset(f, 0, sizeof *f);
    fixture_model(f, 6, 0);
    fixture_kind(f, "old", 4, memory, 5e10, 1e10);
    fixture_kind(f, "new", 2, memory, 1e11, 2e10);
    f->nodes[0].count = 2;
    fixture_accelerators(f);
    fixture_requests(f, 64, 40, 20);
    fixture_input(input, f);
    input->explain = true;
}

static const struct plan_limit *limit(const struct plan *plan, const char *name)
{
    for (int i = 0; i < plan->why.n_limits; i++)
        if (strcmp(plan->why.limits[i].name, name) == 0)
            return &plan->why.limits[i];
    fail_msg("no limit %s", name);
    return NULL;
}

/* No plan of this cluster has a better steady state; the program stops this close to it. */
static double most(const struct planner_input *base, struct fixture *f)
{
    struct planner_input input = *base;
    struct plan plan;
    input.explain = false;
    fixture_plan(&plan, &input, f);
    assert_int_equal(
            plan.why.n_limits, 4); /* count and memory of two kinds: nothing was solved again */
    assert_true(plan.why.limits[0].more == 0);
    return plan.certificate.bound;
}

static void near(double found, double expected, double scale)
{
    if (fabs(found - expected) > 2 * SOLVE_GOOD_ENOUGH * scale)
        fail_msg("found %.9g, expected %.9g", found, expected);
}

static void gains_are_those_of_the_larger_cluster(void **unused)
{
    (void)unused;
    struct fixture f;
    struct planner_input input;
    struct plan plan;
    make(&f, &input, 64 * MIB);
    fixture_plan(&plan, &input, &f);
    double base = most(&input, &f);

    f.nodes[0].count++;
    near(limit(&plan, "old.count")->buys, most(&input, &f) - base, base);
    assert_true(limit(&plan, "old.count")->more == 4);
    assert_true(limit(&plan, "old.count")->there_is == 8);
    f.nodes[0].count--;

    f.nodes[1].count++;
    near(limit(&plan, "new.count")->buys, most(&input, &f) - base, base);
    f.nodes[1].count--;

    f.kinds[1].memory_rate *= 1.1;
    near(limit(&plan, "new.bandwidth")->buys, most(&input, &f) - base, base);
    f.kinds[1].memory_rate /= 1.1;

    f.kinds[0].flops *= 1.1;
    near(limit(&plan, "old.compute")->buys, most(&input, &f) - base, base);
    f.kinds[0].flops /= 1.1;

    f.links[0].rate *= 1.1;
    near(limit(&plan, "link.shm.bandwidth")->buys, most(&input, &f) - base, base);
    arena_free(&f.arena);
}

/* The dual promises at least what a device brings, and all devices together are worth the linear optimum. */
static void a_dual_price_is_no_less_than_what_a_device_buys(void **unused)
{
    (void)unused;
    for (int64_t memory = 6; memory <= 96; memory *= 2) {
        struct fixture f;
        struct planner_input input;
        struct plan plan;
        make(&f, &input, memory * MIB);
        fixture_plan(&plan, &input, &f);
        double worth = 0;
        double slack = 3 * SOLVE_GOOD_ENOUGH * plan.certificate.bound
                       + (plan.certificate.bound - plan.certificate.value);
        for (int i = 0; i < plan.why.n_limits; i++) {
            const struct plan_limit *l = &plan.why.limits[i];
            assert_true(l->more > 0);
            assert_true(l->buys_least <= l->buys && l->buys <= l->buys_most);
            assert_true(l->buys_most >= 0); /* more of anything never hurts */
            if (strcmp(l->unit, "devices") != 0)
                continue;
            worth += l->shadow_price * l->there_is;
            assert_true(l->shadow_price > 0);
            if (l->buys > l->shadow_price * l->more + slack)
                fail_msg("%s: %g buy %g at a price of %g", l->name, l->more, l->buys,
                        l->shadow_price);
        }
        assert_true(worth >= plan.certificate.value * (1 - SOLVE_GOOD_ENOUGH));
        arena_free(&f.arena);
    }
}

static void a_workload_that_asks_for_less_is_a_limit(void **unused)
{
    (void)unused;
    struct fixture f;
    struct planner_input input;
    struct plan plan;
    make(&f, &input, 64 * MIB);
    for (int i = 0; i < f.requests.n; i++)
        f.items[i].arrival_ns = (int64_t)i * 100000000; /* ten a second */
    fixture_plan(&plan, &input, &f);
    const struct plan_limit *l = limit(&plan, "requests");
    near(l->buys, 0.1 * l->there_is * 20, l->there_is * 20);
    assert_true(fabs(l->taken - l->there_is) < 1e-9);
    assert_true(
            limit(&plan, "old.count")->buys > 0); /* capacity, not what the workload takes of it */
    arena_free(&f.arena);
}

static void one_host_gets_one_core_more(void **unused)
{
    (void)unused;
    struct fixture f;
    struct planner_input input;
    struct plan plan;
    make(&f, &input, 64 * MIB);
    f.cluster.n_kinds = 0;
    fixture_kind(&f, "core", 2, 64 * MIB, 5e10, 1e10);
    fixture_plan(&plan, &input, &f);
    assert_true(limit(&plan, "core.count")->more == 1);
    assert_true(limit(&plan, "core.count")->there_is == 2);
    arena_free(&f.arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
            cmocka_unit_test(gains_are_those_of_the_larger_cluster),
            cmocka_unit_test(a_dual_price_is_no_less_than_what_a_device_buys),
            cmocka_unit_test(a_workload_that_asks_for_less_is_a_limit),
            cmocka_unit_test(one_host_gets_one_core_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
