/* The readers of config.json and model YAML, the checks, and the facts against published figures. */
#include "models/model.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/file.h"
#include "core/json.h"

#define DATA SOURCE_DIR "/../shared/data/models"

/* The text of the object behind "config": in a description. */
static const char *config_text(const char *text, int64_t *len)
{
    const char *begin = strstr(text, "\"config\"");
    int depth = 0;

    assert_non_null(begin);
    begin = strchr(begin, '{');
    for (const char *p = begin; *p; p++) {
        depth += *p == '{';
        depth -= *p == '}';
        if (depth == 0) {
            *len = p + 1 - begin;
            return begin;
        }
    }
    fail();
    return NULL;
}

static void same(const struct json_node *derived, const char *key, int64_t value, const char *model)
{
    const struct json_node *node = json_get(derived, key);
    if (!node) {
        fail_msg("%s: no %s in derived", model, key);
    }
    if (json_int(node, 0) != value)
        fail_msg("%s: %s is %lld, should be %lld", model, key, (long long)value,
                (long long)json_int(node, 0));
}

static void compare_facts(const struct json_node *derived, const struct model *model)
{
    struct model_facts f;
    const char *name = model->name;

    model_facts(&f, model);
    same(derived, "total_params", f.total_params, name);
    same(derived, "active_params_incl_embed_and_head", f.active_params, name);
    same(derived, "active_params_excl_input_embed", f.active_params_no_embed, name);
    same(derived, "non_embedding_params", f.non_embedding_params, name);
    same(derived, "embed_params", f.embed_params, name);
    same(derived, "lm_head_params", f.lm_head_params, name);
    same(derived, "attn_params_per_layer", f.attn_params_per_layer, name);
    same(derived, "dense_mlp_params_per_layer", f.dense_mlp_params, name);
    same(derived, "expert_params_each", f.expert_params, name);
    same(derived, "router_params_per_layer", f.router_params, name);
    same(derived, "layers", model->n_layers, name);
    same(derived, "moe_layers", f.moe_layers, name);
    same(derived, "dense_layers", f.dense_layers, name);
    same(derived, "routed_experts", model->moe.n, name);
    same(derived, "experts_per_token", model->moe.top_k, name);
    same(derived, "shared_experts", model->moe.n_shared, name);
    same(derived, "kv_elems_per_token_per_layer", f.kv_elems_per_token_per_layer, name);
    same(derived, "kv_bytes_per_token_bf16_all_layers", f.kv_bytes_per_token_bf16, name);
    same(derived, "kv_full_layers", f.kv_full_layers, name);
    same(derived, "kv_windowed_layers", f.kv_windowed_layers, name);
    same(derived, "kv_bytes_per_token_bf16_growing_beyond_window",
            f.kv_bytes_per_token_bf16_growing, name);
    same(derived, "linear_flops_per_token_fwd", f.linear_flops_per_token, name);
    same(derived, "attn_flops_per_token_per_ctx_token", f.attn_flops_per_token_per_ctx, name);
    same(derived, "weight_bytes_bf16", f.weight_bytes_bf16, name);
    if (model->mla.kv_rank > 0)
        same(derived, "attn_flops_absorbed_decode_per_ctx_token", f.attn_flops_absorbed_per_ctx,
                name);
}

static void published_file(const char *file, struct arena *arena)
{
    struct err err = {0};
    char *text = NULL;
    int64_t len = 0, config_len = 0;
    struct model model, shipped;
    char *path = arena_printf(arena, "%s/%s", DATA, file);
    char *name = arena_strndup(arena, file, (int64_t)strlen(file) - 5);

    assert_true(file_read(&text, &len, path, arena, &err));
    const char *config = config_text(text, &config_len);
    bool ok = model_read_config(&model, config, config_len, path, arena, &err);
    if (strcmp(name, "deepseek-v3.2") == 0) {
        assert_false(ok);
        assert_non_null(strstr(err.text, "model_type \"deepseek_v32\" is not supported"));
        return;
    }
    if (!ok)
        fail_msg("%s", err.text);

    struct json *doc = json_read(text, len, path, &err);
    assert_non_null(doc);
    compare_facts(json_get(json_root(doc), "derived"), &model);
    json_close(doc);

    if (!model_read(&shipped, name, SOURCE_DIR, arena, &err))
        fail_msg("%s", err.text);
    assert_string_equal(shipped.digest, model.digest);
}

