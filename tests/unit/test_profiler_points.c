#include "profiler/points.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "models/graph.h"

static int threads[] = {1, 2};

struct fixture {
    struct arena arena;
    struct err err;
    struct model models[2];
    struct device_kind kind;
    struct cluster_node node;
    struct cluster cluster;
    struct profile_request request;
};

static void fill(struct fixture *f, int devices, const char *first, const char *second)
{
    *f = (struct fixture){0};
    f->kind = (struct device_kind){.name = "core",
            .memory_bytes = 1 << 30,
            .threads = threads,
            .n_threads = devices > 1 ? 2 : 1};
    f->node = (struct cluster_node){.name = "n", .count = 1, .kind = "core", .devices = devices};
    f->cluster = (struct cluster){
            .name = "c", .kinds = &f->kind, .n_kinds = 1, .nodes = &f->node, .n_nodes = 1};
    f->request = (struct profile_request){.models = f->models,
            .cluster = &f->cluster,
            .dtype = DTYPE_F32,
            .kv_dtype = DTYPE_F32,
            .max_tokens = 100,
            .max_seqs = 8,
            .max_len = 200};
    assert_true(model_read(&f->models[0], first, SOURCE_DIR, &f->arena, &f->err));
    f->request.n_models = 1;
    if (second) {
        assert_true(model_read(&f->models[1], second, SOURCE_DIR, &f->arena, &f->err));
        f->request.n_models = 2;
    }
}

static bool contains(const struct points *points, const struct op *op)
{
    for (int64_t i = 0; i < points->n; i++)
        if (op_compare(&points->items[i].op, op) == 0)
            return true;
    return false;
}

static void no_op_stands_twice_and_levels_ascend(void **state)
{
    struct fixture f;
    struct points points;
    (void)state;

    fill(&f, 2, "tiny-llama", "tiny-qwen3-moe");
    assert_true(points_of(&points, &f.request, &f.arena, &f.err));
    assert_true(points.n > 100);
    assert_int_equal(points.items[0].level, 0);
    for (int64_t i = 1; i < points.n; i++)
        assert_true(points.items[i - 1].level <= points.items[i].level);
    for (int64_t i = 0; i < points.n; i++)
        for (int64_t j = i + 1; j < points.n; j++)
            assert_true(op_compare(&points.items[i].op, &points.items[j].op) != 0);
    arena_free(&f.arena);
}

/* Every op of a decode step and of a prefill step of a legal split is a point at the grid's own sizes. */
static void every_op_of_a_step_on_the_grid_is_wanted(void **state)
{
    struct fixture f;
    struct points points;
    struct graph_op ops[256];
    struct split splits[] = {{.tp = 1, .ep = 1, .attention_dp = 1, .threads = 2, .busy = 1},
            {.tp = 1, .ep = 1, .attention_dp = 1, .threads = 1, .busy = 2},
            {.tp = 2, .ep = 1, .attention_dp = 1, .threads = 1, .busy = 2},
            {.tp = 2, .ep = 2, .attention_dp = 1, .threads = 1, .busy = 2},
            {.tp = 1, .ep = 2, .attention_dp = 2, .threads = 1, .busy = 2}};
    (void)state;

    fill(&f, 2, "tiny-qwen3-moe", NULL);
    assert_true(points_of(&points, &f.request, &f.arena, &f.err));
    for (size_t s = 0; s < sizeof splits / sizeof *splits; s++) {
        struct seq_shape chunk = {32, 32};
        struct step_shape decode = {.tokens = 8,
                .group_tokens = 8 * splits[s].attention_dp,
                .decode_batch = 8,
                .decode_kv_tokens = 8 * 64,
                .logits_rows = 8};
        struct step_shape prefill = {.tokens = 32,
                .group_tokens = 32 * splits[s].attention_dp,
                .prefill = &chunk,
                .n_prefill = 1,
                .logits_rows = 1};
        const struct step_shape *shapes[] = {&decode, &prefill};
        splits[s].dtype = splits[s].kv_dtype = DTYPE_F32;
        for (int i = 0; i < 2; i++) {
            int n = graph_step(ops, 256, &f.models[0], &splits[s],
                    (struct piece){0, f.models[0].n_layers}, shapes[i]);
            assert_true(n > 8);
            for (int o = 0; o < n; o++) {
                char text[160];
                if (!contains(&points, &ops[o].op))
                    fail_msg("split %d does not get %s", (int)s, op_show(text, &ops[o].op));
            }
        }
    }
    arena_free(&f.arena);
}

