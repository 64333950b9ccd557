/*
 * A plan that is spoiled in one place: every field of plan.yaml, by the field tables themselves, is changed by one, and
 * the checkers must notice it unless the field is in the list below, with the reason why another value is as legal.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <math.h>

#include "planner/planner.h"

#include "planner_fixture.h"

/* What may be another value without making the plan illegal or untrue to itself; with a dot at the end, all below. */
static const struct {
    const char *path, *why;
} free_fields[] = {
        {"name", "a name"},
        {"model", "a name: the digest tells models apart"},
        {"cluster", "a name"},
        {"workload", "a name"},
        {"profile_digest", "costs are not at hand"},
        {"expert_map", "a path"},
        {"dtype", "another type of the same size"},
        {"kv_dtype", "another type of the same size"},
        {"max_len", "as long as the cache holds it"},
        {"prefix_cache", "either is legal"},
        {"replicas.in_flight", "fewer micro-batches are legal"},
        {"replicas.kv_rate", "a prediction of a transfer"},
        {"replicas.kv_latency", "a prediction of a transfer"},
        {"replicas.requests_per_s", "how requests are dealt: any way is legal"},
        {"replicas.stages.isa", "kernels of a machine that is not at hand"},
        {"replicas.stages.step", "a prediction: simulate tells"},
        {"predicted.output_tokens_per_s", "a prediction: simulate tells"},
        {"predicted.total_tokens_per_s", "a prediction: simulate tells"},
        {"predicted.requests_per_s", "a prediction: simulate tells"},
        {"predicted.ttft_p50", "a prediction: simulate tells"},
        {"predicted.ttft_p99", "a prediction: simulate tells"},
        {"predicted.tpot_p50", "a prediction: simulate tells"},
        {"predicted.tpot_p99", "a prediction: simulate tells"},
        {"predicted.e2e_p50", "a prediction: simulate tells"},
        {"predicted.makespan_s", "a prediction: simulate tells"},
        {"predicted.goodput_requests_per_s", "a prediction: simulate tells"},
        {"predicted.hi_frac", "a prediction: simulate tells"},
        {"predicted.price_per_hour", "a prediction: simulate tells"},
        {"predicted.price_per_mtoken", "a prediction: simulate tells"},
        {"certificate.oracle", "words"},
        {"certificate.forced", "what was asked is not in the plan"},
        {"certificate.solve_s", "how it was found"},
        {"certificate.programs", "how it was found"},
        {"certificate.nodes", "how it was found"},
        {"certificate.columns", "how it was found"},
        {"binding", "words"},
        {"serving", "words"},
        {"arrivals", "words"},
        {"cost_sources", "words"},
        {"bottleneck", "words"},
        {"why.", "answers of other questions"},
};

enum {
    FREE = sizeof free_fields / sizeof free_fields[0]
};

struct spoiler {
    struct fixture f;
    struct plan plan;
    struct arena arena;
    bool free_seen[FREE]; /* some change of the field was let through */
    int refused, passed, wrong;
};

/* Two machines of two GPUs and a model with experts: tensor parallel stages in a pipeline over the machines. */
static void make_plan(struct spoiler *s)
{
    struct err err = {0};
    memset(s, 0, sizeof *s);
    fixture_model(&s->f, 6, 8);
    fixture_kind(&s->f, "gpu", 2, INT64_C(64) << 20, 5e10, 1e10);
    s->f.kinds[0].type = DEVICE_CUDA;
    s->f.kinds[0].threads = NULL;
    s->f.kinds[0].n_threads = 0;
    s->f.nodes[0].count = 2;
    s->f.links[1] =
            (struct cluster_link){.name = "net", .inside = false, .rate = 1e9, .latency_us = 8};
    s->f.cluster.n_links = 2;
    fixture_requests(&s->f, 16, 40, 20);
    struct planner_input input = {.model = &s->f.model,
            .cluster = &s->f.cluster,
            .workload = &s->f.workload,
            .requests = &s->f.requests,
            .dtype = DTYPE_BF16,
            .kv_dtype = DTYPE_BF16};
    if (!plan_force_parse(&input.force, "tp=2,ep=2,pp=2,in_flight=2,max_seqs=4,max_tokens=64",
                &s->arena, &err)
            || !planner_run(&s->plan, &input, &s->arena, &err))
        fail_msg("%s", err.text);
    assert_true(plan_consistent(&s->plan, &err)
                && plan_check(&s->plan, &s->f.model, &s->f.cluster, &err));
    assert_int_equal(s->plan.n_machines, 4);
}

static bool is_free(const char *free_path, const char *path)
{
    size_t n = strlen(free_path);
    return free_path[n - 1] == '.' ? strncmp(free_path, path, n) == 0
                                   : strcmp(free_path, path) == 0;
}

