/* The op list of a step, what is legal, and the bytes a rank holds. */
#include "models/graph.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum {
    MAX_OPS = 256
};

static struct arena arena;

static struct model read_model(const char *name)
{
    struct err err = {0};
    struct model model;
    if (!model_read(&model, name, SOURCE_DIR, &arena, &err))
        fail_msg("%s", err.text);
    return model;
}

static struct split split_of(int tp, int ep, int attention_dp)
{
    return (struct split){.tp = tp,
            .ep = ep,
            .attention_dp = attention_dp,
            .threads = 1,
            .busy = tp * attention_dp,
            .dtype = DTYPE_BF16,
            .kv_dtype = DTYPE_BF16};
}

static struct piece whole(const struct model *model)
{
    return (struct piece){0, model->n_layers};
}

/* The list as text: one "count kind dims" a line. */
static char *listed(const struct model *model, const struct split *split, struct piece piece,
        const struct step_shape *shape)
{
    struct graph_op ops[MAX_OPS];
    int n = graph_step(ops, MAX_OPS, model, split, piece, shape);
    char *text = arena_strdup(&arena, "");

    assert_true(n <= MAX_OPS);
    for (int i = 0; i < n; i++) {
        const struct op *op = &ops[i].op;
        text = arena_printf(&arena, "%s%lld %s %s", text, (long long)ops[i].count,
                op_kind_names[op->kind], dtype_names[op->dtype]);
        for (int d = 0; d < OP_DIMS; d++)
            if (op_dim_shown(op, d))
                text = arena_printf(&arena, "%s %lld", text, (long long)op->dim[d]);
        text = arena_printf(&arena, "%s x%d\n", text, op->degree);
    }
    return text;
}

static void a_dense_step_lists_every_op(void **state)
{
    (void)state;
    struct model model = read_model("qwen3-0.6b");
    struct split split = split_of(2, 1, 1);
    const struct seq_shape prefill[] = {{32, 32}, {30, 64}, {32, 32}};
    struct step_shape shape = {.tokens = 100,
            .prefill = prefill,
            .n_prefill = 3,
            .decode_batch = 6,
            .decode_kv_tokens = 6 * 50 + 1,
            .logits_rows = 8};

    assert_string_equal(listed(&model, &split, whole(&model), &shape),
            "1 embedding bf16 100 1024 x1\n"
            "1 rmsnorm f32 100 1024 0 x1\n"
            "55 rmsnorm f32 100 1024 1 x1\n"
            "28 gemm bf16 100 2048 1024 x1\n"
            "28 rope bf16 100 8 4 128 1 x1\n"
            "56 attention_prefill bf16 32 32 8 4 128 x1\n"
            "28 attention_prefill bf16 30 64 8 4 128 x1\n"
            "28 attention_decode bf16 6 51 8 4 128 x1\n"
            "28 gemm bf16 100 1024 1024 x1\n"
            "56 all_reduce f32 409600 x2\n"
            "28 gemm bf16 100 3072 1024 x1\n"
            "28 activation f32 100 1536 x1\n"
            "28 gemm bf16 100 1024 1536 x1\n"
            "1 rmsnorm f32 8 1024 1 x1\n"
            "1 lm_head bf16 8 75968 1024 x1\n"
            "1 sample f32 8 75968 x1\n"
            "1 all_gather f32 64 x2\n");
}

static void pieces_of_a_model_add_up(void **state)
{
    (void)state;
    struct model model = read_model("qwen3-0.6b");
    struct split split = split_of(1, 1, 1);
    struct step_shape shape = {
            .tokens = 4, .decode_batch = 4, .decode_kv_tokens = 40, .logits_rows = 4};

    assert_string_equal(listed(&model, &split, (struct piece){10, 11}, &shape),
            "1 rmsnorm f32 4 1024 0 x1\n"
            "1 gemm bf16 4 4096 1024 x1\n"
            "1 rope bf16 4 16 8 128 1 x1\n"
            "1 attention_decode bf16 4 10 16 8 128 x1\n"
            "1 gemm bf16 4 1024 2048 x1\n"
            "1 rmsnorm f32 4 1024 1 x1\n"
            "1 gemm bf16 4 6144 1024 x1\n"
            "1 activation f32 4 3072 x1\n"
            "1 gemm bf16 4 1024 3072 x1\n");
    assert_int_equal(graph_boundary_bytes(&model, &split, 4), 4 * 1024 * 4);

    int64_t parts = graph_weight_bytes(&model, &split, (struct piece){0, 9})
                    + graph_weight_bytes(&model, &split, (struct piece){9, 28});
    /* The tied head exists twice once embedding and head live apart. */
    assert_int_equal(parts,
            graph_weight_bytes(&model, &split, whole(&model)) + model.vocab * model.hidden * 2);
}