static void facts_equal_published_ones(void **state)
{
    (void)state;
    struct arena arena = {0};
    int n = 0;
    DIR *dir = opendir(DATA);

    if (!dir) {
        print_message("no %s\n", DATA);
        skip();
        return;
    }
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        if (strstr(entry->d_name, ".json")) {
            published_file(entry->d_name, &arena);
            n++;
        }
    }
    closedir(dir);
    assert_true(n >= 14);
    arena_free(&arena);
}

static void every_shipped_model_survives_config_json(void **state)
{
    (void)state;
    struct arena arena = {0};
    int n = 0;
    DIR *dir = opendir(SOURCE_DIR "/models");

    assert_non_null(dir);
    for (struct dirent *entry; dir && (entry = readdir(dir)) != NULL;) {
        struct err err = {0};
        struct model model, again;
        char *config;
        char *end = strstr(entry->d_name, ".yaml");
        if (!end)
            continue;
        const char *name = arena_strndup(&arena, entry->d_name, end - entry->d_name);
        if (!model_read(&model, name, SOURCE_DIR, &arena, &err))
            fail_msg("%s", err.text);
        assert_string_equal(model.name, name);
        assert_true(model_write_config(&config, &model, DTYPE_F32, &arena, &err));
        if (!model_read_config(
                    &again, config, (int64_t)strlen(config), "x/config.json", &arena, &err))
            fail_msg("%s: %s", name, err.text);
        if (strcmp(again.digest, model.digest) != 0)
            fail_msg("%s: digest differs after config.json", name);
        assert_int_equal(again.dtype, DTYPE_F32);
        n++;
    }
    if (dir)
        closedir(dir);
    assert_true(n >= 19);
    arena_free(&arena);
}

/* ---- bad and unusual configurations, as edits of a good one ---- */

static const char good[] = "{\"model_type\": \"llama\", \"hidden_size\": 64, \"vocab_size\": 100,\n"
                           "\"num_hidden_layers\": 2, \"num_attention_heads\": 4, "
                           "\"num_key_value_heads\": 2,\n\"intermediate_size\": 128, "
                           "\"max_position_embeddings\": 512, \"rms_norm_eps\": 1e-5, "
                           "\"rope_theta\": 10000.0, \"hidden_act\": \"silu\"}";

static bool read_edited(
        struct model *model, const char *from, const char *to, struct arena *arena, struct err *err)
{
    const char *at = strstr(good, from);
    assert_non_null(at);
    char *text = arena_printf(arena, "%.*s%s%s", (int)(at - good), good, to, at + strlen(from));
    return model_read_config(model, text, (int64_t)strlen(text), "m/config.json", arena, err);
}