/* The plan as it is now: noticed, or let through. */
static void judge(struct spoiler *s, const char *path)
{
    struct err err = {0};
    bool passes = plan_consistent(&s->plan, &err)
                  && plan_check(&s->plan, &s->f.model, &s->f.cluster, &err);
    s->passed += passes;
    s->refused += !passes;
    if (!passes) {
        assert_true(err.text[0] != 0);
        return;
    }
    for (int i = 0; i < FREE; i++)
        if (is_free(free_fields[i].path, path)) {
            s->free_seen[i] = true;
            return;
        }
    print_message("%s may be changed and nobody notices\n", path);
    s->wrong++;
}

static void spoil_int(struct spoiler *s, int *at, const char *path)
{
    for (int by = -1; by <= 1; by += 2) {
        *at += by;
        judge(s, path);
        *at -= by;
    }
}

static void spoil_i64(struct spoiler *s, int64_t *at, const char *path)
{
    for (int by = -1; by <= 1; by += 2) {
        *at += by;
        judge(s, path);
        *at -= by;
    }
}

static void spoil_double(struct spoiler *s, double *at, const char *path)
{
    double was = *at;
    for (int by = -1; by <= 1; by += 2) {
        *at = was + by;
        judge(s, path);
    }
    *at = (double)NAN;
    judge(s, path);
    *at = was;
}

static void spoil_text(struct spoiler *s, const char **at, const char *path)
{
    const char *was = *at;
    *at = was != NULL ? arena_printf(&s->arena, "%sx", was) : "x";
    judge(s, path);
    *at = was;
}

static void walk(struct spoiler *s, const struct conf_table *table, char *base, const char *path);

static void spoil_list(struct spoiler *s, const struct conf_field *f, char *base, const char *path)
{
    int *count = (int *)(void *)(base + f->count);
    char *items;
    memcpy(&items, base + f->at, sizeof items);
    for (int i = 0; i < *count; i++) {
        if (f->type == CONF_INT_LIST)
            spoil_int(s, (int *)(void *)items + i, path);
        if (f->type == CONF_STRUCT_LIST)
            walk(s, f->sub, items + (size_t)i * f->sub->size, path);
    }
    if (*count == 0)
        return;
    --*count;
    judge(s, arena_printf(&s->arena, "%s without the last", path));
    ++*count;
}

static void spoil(struct spoiler *s, const struct conf_field *f, char *base, const char *path)
{
    void *at = base + f->at;
    switch (f->type) {
    case CONF_BOOL:
        *(bool *)at = !*(bool *)at;
        judge(s, path);
        *(bool *)at = !*(bool *)at;
        break;
    case CONF_INT:
        spoil_int(s, at, path);
        break;
    case CONF_ENUM: /* the reader lets no other value in */
        ++*(int *)at;
        if (f->names[*(int *)at] != NULL)
            judge(s, path);
        --*(int *)at;
        break;
    case CONF_I64:
    case CONF_BYTES:
        spoil_i64(s, at, path);
        break;
    case CONF_DOUBLE:
    case CONF_US:
    case CONF_RATE:
        spoil_double(s, at, path);
        break;
    case CONF_STRING:
        spoil_text(s, at, path);
        break;
    case CONF_STRUCT:
        walk(s, f->sub, at, path);
        break;
    case CONF_INT_LIST:
    case CONF_STRUCT_LIST:
        spoil_list(s, f, base, path);
        break;
    case CONF_I64_LIST:
    case CONF_DOUBLE_LIST:
    case CONF_STRING_LIST:
        break;
    }
}

static void walk(struct spoiler *s, const struct conf_table *table, char *base, const char *path)
{
    for (const struct conf_field *f = table->fields; f->key != NULL; f++) {
        const char *name = path[0] == 0 ? f->key : arena_printf(&s->arena, "%s.%s", path, f->key);
        spoil(s, f, base, name);
    }
}

static void every_field_matters_or_says_why_not(void **unused)
{
    (void)unused;
    struct spoiler s;
    make_plan(&s);
    walk(&s, &plan_table, (char *)&s.plan, "");
    for (int i = 0; i < FREE; i++)
        if (!s.free_seen[i]) {
            print_message("%s is said to be free (%s), but is not\n", free_fields[i].path,
                    free_fields[i].why);
            s.wrong++;
        }
    printf("%d changes are noticed, %d are as legal as before\n", s.refused, s.passed);
    assert_int_equal(s.wrong, 0);
    arena_free(&s.f.arena);
    arena_free(&s.arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
            cmocka_unit_test(every_field_matters_or_says_why_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