static void experts_on_tp_ranks(void **state)
{
    (void)state;
    struct model model = read_model("tiny-qwen3-moe");
    struct split split = split_of(2, 2, 1);
    struct step_shape shape = {
            .tokens = 3, .decode_batch = 3, .decode_kv_tokens = 9, .logits_rows = 3};
    struct piece one = {1, 2};

    assert_string_equal(listed(&model, &split, one, &shape),
            "1 rmsnorm f32 3 128 0 x1\n"
            "1 gemm bf16 3 128 128 x1\n"
            "1 rope bf16 3 4 2 16 1 x1\n"
            "1 attention_decode bf16 3 3 4 2 16 x1\n"
            "1 gemm bf16 3 128 64 x1\n"
            "2 all_reduce f32 1536 x2\n"
            "1 rmsnorm f32 3 128 1 x1\n"
            "1 router bf16 3 128 8 2 x1\n"
            "1 permute f32 3 128 4 8 2 x1\n"
            "1 expert_gemm bf16 3 128 64 4 8 2 x1\n"
            "1 combine f32 3 128 4 8 2 x1\n");
    split.ep = 1; /* every expert here, half of its columns */
    assert_non_null(
            strstr(listed(&model, &split, one, &shape), "1 expert_gemm bf16 3 128 32 8 8 2 x1\n"));
    split.deterministic = true;
    assert_non_null(strstr(listed(&model, &split, one, &shape), "2 combine f32 3 128 8 8 2 x1\n"
                                                                "1 all_reduce f32 3072 x2\n"));
    split.ep = 2;
    char *text = listed(&model, &split, one, &shape);
    assert_non_null(strstr(text, "1 combine f32 3 128 4 8 2 x1\n"
                                 "1 all_reduce f32 3072 x2\n"
                                 "1 combine f32 3 128 8 8 2 x1\n"));
    assert_non_null(strstr(text, "1 all_reduce f32 1536 x2\n"));
}

static void experts_behind_attention_dp(void **state)
{
    (void)state;
    struct model model = read_model("tiny-qwen3-moe");
    struct split split = split_of(1, 2, 2);
    struct step_shape shape = {.tokens = 3,
            .group_tokens = 6,
            .decode_batch = 3,
            .decode_kv_tokens = 9,
            .logits_rows = 3};

    assert_non_null(strstr(listed(&model, &split, (struct piece){1, 2}, &shape),
            "1 router bf16 3 128 8 2 x1\n"
            "1 permute f32 3 128 8 8 2 x1\n"
            "1 all_to_all f32 32 x2\n"
            "2 all_to_all f32 3072 x2\n"
            "2 copy f32 3072 x1\n"
            "1 expert_gemm bf16 6 128 64 4 8 2 x1\n"
            "1 combine f32 3 128 8 8 2 x1\n"));
    /* Two ranks share each expert, and the three rows of the group: the first sends two of them to both. */
    split = split_of(2, 2, 2);
    assert_non_null(strstr(listed(&model, &split, (struct piece){1, 2}, &shape),
            "1 router bf16 2 128 8 2 x1\n"
            "1 permute f32 2 128 8 8 2 x1\n"
            "1 all_to_all f32 64 x4\n"
            "2 copy f32 4096 x1\n"
            "1 all_to_all f32 4096 x4\n"
            "2 copy f32 3072 x1\n"
            "1 expert_gemm bf16 6 128 32 4 8 2 x1\n"
            "1 all_to_all f32 3072 x4\n"
            "1 combine f32 2 128 8 8 2 x1\n"));
    split = split_of(1, 2, 2);
    split.expert_slots = 5; /* two experts stand in both groups */
    assert_int_equal(graph_expert_slots(&model, &split), 5);
    assert_non_null(strstr(listed(&model, &split, (struct piece){1, 2}, &shape),
            "1 router bf16 3 128 8 2 x1\n"
            "1 permute f32 3 128 10 10 2 x1\n"
            "1 all_to_all f32 40 x2\n"
            "2 all_to_all f32 3072 x2\n"
            "2 copy f32 3072 x1\n"
            "1 expert_gemm bf16 6 128 64 5 10 2 x1\n"
            "1 combine f32 3 128 10 10 2 x1\n"));
    split = split_of(1, 2, 2);
    /* A group without rows still serves its experts. */
    shape = (struct step_shape){.tokens = 0, .group_tokens = 4};
    assert_string_equal(listed(&model, &split, (struct piece){0, 1}, &shape),
            "1 all_to_all f32 32 x2\n"
            "2 copy f32 2048 x1\n"
            "1 expert_gemm bf16 4 128 64 4 8 2 x1\n"
            "1 all_to_all f32 2048 x2\n");
}

