/* Problems from tables: answers known by hand, and messages. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <math.h>

#include "planner/columns.h"
#include "planner/instance_file.h"

#define HEAD "format: shardwright-table\nversion: 1\n"

static bool try_read(
        struct instance_file *out, const char *text, struct arena *arena, struct err *err)
{
    memset(out, 0, sizeof *out);
    return conf_read(out, &instance_file_table, text, (int64_t)strlen(text), "t.yaml", arena, err)
           && instance_file_make(out, arena, err);
}

struct answer {
    double value, bound;
    int n_picks, stages;
    int64_t count;
};

static struct answer solve(const char *text)
{
    struct arena arena = {0};
    struct err err = {0};
    struct instance_file file;
    struct columns_options options = {0};
    struct columns_result r = {0};
    struct answer answer = {0};
    if (!try_read(&file, text, &arena, &err)
            || !columns_solve(&r, &file.instance, &options, &arena, &err))
        fail_msg("%s", err.text);
    if (r.feasible && r.n_picks > 0)
        answer = (struct answer){
                r.value, r.bound, r.n_picks, r.picks[0].pattern.n_stages, r.picks[0].count};
    arena_free(&arena);
    return answer;
}

/* Four layers of 10 us; two fit on a device, so a replica is two stages of 20 us that take turns with two
 * micro-batches in flight: 50,000 requests a second each, two of them on four devices. */
static void memory_makes_stages(void **state)
{
    (void)state;
    struct answer a = solve(HEAD "layers: 4\n"
                                 "kinds: [{name: d, devices: 5, memory: 2000B}]\n"
                                 "configs: [{name: one}]\n"
                                 "limits: [{name: b, requests: 1}]\n"
                                 "times: [{kind: d, config: one, layer_us: [10], layer_bytes: "
                                 "[1000]}]\n");
    assert_int_equal(a.stages, 2);
    assert_int_equal(a.count, 2);
    assert_true(fabs(a.value - 1e5) < 1e-3);
    assert_true(fabs(a.bound - 1e5) < 1);
}

/* A list of spans prices two layers at less than twice one; the third figure is missing: at most two. */
static void spans_are_taken_as_they_are(void **state)
{
    (void)state;
    struct answer a = solve(HEAD "layers: 4\n"
                                 "kinds: [{name: d, devices: 2}]\n"
                                 "configs: [{name: one}]\n"
                                 "limits: [{name: b, requests: 3}]\n"
                                 "times: [{kind: d, config: one, span_us: [10, 12], send: 1us, "
                                 "last: 4us}]\n");
    assert_int_equal(a.stages, 2);
    /* Stages of 12 and 16 us and a hand-over of 1: two in flight, the slowest decides. */
    assert_true(fabs(a.value - 3e6 / 16) < 1e-3);
}

/* The cheapest for a demand, with a kind that is dearer for what it does; flights share the memory. */
static void prices_decide(void **state)
{
    (void)state;
    const char *text = HEAD
            "layers: 2\n"
            "objective: price\n"
            "demand: 150000\n"
            "kinds: [{name: fast, devices: 4, price: 3, memory: 300B}, {name: slow, devices: 4, "
            "price: 1}]\n"
            "configs: [{name: one}]\n"
            "limits: [{name: b, requests: 1, round_cap: 1ms}]\n"
            "times:\n"
            "  - {kind: fast, config: one, layer_us: [5, 5], flight_memory: 100B}\n"
            "  - {kind: slow, config: one, limits: b, layer_us: [10, 10]}\n";
    /* slow: 50,000 each at 1; fast: 100,000 each at 3. Three slow ones serve the demand. */
    struct answer a = solve(text);
    assert_true(fabs(a.value - 3) < 1e-6);
}

static void what_does_not_fit_is_infeasible(void **state)
{
    (void)state;
    struct answer a = solve(HEAD "layers: 2\n"
                                 "kinds: [{name: d, devices: 2, memory: 10B}]\n"
                                 "configs: [{name: one}]\n"
                                 "limits: [{name: b, requests: 1}]\n"
                                 "times: [{kind: d, config: one, layer_us: [1], layer_bytes: "
                                 "[11]}]\n");
    assert_int_equal(a.n_picks, 0);
}

static void bad_tables_are_refused(void **state)
{
    (void)state;
#define FRONT                                          \
    HEAD "layers: 3\nkinds: [{name: d, devices: 2}]\n" \
         "configs: [{name: one}, {name: two, family: 1}]\nlimits: [{name: b, requests: 1}]\n"
    static const struct {
        const char *text, *message;
    } cases[] = {
            {FRONT "times: [{kind: e, config: one, layer_us: [1]}]\n",
                    "t.yaml:7:16: no kind is named \"e\""},
            {FRONT "times: [{kind: d, config: onee, layer_us: [1]}]\n",
                    "t.yaml:7:16: no config is named \"onee\", did you mean \"one\"?"},
            {FRONT "times: [{kind: d, config: one}]\n",
                    "t.yaml:7:16: found neither layer_us and span_us, expected one of them"},
            {FRONT "times: [{kind: d, config: one, layer_us: [1, 2]}]\n",
                    "t.yaml:7:16: layer_us has 2 figures, expected 1 or 3"},
            {FRONT "times: [{kind: d, config: two, layer_us: [1]}]\n",
                    "t.yaml:7:16: config two and limits of any name are of different families"},
            {FRONT "times: [{kind: d, config: one, layer_us: [1]}, {kind: d, config: one, "
                   "layer_us: [1]}]\n",
                    "t.yaml:7:55: a second entry for kind d, config one and limits b"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct arena arena = {0};
        struct err err = {0};
        struct instance_file file;
        assert_false(try_read(&file, cases[i].text, &arena, &err));
        assert_string_equal(err.text, cases[i].message);
        arena_free(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
            cmocka_unit_test(memory_makes_stages),
            cmocka_unit_test(spans_are_taken_as_they_are),
            cmocka_unit_test(prices_decide),
            cmocka_unit_test(what_does_not_fit_is_infeasible),
            cmocka_unit_test(bad_tables_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