static void bad_configs_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *from, *to, *message;
    } cases[] = {
            {"\"hidden_size\": 64, ", "", "m/config.json: no hidden_size, expected a whole number"},
            {"\"hidden_size\": 64", "\"hidden_size\": 0",
                    "m/config.json: hidden_size is 0, expected 1 to"},
            {"\"hidden_size\": 64", "\"hidden_size\": -64",
                    "m/config.json: hidden_size is -64, expected a positive number"},
            {"\"hidden_size\": 64", "\"hidden_size\": 64.5",
                    "m/config.json: hidden_size is not a whole number"},
            {"\"hidden_size\": 64", "\"hidden_size\": \"64\"",
                    "m/config.json: hidden_size is not a whole number"},
            {"\"hidden_size\": 64", "\"hidden_size\": 99999999999999999999", "m/config.json"},
            {"\"vocab_size\": 100", "\"vocab_size\": 9000000000000000000",
                    "m/config.json: vocab_size is 9000000000000000000, expected 1 to 16777216"},
            {"\"num_key_value_heads\": 2", "\"num_key_value_heads\": 3",
                    "m/config.json: num_attention_heads is 4, expected a multiple of "
                    "num_key_value_heads (3)"},
            {"\"num_key_value_heads\": 2", "\"num_key_value_heads\": 0",
                    "m/config.json: num_key_value_heads is 0, expected 1 to 4096"},
            {"\"num_attention_heads\": 4", "\"num_attention_heads\": 5",
                    "hidden_size 64 is no multiple of num_attention_heads 5"},
            {"\"num_hidden_layers\": 2", "\"num_hidden_layers\": 2000000000",
                    "num_hidden_layers is 2000000000, expected 1 to 1024"},
            {"\"model_type\": \"llama\"", "\"model_type\": \"gpt2\"",
                    "model_type \"gpt2\" is not supported"},
            {"\"model_type\": \"llama\", ", "", "m/config.json: no model_type"},
            {"\"hidden_act\": \"silu\"", "\"hidden_act\": \"gelu\"", "hidden_act is \"gelu\""},
            {"\"hidden_act\": \"silu\"", "\"mlp_bias\": true", "mlp_bias is not supported"},
            {"\"rope_theta\": 10000.0", "\"rope_theta\": -1", "rope_theta is -1"},
            {"\"rope_theta\": 10000.0", "\"rope_scaling\": {\"type\": \"linear\", \"factor\": 2}",
                    "rope_type is \"linear\""},
            {"\"rope_theta\": 10000.0",
                    "\"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": 8, "
                    "\"low_freq_factor\": 4, "
                    "\"high_freq_factor\": 1, \"original_max_position_embeddings\": 64}",
                    "expected 0 < low <= high"},
            {"\"rms_norm_eps\": 1e-5", "\"rms_norm_eps\": 0", "rms_norm_eps is 0"},
            {"\"rms_norm_eps\": 1e-5", "\"tie_word_embeddings\": \"yes\"",
                    "tie_word_embeddings is not true or false"},
            {"\"rms_norm_eps\": 1e-5", "\"torch_dtype\": \"int8\"", "torch_dtype is \"int8\""},
            {"\"rms_norm_eps\": 1e-5", "\"layer_types\": [\"full_attention\"]",
                    "layer_types has 1 entries"},
            {"\"rms_norm_eps\": 1e-5", "\"layer_types\": [\"full_attention\", \"mamba\"]",
                    "layer_types[1] is \"mamba\""},
            {"\"rms_norm_eps\": 1e-5", "\"hidden_size\": 64", "m/config.json"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct arena arena = {0};
        struct err err = {0};
        struct model model;
        assert_false(read_edited(&model, cases[i].from, cases[i].to, &arena, &err));
        assert_int_equal(err.kind, ERR_INPUT);
        if (!strstr(err.text, cases[i].message))
            fail_msg("case %d: \"%s\" lacks \"%s\"", (int)i, err.text, cases[i].message);
        arena_free(&arena);
    }
}

static void newer_transformers_spelling_reads_the_same(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct err err = {0};
    struct model old, new;

    assert_true(read_edited(&old, "\"rope_theta\": 10000.0",
            "\"rope_theta\": 500000.0, \"torch_dtype\": \"float32\", \"rope_scaling\": "
            "{\"rope_type\": \"llama3\", "
            "\"factor\": 8.0, \"low_freq_factor\": 1.0, \"high_freq_factor\": 4.0, "
            "\"original_max_position_embeddings\": 64}",
            &arena, &err));
    assert_true(read_edited(&new, "\"rope_theta\": 10000.0",
            "\"dtype\": \"float32\", \"layer_types\": [\"full_attention\", \"full_attention\"], "
            "\"rope_parameters\": {\"rope_theta\": 500000.0, \"rope_type\": \"llama3\", "
            "\"factor\": 8.0, "
            "\"low_freq_factor\": 1.0, \"high_freq_factor\": 4.0, "
            "\"original_max_position_embeddings\": 64}",
            &arena, &err));
    assert_string_equal(old.digest, new.digest);
    assert_int_equal(new.dtype, DTYPE_F32);
    assert_int_equal(new.head_dim, 16);
    assert_string_equal(new.name, "m");
    assert_string_equal(new.path, "m");
    arena_free(&arena);
}