static void windows_clip_and_classes_merge(void **state)
{
    (void)state;
    struct model model = read_model("gpt-oss-20b");
    struct split split = split_of(8, 8, 1);
    struct step_shape shape = {
            .tokens = 2, .decode_batch = 2, .decode_kv_tokens = 2000, .logits_rows = 2};
    char *text = listed(&model, &split, whole(&model), &shape);

    assert_non_null(strstr(text, "12 attention_decode bf16 2 128 8 1 64 x1\n"));
    assert_non_null(strstr(text, "12 attention_decode bf16 2 1000 8 1 64 x1\n"));
    assert_non_null(strstr(text, "24 expert_gemm bf16 2 2880 2880 4 32 4 x1\n"));

    model = read_model("deepseek-v3");
    struct split wide = split_of(1, 8, 8);
    text = listed(&model, &wide, whole(&model), &shape);
    assert_non_null(strstr(text, "61 gemm bf16 2 2112 7168 x1\n"));
    assert_non_null(strstr(text, "61 mla_decode bf16 2 1000 128 512 64 256 x1\n"));
    assert_non_null(strstr(text, "3 gemm bf16 2 36864 7168 x1\n"));
    assert_non_null(strstr(text, "58 gemm bf16 2 4096 7168 x1\n"));
}

static void latent_attention_lists_its_own_ops(void **state)
{
    (void)state;
    struct model model = read_model("deepseek-v3");
    struct split split = split_of(8, 8, 1);
    const struct seq_shape prefill[] = {{5, 30}};
    struct step_shape shape = {.tokens = 7,
            .prefill = prefill,
            .n_prefill = 1,
            .decode_batch = 2,
            .decode_kv_tokens = 41,
            .logits_rows = 3};
    const char *attention = "1 rmsnorm f32 7 7168 0 x1\n"
                            "1 gemm bf16 7 2112 7168 x1\n"
                            "1 rmsnorm f32 7 1536 0 x1\n"
                            "1 gemm bf16 7 3072 1536 x1\n"
                            "1 mla_rope bf16 7 16 512 64 128 x1\n"
                            "1 mla_prefill bf16 5 30 16 512 64 256 x1\n"
                            "1 mla_decode bf16 2 21 16 512 64 256 x1\n"
                            "1 gemm bf16 7 7168 2048 x1\n";
    const char *experts = "1 router bf16 7 7168 256 8 x1\n"
                          "1 gemm bf16 7 512 7168 x1\n"
                          "1 activation f32 7 256 x1\n"
                          "1 gemm bf16 7 7168 256 x1\n"
                          "1 permute f32 7 7168 32 256 8 x1\n"
                          "1 expert_gemm bf16 7 7168 2048 32 256 8 x1\n"
                          "1 combine f32 7 7168 32 256 8 x1\n";
    char *text = listed(&model, &split, (struct piece){10, 11}, &shape);

    assert_true(strncmp(text, attention, strlen(attention)) == 0);
    assert_non_null(strstr(text, experts));
    assert_non_null(strstr(text, "2 all_reduce f32 200704 x8\n")); /* o; experts and shared */
    split.deterministic = true;
    text = listed(&model, &split, (struct piece){10, 11}, &shape);
    assert_non_null(strstr(text, "2 all_reduce f32 200704 x8\n"));  /* o; shared */
    assert_non_null(strstr(text, "1 all_reduce f32 1605632 x8\n")); /* experts, pair by pair */
    model.mla.q_rank = 0;
    text = listed(&model, &split, (struct piece){10, 11}, &shape);
    assert_non_null(strstr(text, "1 gemm bf16 7 3648 7168 x1\n1 mla_rope"));
}

