#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "planner/deal.h"

enum {
    MOST_STAGES = 4
};

/* One replica of stages with so many ranks each, one thread a rank, over machines of so many devices. */
struct fixture {
    struct arena arena;
    struct err err;
    struct device_kind kind;
    struct cluster_node node;
    struct cluster cluster;
    int ranks[16];
    struct plan_stage stages[MOST_STAGES];
    struct plan_replica replica;
    struct plan plan;
};

static void make(struct fixture *f, int devices, int count, const int *sizes, int n)
{
    *f = (struct fixture){.kind = {.name = "core"}};
    f->node = (struct cluster_node){.count = count, .kind = "core", .devices = devices};
    f->cluster = (struct cluster){
            .name = "c", .kinds = &f->kind, .n_kinds = 1, .nodes = &f->node, .n_nodes = 1};
    for (int s = 0; s < n; s++) {
        f->stages[s] = (struct plan_stage){.tp = sizes[s],
                .attention_dp = 1,
                .threads = 1,
                .kind = "core",
                .ranks = f->ranks + f->plan.n_ranks,
                .n_ranks = sizes[s]};
        for (int i = 0; i < sizes[s]; i++)
            f->ranks[f->plan.n_ranks + i] = f->plan.n_ranks + i;
        f->plan.n_ranks += sizes[s];
    }
    f->replica = (struct plan_replica){.stages = f->stages, .n_stages = n};
    f->plan.replicas = &f->replica;
    f->plan.n_replicas = 1;
}

static void expect(struct fixture *f, const int *machines)
{
    if (!deal_machines(&f->plan, &f->cluster, &f->arena, &f->err))
        fail_msg("%s", f->err.text);
    for (int r = 0; r < f->plan.n_ranks; r++)
        assert_int_equal(plan_machine(&f->plan, r), machines[r]);
}

static void ranks_fill_one_machine_after_the_other(void **state)
{
    struct fixture f;
    (void)state;
    make(&f, 2, 2, (const int[]){1, 1, 2}, 3);
    expect(&f, (const int[]){0, 0, 1, 1});
    arena_free(&f.arena);
}

static void one_machine_needs_no_list(void **state)
{
    struct fixture f;
    (void)state;
    make(&f, 4, 1, (const int[]){2, 2}, 2);
    expect(&f, (const int[]){0, 0, 0, 0});
    assert_int_equal(f.plan.n_machines, 0);
    arena_free(&f.arena);
}

static void a_large_stage_takes_whole_machines(void **state)
{
    struct fixture f;
    (void)state;
    make(&f, 2, 3, (const int[]){1, 4}, 2);
    expect(&f, (const int[]){0, 1, 1, 2, 2});
    assert_int_equal(plan_stage_machines(&f.plan, &f.stages[1]), 2);
    assert_int_equal(plan_stage_machines(&f.plan, &f.stages[0]), 0);
    arena_free(&f.arena);
}

static void the_largest_go_first_where_order_leaves_no_room(void **state)
{
    struct fixture f;
    (void)state;
    make(&f, 4, 2, (const int[]){1, 1, 4, 2},
            4); /* 1, 1 and 2 share; in order 4 has a machine too */
    expect(&f, (const int[]){0, 0, 1, 1, 1, 1, 0, 0});
    arena_free(&f.arena);
    make(&f, 3, 2, (const int[]){1, 2, 1, 2}, 4);
    expect(&f, (const int[]){0, 0, 0, 1, 1, 1});
    arena_free(&f.arena);
    make(&f, 3, 2, (const int[]){1, 1, 2, 2}, 4); /* in order the last 2 finds 1 and 1 free */
    expect(&f, (const int[]){0, 1, 0, 0, 1, 1});
    arena_free(&f.arena);
}

static void no_room_is_told(void **state)
{
    struct fixture f;
    (void)state;
    make(&f, 3, 2, (const int[]){2, 2, 2}, 3);
    assert_false(deal_machines(&f.plan, &f.cluster, &f.arena, &f.err));
    assert_int_equal(f.err.kind, ERR_NO);
    assert_non_null(strstr(f.err.text, "one beside the other"));
    arena_free(&f.arena);
}

static void names_come_along(void **state)
{
    static const char *const names[] = {"a", "b"};
    struct fixture f;
    (void)state;
    make(&f, 1, 2, (const int[]){1, 1}, 2);
    f.node.hosts = names;
    f.node.n_hosts = 2;
    if (!deal_machines(&f.plan, &f.cluster, &f.arena, &f.err))
        fail_msg("%s", f.err.text);
    assert_int_equal(f.plan.n_hosts, 2);
    assert_string_equal(f.plan.hosts[plan_machine(&f.plan, 1)], "b");
    arena_free(&f.arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(ranks_fill_one_machine_after_the_other),
            cmocka_unit_test(one_machine_needs_no_list),
            cmocka_unit_test(a_large_stage_takes_whole_machines),
            cmocka_unit_test(the_largest_go_first_where_order_leaves_no_room),
            cmocka_unit_test(no_room_is_told), cmocka_unit_test(names_come_along)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
