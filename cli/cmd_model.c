#include "cli/cli.h"

#include <stdio.h>

#include "core/json.h"
#include "core/str.h"
#include "models/model.h"

/* One line of the output, in both forms. */
struct row {
    const char *key, *label, *unit;
    int64_t value;
    bool hidden; /* does not apply to this model: left out of the table */
};

static int dimension_rows(struct row *rows, const struct model *m)
{
    struct model_facts f;
    model_facts(&f, m);
    bool dense = m->moe.n == 0, mla = m->mla.kv_rank > 0;
    const struct row all[] = {
            {"layers", "layers", "", m->n_layers},
            {"hidden", "hidden", "", m->hidden},
            {"inter", "inner of the dense MLP", "", m->inter, f.dense_layers == 0},
            {"vocab", "vocabulary", "", m->vocab},
            {"heads", "heads", "", m->heads},
            {"kv_heads", "KV heads", "", m->kv_heads, mla},
            {"head_dim", "head dimensions", "", m->head_dim},
            {"mla_q_rank", "MLA query rank", "", m->mla.q_rank, !mla},
            {"mla_kv_rank", "MLA latent rank", "", m->mla.kv_rank, !mla},
            {"experts", "experts", "", m->moe.n, dense},
            {"experts_per_token", "experts per token", "", m->moe.top_k, dense},
            {"shared_experts", "shared experts", "", m->moe.n_shared, m->moe.n_shared == 0},
            {"expert_inter", "inner of an expert", "", m->moe.inter, dense},
            {"max_len", "longest sequence", "", m->max_len},
    };
    int n = sizeof(all) / sizeof(all[0]);
    for (int i = 0; i < n; i++)
        rows[i] = all[i];
    return n;
}

static int fact_rows(struct row *rows, const struct model *m)
{
    struct model_facts f;
    model_facts(&f, m);
    bool windowed = f.kv_windowed_layers > 0, moe = m->moe.n > 0;
    const struct row all[] = {
            {"total_params", "parameters", "", f.total_params},
            {"active_params", "active per token", "", f.active_params, !moe},
            {"active_params_no_embed", "active without embedding", "", f.active_params_no_embed,
                    !moe},
            {"non_embedding_params", "without embedding, head", "", f.non_embedding_params},
            {"embed_params", "embedding", "", f.embed_params},
            {"lm_head_params", "head", "", f.lm_head_params, m->tied_embeddings},
            {"attn_params_per_layer", "attention of a layer", "", f.attn_params_per_layer},
            {"dense_mlp_params", "dense MLP", "", f.dense_mlp_params, f.dense_layers == 0},
            {"expert_params", "an expert", "", f.expert_params, !moe},
            {"router_params", "a router", "", f.router_params, !moe},
            {"mtp_params", "multi-token prediction", "", f.mtp_params, f.mtp_params == 0},
            {"moe_layers", "layers with experts", "", f.moe_layers, !moe},
            {"dense_layers", "dense layers", "", f.dense_layers, !moe},
            {"kv_windowed_layers", "layers with a window", "", f.kv_windowed_layers, !windowed},
            {"kv_elems_per_token_per_layer", "KV elements, token, layer", "",
                    f.kv_elems_per_token_per_layer},
            {"kv_bytes_per_token_bf16", "KV per token, bf16", "bytes", f.kv_bytes_per_token_bf16},
            {"kv_bytes_per_token_bf16_growing", "... beyond the window", "bytes",
                    f.kv_bytes_per_token_bf16_growing, !windowed},
            {"linear_flops_per_token", "FLOP per token", "FLOP", f.linear_flops_per_token},
            {"attn_flops_per_token_per_ctx", "... and token of context", "FLOP",
                    f.attn_flops_per_token_per_ctx},
            {"weight_bytes_bf16", "weights, bf16", "bytes", f.weight_bytes_bf16},
    };
    int n = sizeof(all) / sizeof(all[0]);
    for (int i = 0; i < n; i++)
        rows[i] = all[i];
    return n;
}

static void print_json(const struct model *model, const struct row *rows, int n, bool runs)
{
    struct json_writer w = {.pretty = true};

    json_object_begin(&w, NULL);
    json_put_string(&w, "name", model->name);
    json_put_string(&w, "family", model_family_names[model->family]);
    json_put_string(&w, "digest", model->digest);
    json_put_string(&w, "dtype", dtype_names[model->dtype]);
    json_put_bool(&w, "tied_embeddings", model->tied_embeddings);
    json_put_bool(&w, "runs", runs);
    for (int i = 0; i < n; i++)
        json_put_int(&w, rows[i].key, rows[i].value);
    json_end(&w);
    fputs(w.text, stdout);
    json_writer_free(&w);
}

/* Digits in groups of three; buf of 40 bytes. */
static const char *grouped(char *buf, int64_t value)
{
    char digits[32];
    int n = snprintf(digits, sizeof(digits), "%lld", (long long)value), out = 0;

    for (int i = 0; i < n; i++) {
        if (i > 0 && (n - i) % 3 == 0)
            buf[out++] = ' ';
        buf[out++] = digits[i];
    }
    buf[out] = '\0';
    return buf;
}

static void print_table(const struct model *model, const struct row *rows, int n, const char *runs)
{
    char number[40];

    printf("%s (%s), digest %s\n", model->name, model_family_names[model->family], model->digest);
    for (int i = 0; i < n; i++)
        if (!rows[i].hidden)
            printf("  %-26s %22s%s%s\n", rows[i].label, grouped(number, rows[i].value),
                    rows[i].unit[0] ? " " : "", rows[i].unit);
    printf("  %s\n", runs);
}

static bool run(struct cli *cli, void *options)
{
    (void)options;
    struct model model;
    struct row rows[64];
    struct err why = {0};

    if (!model_read(&model, cli->argv[0], cli->data_dir, cli->arena, cli->err))
        return false;
    int n = dimension_rows(rows, &model);
    n += fact_rows(rows + n, &model);
    bool runs = model_runs(&model, &why);
    if (cli->json)
        print_json(&model, rows, n, runs);
    else
        print_table(&model, rows, n,
                runs ? "The bundled runtime executes it." : "It can be planned for, not run.");
    return true;
}

const struct command command_model = {
        .name = "model",
        .summary = "print what a model is: dimensions, parameters, cache, FLOP",
        .usage = "MODEL",
        .description = "MODEL is a config.json, a directory with one, a model YAML, or the name of "
                       "a shipped "
                       "model. Prints its dimensions and what follows from them; docs/method.md "
                       "defines each figure.",
        .examples = "shardwright model qwen3-0.6b\nshardwright model deepseek-v3 --json",
        .min_operands = 1,
        .max_operands = 1,
        .run = run,
};