/* Every op's arithmetic at one decode token equals what the facts say of linear layers. */
static void flop_of_a_token_equal_the_facts(void **state)
{
    (void)state;
    static const char *const names[] = {"llama-3.1-8b", "qwen3-0.6b", "qwen3-8b", "qwen3-30b-a3b",
            "mixtral-8x7b", "gpt-oss-20b", "llama-4-scout", "llama-4-maverick"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct model model = read_model(names[i]);
        struct split split = split_of(1, 1, 1);
        /* As many tokens as experts, so that uniform routing leaves whole rows. */
        int64_t m = model.moe.n > 0 ? model.moe.n : 16;
        struct step_shape shape = {
                .tokens = m, .decode_batch = m, .decode_kv_tokens = m, .logits_rows = m};
        struct graph_op ops[MAX_OPS];
        struct model_facts facts;
        double flop = 0;
        int n = graph_step(ops, MAX_OPS, &model, &split, whole(&model), &shape);

        for (int k = 0; k < n; k++) {
            enum op_kind kind = ops[k].op.kind;
            if (kind == OP_GEMM || kind == OP_LM_HEAD)
                flop += (double)ops[k].count * op_flop(&ops[k].op);
            else if (kind == OP_ROUTER)
                flop += (double)ops[k].count * 2 * (double)m * (double)model.hidden * model.moe.n;
            else if (kind == OP_EXPERT_GEMM)
                flop += (double)ops[k].count * 6 * (double)m * model.moe.top_k
                        * (double)model.hidden * (double)model.moe.inter;
        }
        model_facts(&facts, &model);
        if (flop != (double)(facts.linear_flops_per_token * m))
            fail_msg("%s: %.0f FLOP in the ops, %.0f by the facts", names[i], flop,
                    (double)(facts.linear_flops_per_token * m));
    }
}

/* One rank holds every parameter once; ranks of a split hold the rest of it between them. */
static void weight_bytes_equal_the_facts(void **state)
{
    (void)state;
    static const char *const names[] = {"llama-3.1-8b", "qwen3-0.6b", "qwen3-8b", "qwen3-30b-a3b",
            "mixtral-8x7b", "deepseek-v3", "gpt-oss-120b", "llama-4-maverick", "qwen3-moe-small"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct model model = read_model(names[i]);
        struct split split = split_of(1, 1, 1);
        struct model_facts facts;

        split.dtype = DTYPE_F32; /* then norms and biases weigh the same as matrices */
        model_facts(&facts, &model);
        assert_int_equal(graph_weight_bytes(&model, &split, whole(&model)), 4 * facts.total_params);
        assert_int_equal(graph_kv_block_bytes(&model, &split, whole(&model), 16),
                16 * facts.kv_bytes_per_token_bf16);
    }
}