static void one_device_has_no_exchanges(void **state)
{
    struct fixture f;
    struct points points;
    (void)state;

    fill(&f, 1, "tiny-llama", NULL);
    assert_true(points_of(&points, &f.request, &f.arena, &f.err));
    for (int64_t i = 0; i < points.n; i++) {
        assert_true(points.items[i].op.busy == 1);
        assert_true(!op_is_collective(points.items[i].op.kind)
                    || points.items[i].op.kind == OP_SEND_RECV);
    }
    arena_free(&f.arena);
}

static void a_second_model_of_the_same_shape_adds_nothing(void **state)
{
    struct fixture f;
    struct points one, two;
    (void)state;

    fill(&f, 2, "tiny-llama", "tiny-llama");
    f.request.n_models = 1;
    assert_true(points_of(&one, &f.request, &f.arena, &f.err));
    f.request.n_models = 2;
    assert_true(points_of(&two, &f.request, &f.arena, &f.err));
    assert_int_equal(one.n, two.n);
    arena_free(&f.arena);
}

static void the_coarse_level_has_every_site_at_its_largest_size(void **state)
{
    struct fixture f;
    struct points points;
    (void)state;

    fill(&f, 2, "tiny-llama", NULL);
    assert_true(points_of(&points, &f.request, &f.arena, &f.err));
    for (int64_t i = 0; i < points.n; i++) {
        const struct op *op = &points.items[i].op;
        if (op->kind != OP_GEMM || op->busy != 2 || op->dim[0] != 24)
            continue;
        struct op largest = *op;
        largest.dim[0] = 100;
        bool found = false;
        for (int64_t j = 0; j < points.n && points.items[j].level == 0; j++)
            found = found || op_compare(&points.items[j].op, &largest) == 0;
        assert_true(found);
    }
    arena_free(&f.arena);
}

static void sizes_ascend_and_end_at_the_largest(void **state)
{
    struct size_level sizes[POINTS_SIZES];
    (void)state;
    for (int64_t max = 1; max < 3000; max += 37) {
        int n = points_sizes(sizes, max);
        assert_int_equal(sizes[n - 1].size, max);
        for (int i = 1; i < n; i++)
            assert_true(sizes[i - 1].size < sizes[i].size);
        /* Neighbours are at most a factor of two apart. */
        for (int i = 1; i < n; i++)
            assert_true(sizes[i].size <= 2 * sizes[i - 1].size);
    }
}

static void a_cluster_without_cpus_is_refused(void **state)
{
    struct fixture f;
    struct points points;
    (void)state;

    fill(&f, 2, "tiny-llama", NULL);
    f.kind.type = DEVICE_CUDA;
    assert_false(points_of(&points, &f.request, &f.arena, &f.err));
    assert_int_equal(f.err.kind, ERR_INPUT);
    arena_free(&f.arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(no_op_stands_twice_and_levels_ascend),
            cmocka_unit_test(every_op_of_a_step_on_the_grid_is_wanted),
            cmocka_unit_test(one_device_has_no_exchanges),
            cmocka_unit_test(a_second_model_of_the_same_shape_adds_nothing),
            cmocka_unit_test(the_coarse_level_has_every_site_at_its_largest_size),
            cmocka_unit_test(sizes_ascend_and_end_at_the_largest),
            cmocka_unit_test(a_cluster_without_cpus_is_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