static void digest_sees_every_dimension(void **state)
{
    (void)state;
    static const char *const edits[][2] = {
            {"\"hidden_size\": 64", "\"hidden_size\": 128"},
            {"\"vocab_size\": 100", "\"vocab_size\": 101"},
            {"\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3"},
            {"\"num_key_value_heads\": 2", "\"num_key_value_heads\": 4"},
            {"\"rms_norm_eps\": 1e-5", "\"rms_norm_eps\": 1e-6"},
            {"\"rope_theta\": 10000.0", "\"rope_theta\": 10001.0"},
            {"\"intermediate_size\": 128", "\"intermediate_size\": 129"},
            {"\"hidden_act\": \"silu\"", "\"tie_word_embeddings\": true"},
    };
    struct arena arena = {0};
    struct err err = {0};
    struct model base, edited;

    assert_true(read_edited(&base, "64", "64", &arena, &err));
    for (size_t i = 0; i < sizeof(edits) / sizeof(edits[0]); i++) {
        assert_true(read_edited(&edited, edits[i][0], edits[i][1], &arena, &err));
        assert_string_not_equal(edited.digest, base.digest);
    }
    arena_free(&arena);
}

static void unknown_names_get_the_nearest(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct err err = {0};
    struct model model;

    assert_false(model_read(&model, "qwen3-0.6", SOURCE_DIR, &arena, &err));
    assert_non_null(strstr(err.text, "did you mean qwen3-0.6b?"));
    assert_int_equal(err.kind, ERR_INPUT);
    arena_free(&arena);
}

static void yaml_mistakes_carry_their_place(void **state)
{
    (void)state;
    static const char text[] =
            "format: shardwright-model\nversion: 1\nname: x\nfamily: llama\nhiden: 64\n";
    struct arena arena = {0};
    struct err err = {0};
    struct model model;

    assert_false(model_read_yaml(&model, text, sizeof(text) - 1, "x.yaml", &arena, &err));
    assert_non_null(strstr(err.text, "x.yaml:5:1"));
    assert_non_null(strstr(err.text, "hidden"));
    arena_free(&arena);
}

static void layers_are_cut(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct err err = {0};
    struct model model;

    assert_true(model_read(&model, "deepseek-v3", SOURCE_DIR, &arena, &err));
    const char *digest = model.digest;
    assert_true(model_cut_layers(&model, 5, &arena, &err));
    assert_int_equal(model.n_layers, 5);
    assert_string_equal(model.name, "deepseek-v3-5-layers");
    assert_string_not_equal(model.digest, digest);
    struct model_facts facts;
    model_facts(&facts, &model);
    assert_int_equal(facts.moe_layers, 2);
    assert_false(model_cut_layers(&model, 6, &arena, &err));
    assert_int_equal(err.kind, ERR_INPUT);
    arena_free(&arena);
}

static void the_runtime_runs_all_but_llama_4(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        bool runs;
    } cases[] = {{"llama-3.1-8b", true}, {"qwen3-0.6b", true}, {"qwen3-30b-a3b", true},
            {"mixtral-8x7b", true}, {"deepseek-v3", true}, {"gpt-oss-20b", true},
            {"llama-4-scout", false}};
    struct arena arena = {0};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct err err = {0};
        struct model model;
        assert_true(model_read(&model, cases[i].name, SOURCE_DIR, &arena, &err));
        assert_int_equal(model_runs(&model, &err), cases[i].runs);
        if (!cases[i].runs)
            assert_int_equal(err.kind, ERR_NO);
    }
    arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
            cmocka_unit_test(facts_equal_published_ones),
            cmocka_unit_test(every_shipped_model_survives_config_json),
            cmocka_unit_test(bad_configs_are_refused),
            cmocka_unit_test(newer_transformers_spelling_reads_the_same),
            cmocka_unit_test(digest_sees_every_dimension),
            cmocka_unit_test(unknown_names_get_the_nearest),
            cmocka_unit_test(yaml_mistakes_carry_their_place),
            cmocka_unit_test(layers_are_cut),
            cmocka_unit_test(the_runtime_runs_all_but_llama_4),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