/* DeepSeek-V3, README_WEIGHTS: 11.5 B parameters beside the shared embedding and head. */
static void prediction_layers_take_their_parameters_and_a_layer_of_cache(void **state)
{
    (void)state;
    struct model model = read_model("deepseek-v3");
    struct model_facts facts;
    struct split split = split_of(1, 1, 1);
    struct piece all = whole(&model), tail = {30, model.n_layers}, head = {0, 30};

    model_facts(&facts, &model);
    split.dtype = split.kv_dtype =
            DTYPE_F32; /* gains are f32 in any case: every parameter is 4 bytes */
    int64_t weights = graph_weight_bytes(&model, &split, all);
    int64_t tail_weights = graph_weight_bytes(&model, &split, tail);
    int64_t head_weights = graph_weight_bytes(&model, &split, head);
    int64_t block = graph_kv_block_bytes(&model, &split, all, 16);
    split.mtp = model.n_mtp;
    assert_int_equal(graph_weight_bytes(&model, &split, all) - weights, 4 * facts.mtp_params);
    assert_true(facts.mtp_params > INT64_C(11400000000) && facts.mtp_params < INT64_C(11700000000));
    assert_int_equal(graph_weight_bytes(&model, &split, tail) - tail_weights,
            4 * (facts.mtp_params + facts.embed_params));
    assert_int_equal(graph_weight_bytes(&model, &split, head), head_weights);
    assert_int_equal(graph_kv_block_bytes(&model, &split, all, 16) * model.n_layers,
            block * (model.n_layers + 1));
}

static void bytes_are_the_sum_of_the_lists(void **state)
{
    (void)state;
    struct model model = read_model("tiny-qwen3-moe");
    struct split splits[] = {
            split_of(1, 1, 1), split_of(2, 2, 1), split_of(2, 1, 1), split_of(1, 2, 2)};

    for (size_t i = 0; i < sizeof(splits) / sizeof(splits[0]); i++) {
        for (int cut = 1; cut <= model.n_layers; cut++) {
            struct piece piece = {0, cut};
            int64_t bytes[WEIGHT_COUNT], work[WORK_COUNT], total = 0, work_total = 0;

            graph_end_weights(bytes, &model, &splits[i], piece);
            for (int b = 0; b < WEIGHT_COUNT; b++)
                total += bytes[b];
            for (int layer = 0; layer < cut; layer++) {
                graph_layer_weights(bytes, &model, &splits[i], layer);
                for (int b = 0; b < WEIGHT_COUNT; b++)
                    total += bytes[b];
            }
            assert_int_equal(total, graph_weight_bytes(&model, &splits[i], piece));
            graph_work(work, &model, &splits[i], piece, 5, 33);
            for (int b = 0; b < WORK_COUNT; b++)
                work_total += work[b];
            assert_int_equal(work_total, graph_work_bytes(&model, &splits[i], piece, 5, 33));
            assert_int_equal(work[WORK_X], 33 * 128 * 4);
            assert_int_equal(work[WORK_SEND], cut == model.n_layers ? 0 : 2 * 33 * 128 * 4);
            assert_int_equal(work[WORK_LOGITS],
                    cut == model.n_layers ? 5 * (int64_t)model.vocab / splits[i].tp * 4 : 0);
        }
    }
    int64_t work[WORK_COUNT];
    graph_work(work, &model, &splits[3], whole(&model), 5, 33);
    assert_int_equal(
            work[WORK_ROWS_IN], 2 * 33 * 2 * 128 * 4); /* both groups' rows, both choices */
    assert_int_equal(work[WORK_ROWS], 33 * 2 * 128 * 4);
}

/* DeepSeek-V3: 18432 = 144 blocks in dense layers, 2048 = 16 in an expert. */
static void no_block_of_a_scale_is_cut(void **state)
{
    (void)state;
    struct model model = read_model("deepseek-v3");
    struct err err = {0};
    struct split legal[] = {split_of(16, 1, 1), split_of(16, 16, 1), split_of(1, 64, 64)};
    struct split dense = split_of(32, 32, 1);

    for (size_t i = 0; i < sizeof(legal) / sizeof(legal[0]); i++) {
        legal[i].dtype = DTYPE_F8_BLOCK;
        assert_true(graph_legal(&model, &legal[i], &err));
    }
    dense.dtype = DTYPE_F8;
    assert_true(graph_legal(&model, &dense, &err));
    dense.dtype = DTYPE_F8_BLOCK;
    assert_false(graph_legal(&model, &dense, &err));
    assert_non_null(strstr(err.text, "144 blocks of 128 columns of the MLP"));
}

static void illegal_splits_hear_the_rule(void **state)
{
    (void)state;
    static const struct {
        const char *model;
        int tp, ep, adp;
        bool deterministic;
        const char *message; /* NULL = legal */
    } cases[] = {
            {"qwen3-0.6b", 2, 1, 1, true, NULL},
            {"qwen3-0.6b", 16, 1, 1, false, NULL}, /* KV heads replicated */
            {"qwen3-0.6b", 16, 1, 1, true, "8 deterministic chunks of the attention output"},
            {"qwen3-0.6b", 3, 1, 1, false, "tp=3: 8 KV heads of qwen3-0.6b can neither"},
            {"qwen3-0.6b", 32, 1, 1, false, "16 attention heads"},
            {"qwen3-0.6b", 2, 2, 1, false, "ep=2 needs experts"},
            {"qwen3-0.6b", 1, 1, 2, false, "attention-dp=2 needs experts"},
            {"qwen3-0.6b", 0, 1, 1, false, "each must be at least 1"},
            {"tiny-qwen3-moe", 2, 2, 1, true, NULL},
            {"tiny-qwen3-moe", 4, 4, 1, true, NULL},
            {"tiny-qwen3-moe", 1, 4, 4, true, NULL},
            {"tiny-qwen3-moe", 4, 2, 1, true, NULL},
            {"tiny-qwen3-moe", 2, 4, 2, true, NULL},
            {"tiny-qwen3-moe", 2, 2, 2, true, NULL},
            {"tiny-qwen3-moe", 2, 4, 1, false, "the 2 ranks of the stage do not divide by it"},
            {"tiny-qwen3-moe", 1, 1, 2, false, "attention-dp=2 with ep=1"},
            {"tiny-qwen3-moe", 1, 16, 16, false, "8 experts of tiny-qwen3-moe do not divide by 16"},
            {"llama-4-scout", 5, 1, 1, false, "8 KV heads"},
            {"deepseek-v3", 1, 64, 64, false, NULL},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct err err = {0};
        struct model model = read_model(cases[i].model);
        struct split split = split_of(cases[i].tp, cases[i].ep, cases[i].adp);
        split.deterministic = cases[i].deterministic;
        const char *message = cases[i].message ? cases[i].message : "";
        bool legal = graph_legal(&model, &split, &err);
        if (legal != !cases[i].message)
            fail_msg("case %d: %s", (int)i, legal ? "legal" : err.text);
        if (!legal) {
            assert_int_equal(err.kind, ERR_NO);
            if (!strstr(err.text, message))
                fail_msg("case %d: \"%s\" lacks \"%s\"", (int)i, err.text, message);
        }
    }
}

static void slices_and_chunks(void **state)
{
    (void)state;
    struct model model = read_model("qwen3-0.6b");

    assert_int_equal(graph_slice(12, 4, 3).begin, 9);
    assert_int_equal(graph_slice(12, 4, 3).end, 12);
    assert_int_equal(graph_kv_heads(&model, 2, 1).begin, 4);
    assert_int_equal(graph_kv_heads(&model, 16, 5).begin, 2); /* two ranks share a head */
    assert_int_equal(graph_kv_heads(&model, 16, 5).end, 3);
    assert_int_equal(graph_k_chunks(16), 8);
    assert_int_equal(graph_k_chunks(12), 4);
    assert_int_equal(graph_k_chunks(7), 1);
}

static int close_arena(void **state)
{
    (void)state;
    arena_free(&arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
            cmocka_unit_test(a_dense_step_lists_every_op),
            cmocka_unit_test(pieces_of_a_model_add_up),
            cmocka_unit_test(experts_on_tp_ranks),
            cmocka_unit_test(experts_behind_attention_dp),
            cmocka_unit_test(windows_clip_and_classes_merge),
            cmocka_unit_test(latent_attention_lists_its_own_ops),
            cmocka_unit_test(flop_of_a_token_equal_the_facts),
            cmocka_unit_test(weight_bytes_equal_the_facts),
            cmocka_unit_test(prediction_layers_take_their_parameters_and_a_layer_of_cache),
            cmocka_unit_test(bytes_are_the_sum_of_the_lists),
            cmocka_unit_test(no_block_of_a_scale_is_cut),
            cmocka_unit_test(illegal_splits_hear_the_rule),
            cmocka_unit_test(slices_and_chunks),
    };
    return cmocka_run_group_tests(tests, NULL, close_arena);
}
