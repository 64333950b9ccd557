/* Checkpoints: written, opened, sliced, damaged. */
#include "models/weights.h"

#include <dirent.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/clock.h"
#include "core/file.h"
#include "core/half.h"

static struct arena arena;
static char root[] = "/tmp/shardwright-weights-XXXXXX";

static struct model read_model(const char *name)
{
    struct err err = {0};
    struct model model;
    if (!model_read(&model, name, SOURCE_DIR, &arena, &err))
        fail_msg("%s", err.text);
    return model;
}

static const char *under(const char *name)
{
    return arena_printf(&arena, "%s/%s", root, name);
}

static const char *write_checkpoint(
        const struct model *model, const char *name, enum dtype dtype, int64_t shard_bytes)
{
    struct err err = {0};
    struct weights_options options = {.seed = 7, .dtype = dtype, .shard_bytes = shard_bytes};
    const char *dir = under(name);
    if (!weights_write(model, dir, &options, &err))
        fail_msg("%s", err.text);
    return dir;
}

static void refused(const struct model *model, const char *dir, const char *message)
{
    struct err err = {0};
    struct weights *weights = weights_open(model, dir, &err);

    if (weights)
        fail_msg("opened, expected: %s", message);
    assert_int_equal(err.kind, ERR_INPUT);
    if (!strstr(err.text, message))
        fail_msg("\"%s\" lacks \"%s\"", err.text, message);
}

static bool exists(const char *dir, const char *name)
{
    return access(arena_printf(&arena, "%s/%s", dir, name), F_OK) == 0;
}

/* All of a tensor as f32. */
static float *all_of(const struct weights *weights, const char *name, int64_t *n)
{
    struct err err = {0};
    const struct tensor *t = weights_find(weights, name);
    assert_non_null(t);
    int64_t cols = t->dim[t->n_dims - 1], rows = 1;
    for (int i = 0; i + 1 < t->n_dims; i++)
        rows *= t->dim[i];
    *n = rows * cols;
    float *out = ARENA_NEW(&arena, float, *n);
    assert_true(
            weights_copy(out, DTYPE_F32, weights, name, (struct slice_2d){0, rows, 0, cols}, &err));
    return out;
}

/* Every tensor of both holds the same values. */
static void same_values(const struct weights *a, const struct weights *b, const struct model *model)
{
    struct err err = {0};
    struct tensor_spec *specs;
    int64_t n, n_a, n_b;

    assert_true(weights_specs(&specs, &n, model, &arena, &err));
    for (int64_t i = 0; i < n; i++) {
        float *x = all_of(a, specs[i].name, &n_a), *y = all_of(b, specs[i].name, &n_b);
        assert_int_equal(n_a, n_b);
        assert_memory_equal(x, y, (size_t)n_a * sizeof(*x));
    }
}

static void every_runnable_family_writes_and_opens(void **state)
{
    (void)state;
    static const char *const names[] = {"tiny-llama", "tiny-qwen3", "tiny-qwen3-moe",
            "tiny-mixtral", "tiny-deepseek-v3", "tiny-gpt-oss"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct err err = {0};
        struct model model = read_model(names[i]), again;
        const char *dir = write_checkpoint(&model, names[i], DTYPE_BF16, 0);
        struct weights *weights = weights_open(&model, dir, &err);
        if (!weights)
            fail_msg("%s", err.text);
        weights_close(weights);
        assert_true(model_read(&again, dir, NULL, &arena, &err));
        assert_string_equal(again.digest, model.digest);
        assert_string_equal(again.path, dir);
        assert_int_equal(again.dtype, DTYPE_BF16);
    }
}

/* Tensors hold as many parameters as the facts say, for every family and its real size. */
static void specs_add_up_to_the_parameters(void **state)
{
    (void)state;
    static const char *const names[] = {"llama-3.1-8b", "qwen3-0.6b", "qwen3-30b-a3b",
            "mixtral-8x7b", "deepseek-v3", "gpt-oss-20b", "llama-4-scout", "llama-4-maverick"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct arena own = {0};
        struct err err = {0};
        struct model model = read_model(names[i]);
        struct model_facts facts;
        struct tensor_spec *specs;
        int64_t n, total = 0;

        assert_true(weights_specs(&specs, &n, &model, &own, &err));
        for (int64_t t = 0; t < n; t++) {
            int64_t elements = 1;
            for (int d = 0; d < specs[t].n_dims; d++)
                elements *= specs[t].dim[d];
            total += elements;
        }
        model_facts(&facts, &model);
        if (total != facts.total_params)
            fail_msg("%s: tensors hold %lld, facts say %lld", names[i], (long long)total,
                    (long long)facts.total_params);
        arena_free(&own);
    }
}

static void shards_hold_the_same_bytes(void **state)
{
    (void)state;
    struct err err = {0};
    struct model model = read_model("tiny-qwen3-moe");
    const char *one = write_checkpoint(&model, "one", DTYPE_F32, 0);
    const char *many = write_checkpoint(&model, "many", DTYPE_F32, 300000);
    struct weights *a = weights_open(&model, one, &err), *b = weights_open(&model, many, &err);

    if (!a || !b)
        fail_msg("%s", err.text);
    assert_true(exists(many, "model.safetensors.index.json"));
    assert_false(exists(many, "model.safetensors"));
    same_values(a, b, &model);
    weights_close(b);

    /* Made in memory, without a file. */
    b = weights_open_random(&model, 7, DTYPE_F32, &err);
    assert_non_null(b);
    same_values(a, b, &model);
    weights_close(b);
    b = weights_open_random(&model, 8, DTYPE_F32, &err);
    int64_t n;
    assert_memory_not_equal(all_of(a, "lm_head.weight", &n), all_of(b, "lm_head.weight", &n), 64);
    weights_close(a);
    weights_close(b);
}

static void bf16_files_and_memory_agree(void **state)
{
    (void)state;
    struct err err = {0};
    struct model model = read_model("tiny-qwen3");
    const char *dir = write_checkpoint(&model, "bf16", DTYPE_BF16, 0);
    struct weights *a = weights_open(&model, dir, &err);
    struct weights *b = weights_open_random(&model, 7, DTYPE_BF16, &err);

    assert_non_null(a);
    same_values(a, b, &model);
    weights_close(a);
    weights_close(b);
}

static void slices_are_cut_from_the_whole(void **state)
{
    (void)state;
    static const struct slice_2d slices[] = {
            {0, 128, 0, 128}, {5, 3, 0, 128}, {5, 3, 17, 40}, {127, 1, 127, 1}, {0, 0, 0, 0}};
    static const enum dtype dtypes[] = {DTYPE_F32, DTYPE_BF16, DTYPE_F16};
    const char *name = "model.layers.1.self_attn.o_proj.weight";
    struct err err = {0};
    struct model model = read_model("tiny-qwen3");
    struct weights *open[6] = {
            weights_open(&model, write_checkpoint(&model, "slices-f32", DTYPE_F32, 0), &err),
            weights_open(&model, write_checkpoint(&model, "slices-bf16", DTYPE_BF16, 0), &err),
            weights_open(&model, write_checkpoint(&model, "slices-f16", DTYPE_F16, 0), &err),
            weights_open_random(&model, 7, DTYPE_F32, &err),
            weights_open_random(&model, 7, DTYPE_BF16, &err),
            weights_open_random(&model, 7, DTYPE_F16, &err)};

    for (int w = 0; w < 6; w++) {
        int64_t n;
        float *whole = all_of(open[w], name, &n);
        assert_int_equal(n, 128 * 128);
        for (size_t s = 0; s < sizeof(slices) / sizeof(slices[0]); s++) {
            const struct slice_2d *c = &slices[s];
            for (int d = 0; d < 3; d++) {
                char *out = arena_alloc(&arena, (int64_t)128 * 128 * 4);
                assert_true(weights_copy(out, dtypes[d], open[w], name, *c, &err));
                for (int64_t i = 0; i < c->rows * c->cols; i++) {
                    float want = whole[(c->row + i / c->cols) * 128 + c->col + i % c->cols];
                    uint16_t half;
                    float got;
                    memcpy(&got, out + 4 * (d == 0 ? i : 0), sizeof(got));
                    if (d > 0)
                        memcpy(&half, out + 2 * i, sizeof(half));
                    if (d == 1) {
                        got = bf16_widen(half);
                        want = bf16_widen(bf16_narrow(want));
                    } else if (d == 2) {
                        got = f16_widen(half);
                        want = f16_widen(f16_narrow(want));
                    }
                    assert_memory_equal(&got, &want, sizeof(got));
                }
            }
        }
        float out[4];
        err_clear(&err);
        assert_false(
                weights_copy(out, DTYPE_F32, open[w], name, (struct slice_2d){127, 2, 0, 1}, &err));
        assert_int_equal(err.kind, ERR_BUG);
        err_clear(&err);
        assert_false(weights_copy(out, DTYPE_F32, open[w], "no such", (struct slice_2d){0}, &err));
        weights_close(open[w]);
    }
}

/* gpt-oss's gate and up in turn: every second column becomes a row; longer than one run of the copy. */
static void turned_slices_exchange_rows_and_columns(void **state)
{
    (void)state;
    static const struct turned {
        struct slice_2d slice;
        int64_t step;
    } cases[] = {{{0, 128, 0, 128}, 1}, {{256, 128, 1, 64}, 2}, {{3, 7, 5, 1}, 2},
            {{130, 1, 0, 64}, 2}, {{9, 2, 0, 43}, 3}, {{0, 0, 0, 0}, 1}};
    const char *name = "model.layers.1.mlp.experts.gate_up_proj";
    struct err err = {0};
    struct model model = read_model("tiny-gpt-oss");
    struct weights *open[2] = {
            weights_open(&model, write_checkpoint(&model, "turned", DTYPE_F32, 0), &err),
            weights_open_random(&model, 7, DTYPE_F32, &err)};

    for (int w = 0; w < 2; w++) {
        int64_t n;
        const float *whole = all_of(open[w], name, &n);
        assert_int_equal(n, 8 * 128 * 128);
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
            const struct slice_2d c = cases[i].slice;
            float *wide = ARENA_NEW(&arena, float, c.rows *c.cols + 1);
            uint16_t *narrow = ARENA_NEW(&arena, uint16_t, c.rows * c.cols + 1);
            assert_true(
                    weights_copy_turned(wide, DTYPE_F32, open[w], name, c, cases[i].step, &err));
            assert_true(
                    weights_copy_turned(narrow, DTYPE_BF16, open[w], name, c, cases[i].step, &err));
            for (int64_t at = 0; at < c.rows * c.cols; at++) {
                int64_t row = c.row + at % c.rows, col = c.col + at / c.rows * cases[i].step;
                float want = whole[row * 128 + col];
                assert_memory_equal(&wide[at], &want, sizeof(want));
                assert_int_equal(narrow[at], bf16_narrow(want));
            }
        }
        err_clear(&err);
        float out[2];
        assert_false(weights_copy_turned(
                out, DTYPE_F32, open[w], name, (struct slice_2d){0, 1, 127, 2}, 1, &err));
        assert_int_equal(err.kind, ERR_BUG);
        err_clear(&err);
        assert_false(weights_copy_turned(
                out, DTYPE_F32, open[w], name, (struct slice_2d){0, 1, 126, 2}, 2, &err));
        weights_close(open[w]);
    }
}

static void random_values_have_the_stated_scale(void **state)
{
    (void)state;
    struct err err = {0};
    struct model model = read_model("qwen3-moe-small");
    struct weights *weights = weights_open_random(&model, 3, DTYPE_F32, &err);
    static const struct {
        const char *name;
        double mean, deviation;
    } cases[] = {
            {"model.layers.0.self_attn.q_proj.weight", 0, 0.0441942}, /* 1/sqrt(512) */
            {"model.layers.3.mlp.experts.5.down_proj.weight", 0,
                    0.0110485}, /* 1/sqrt(512 * 2 * 8) */
            {"lm_head.weight", 0, 0.0441942},
            {"model.norm.weight", 1, 0.0577350}, /* uniform 1 +- 0.1 */
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int64_t n;
        float *x = all_of(weights, cases[i].name, &n);
        double sum = 0, squares = 0;
        for (int64_t k = 0; k < n; k++)
            sum += (double)x[k];
        for (int64_t k = 0; k < n; k++)
            squares += ((double)x[k] - sum / (double)n) * ((double)x[k] - sum / (double)n);
        double deviation = sqrt(squares / (double)n), error = 5 / sqrt((double)n);
        if (fabs(sum / (double)n - cases[i].mean) > cases[i].deviation * error)
            fail_msg("%s: mean %g", cases[i].name, sum / (double)n);
        if (fabs(deviation / cases[i].deviation - 1) > error)
            fail_msg("%s: deviation %g", cases[i].name, deviation);
    }
    weights_close(weights);
}

/* ---- damage ---- */

static void edit_file(const char *path, const char *from, const char *to)
{
    struct err err = {0};
    char *text;
    int64_t len;
    assert_true(file_read(&text, &len, path, &arena, &err));
    int64_t n = (int64_t)strlen(from);
    assert_int_equal(n, strlen(to)); /* offsets stay */
    for (int64_t i = 0; i + n <= len; i++) {
        if (memcmp(text + i, from, (size_t)n) == 0) {
            memcpy(text + i, to, (size_t)n);
            assert_true(file_write(path, text, len, &err));
            return;
        }
    }
    fail_msg("%s holds no %s", path, from);
}

static void damaged_checkpoints_are_refused(void **state)
{
    (void)state;
    struct model model = read_model("tiny-qwen3"), other = read_model("tiny-llama");
    const char *dir = write_checkpoint(&model, "damaged", DTYPE_BF16, 0);
    const char *path = arena_printf(&arena, "%s/model.safetensors", dir);
    struct stat st;

    refused(&other, dir, "tensor lm_head.weight of tiny-llama is missing");
    struct model cut = model;
    struct err none = {0};
    assert_true(model_cut_layers(&cut, 3, &arena, &none));
    refused(&cut, dir,
            "tensor model.layers.3.input_layernorm.weight does not belong to tiny-qwen3-3-layers");
    edit_file(path, "model.norm.weight", "model.norx.weight");
    refused(&model, dir, "tensor model.norm.weight of tiny-qwen3 is missing");
    edit_file(path, "model.norx.weight", "model.norm.weight");
    edit_file(path, "[512,128]", "[128,512]");
    refused(&model, dir,
            "tensor model.embed_tokens.weight is [128, 512], the model's is [512, 128]");
    edit_file(path, "[128,512]", "[512,128]");
    struct err err = {0};
    struct weights *weights = weights_open(&model, dir, &err);
    assert_non_null(weights);
    weights_close(weights);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(truncate(path, st.st_size - 1), 0);
    refused(&model, dir, "model.safetensors: tensor");
    assert_int_equal(truncate(path, 0), 0);
    refused(&model, dir, "0 bytes are no safetensors file");
    assert_int_equal(unlink(path), 0);
    refused(&model, dir, "neither model.safetensors nor model.safetensors.index.json is there");
    refused(&model, under("no such directory"), "neither model.safetensors nor");
}

static void damaged_indices_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *from, *to, *message;
    } cases[] = {
            {"model-00001-of-00002.safetensors", "../el-00001-of-00002.safetensors",
                    "\"../el-00001-of-00002.safetensors\", expected the name of a .safetensors "
                    "file"},
            {"model-00001-of-00002.safetensors", "/odel-00001-of-00002.safetensors",
                    "expected the name of"},
            {"model-00001-of-00002.safetensors", "model-00001-of-00002.safetensorx",
                    "expected the name of"},
            {"model-00001-of-00002.safetensors", "model-00003-of-00002.safetensors",
                    "No such file"},
            {"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors",
                    "the index says"},
            {"model.norm.weight", "model.norx.weight", "the index says nothing of it"},
            {"weight_map", "weight_mop", "no object weight_map"},
    };
    struct model model = read_model("tiny-qwen3");

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *dir = write_checkpoint(&model, "index", DTYPE_BF16, 1000000);
        edit_file(arena_printf(&arena, "%s/model.safetensors.index.json", dir), cases[i].from,
                cases[i].to);
        refused(&model, dir, cases[i].message);
    }
    /* A tensor in two files. */
    const char *dir = write_checkpoint(&model, "index", DTYPE_BF16, 1000000);
    edit_file(arena_printf(&arena, "%s/model-00002-of-00002.safetensors", dir), "model.norm.weight",
            "model.norm.WEIGHT");
    refused(&model, dir, "tensor model.norm.WEIGHT");
}

/* ---- f8 ---- */

/* A copy of a checkpoint in f32 whose matrices of the layers are F8_E4M3 with scales of a kind; the
 * values that they stand for are put into a second copy. */
enum scale_kind {
    SCALE_TENSOR,
    SCALE_ROW,
    SCALE_BLOCK
};

struct f8_case {
    enum scale_kind kind;
    const char *name; /* of the scales, behind that of the tensor */
};

struct f8_file {
    char *header, *data;
    int64_t len, n;
};

static void put_tensor(struct f8_file *f, const char *name, const char *dtype, const char *shape,
        const void *data, int64_t bytes)
{
    f->len += sprintf(f->header + f->len,
            "%s\"%s\":{\"dtype\":\"%s\",\"shape\":%s,\"data_offsets\":[%lld,%lld]}",
            f->len > 0 ? "," : "{", name, dtype, shape, (long long)f->n, (long long)(f->n + bytes));
    assert_true(f->len < 1 << 18 && f->n + bytes <= 1 << 23);
    memcpy(f->data + f->n, data, (size_t)bytes);
    f->n += bytes;
}

static struct f8_file new_file(void)
{
    return (struct f8_file){
            .header = arena_alloc(&arena, 1 << 18), .data = arena_alloc(&arena, 1 << 23)};
}

static void close_file(struct f8_file *f, const char *dir)
{
    struct err err = {0};
    char *all = arena_alloc(&arena, 8 + f->len + 1 + f->n);
    uint64_t len = (uint64_t)f->len + 1;

    memcpy(all, &len, 8); /* this test runs where the lower byte is first */
    memcpy(all + 8, f->header, (size_t)f->len);
    all[8 + f->len] = '}';
    memcpy(all + 9 + f->len, f->data, (size_t)f->n);
    if (!file_write(
                arena_printf(&arena, "%s/model.safetensors", dir), all, 9 + f->len + f->n, &err))
        fail_msg("%s", err.text);
}

/* How far a scale reaches, and the shape of all of them. */
static const char *reach(enum scale_kind kind, int64_t rows, int64_t cols, int64_t *r, int64_t *c)
{
    *r = kind == SCALE_TENSOR ? rows : kind == SCALE_ROW ? 1 : 128;
    *c = kind == SCALE_BLOCK ? 128 : cols;
    if (kind == SCALE_TENSOR)
        return "[]";
    return arena_printf(&arena, "[%lld,%lld]", (long long)((rows + *r - 1) / *r),
            (long long)((cols + *c - 1) / *c));
}

static void put_f8(struct f8_file *f, const struct f8_case *how, const char *name, float *values,
        int64_t rows, int64_t cols)
{
    int64_t r, c;
    const char *shape = reach(how->kind, rows, cols, &r, &c);
    int64_t ld = (cols + c - 1) / c, n = (rows + r - 1) / r * ld;
    float *scales = ARENA_NEW(&arena, float, n);
    uint8_t *bytes = arena_alloc(&arena, rows * cols);

    for (int64_t i = 0; i < n; i++)
        scales[i] = 0.001f * (float)(1 + i % 7);
    for (int64_t i = 0; i < rows * cols; i++) {
        float scale = scales[i / cols / r * ld + i % cols / c];
        bytes[i] = f8_narrow(values[i] / scale);
        values[i] = f8_widen(bytes[i]) * scale;
    }
    put_tensor(f, name, "F8_E4M3",
            arena_printf(&arena, "[%lld,%lld]", (long long)rows, (long long)cols), bytes,
            rows * cols);
    put_tensor(f, arena_printf(&arena, "%s%s", name, how->name), "F32", shape, scales, n * 4);
}

static void write_f8(
        const struct model *model, const struct f8_case *how, const char *f8, const char *wide)
{
    struct err err = {0};
    struct weights *from = weights_open_random(model, 7, DTYPE_F32, &err);
    struct f8_file small = new_file(), large = new_file();
    struct tensor_spec *specs;
    int64_t n = 0;
    int64_t count = 0;

    assert_true(from && weights_specs(&specs, &n, model, &arena, &err));
    for (int64_t i = 0; i < n; i++) {
        const struct tensor_spec *s = &specs[i];
        float *values = all_of(from, s->name, &count);
        bool matrix = s->n_dims == 2;
        const char *shape = matrix ? arena_printf(&arena, "[%lld,%lld]", (long long)s->dim[0],
                                    (long long)s->dim[1])
                                   : arena_printf(&arena, "[%lld]", (long long)s->dim[0]);
        if (s->role == TENSOR_MATRIX)
            put_f8(&small, how, s->name, values, s->dim[0], s->dim[1]);
        else
            put_tensor(&small, s->name, "F32", shape, values, count * 4);
        put_tensor(&large, s->name, "F32", shape, values, count * 4);
    }
    put_tensor(&small, "model.layers.0.self_attn.o_proj.input_scale", "F32", "[]", &(float){1}, 4);
    close_file(&small, f8);
    close_file(&large, wide);
    weights_close(from);
}

static void f8_tensors_are_multiplied_by_their_scales(void **state)
{
    (void)state;
    static const struct f8_case cases[] = {{SCALE_BLOCK, "_scale_inv"}, {SCALE_TENSOR, "_scale"},
            {SCALE_ROW, "_scale"}, {SCALE_TENSOR, "_scale_inv"}};
    struct model model = read_model("tiny-deepseek-v3");
    const char *f8 = write_checkpoint(&model, "f8", DTYPE_BF16, 0);
    const char *wide = write_checkpoint(&model, "f8-wide", DTYPE_BF16, 0);
    const char *name = "model.layers.0.mlp.down_proj.weight"; /* more than one block each way */
    const struct slice_2d slice = {3, 120, 125, 100};
    struct err err = {0};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        write_f8(&model, &cases[i], f8, wide);
        struct weights *a = weights_open(&model, f8, &err), *b = weights_open(&model, wide, &err);
        if (!a || !b)
            fail_msg("%s", err.text);
        assert_int_equal(weights_find(a, name)->dtype, DTYPE_F8);
        same_values(a, b, &model);
        uint16_t narrow[120 * 100], expected[120 * 100];
        assert_true(weights_copy(narrow, DTYPE_BF16, a, name, slice, &err));
        assert_true(weights_copy(expected, DTYPE_BF16, b, name, slice, &err));
        assert_memory_equal(narrow, expected, sizeof narrow);
        assert_true(weights_copy_turned(narrow, DTYPE_BF16, a, name, slice, 1, &err));
        assert_true(weights_copy_turned(expected, DTYPE_BF16, b, name, slice, 1, &err));
        assert_memory_equal(narrow, expected, sizeof narrow);
        weights_close(a);
        weights_close(b);
    }
}

static void f8_tensors_without_their_scales_are_refused(void **state)
{
    (void)state;
    struct model model = read_model("tiny-deepseek-v3");
    const char *dir = write_checkpoint(&model, "f8", DTYPE_BF16, 0);
    const char *wide = write_checkpoint(&model, "f8-wide", DTYPE_BF16, 0);
    const char *path = arena_printf(&arena, "%s/model.safetensors", dir);

    write_f8(&model, &(struct f8_case){SCALE_BLOCK, "_scale_inv"}, dir, wide);
    edit_file(path, "layers.0.mlp.down_proj.weight_scale_inv",
            "layers.0.mlp.down_proj.weight_scale_ivn");
    refused(&model, dir,
            "tensor model.layers.0.mlp.down_proj.weight is F8_E4M3, but neither "
            "model.layers.0.mlp.down_proj.weight_scale_inv nor "
            "model.layers.0.mlp.down_proj.weight_scale is there");
    write_f8(&model, &(struct f8_case){SCALE_BLOCK, "_scale_inv"}, dir, wide);
    edit_file(path, "\"dtype\":\"F32\",\"shape\":[1,2]", "\"dtype\":\"F32\",\"shape\":[2,1]");
    refused(&model, dir, "for blocks of 128 x 128");
}

static void extras_of_published_checkpoints_are_ignored(void **state)
{
    (void)state;
    struct err err = {0};
    struct model tied = read_model("tiny-qwen3"), untied = tied;
    untied.tied_embeddings = false; /* writes lm_head.weight */
    const char *dir = write_checkpoint(&untied, "tied", DTYPE_F32, 0);
    struct weights *weights = weights_open(&tied, dir, &err);

    assert_non_null(weights);
    weights_close(weights);
    refused(&untied, write_checkpoint(&tied, "tied", DTYPE_F32, 0),
            "tensor lm_head.weight of tiny-qwen3 is missing");
}

/* A write that fails on the way leaves no checkpoint and no litter; an older one survives a failure that
 * comes before the names are given. */
static void a_failed_write_leaves_nothing(void **state)
{
    (void)state;
    struct err err = {0};
    struct model model = read_model("tiny-mixtral");
    const char *old = write_checkpoint(&model, "kept", DTYPE_BF16, 0);
    pid_t child = fork();

    assert_true(child >= 0);
    if (child == 0) {
        struct rlimit limit = {100000, 100000}; /* bytes of a file: fails inside the data */
        struct weights_options options = {.seed = 9, .dtype = DTYPE_F32};
        signal(SIGXFSZ, SIG_IGN);
        setrlimit(RLIMIT_FSIZE, &limit);
        bool ok = weights_write(&model, under("failed"), &options, &err)
                  || weights_write(&model, old, &options, &err);
        _exit(!ok && err.kind == ERR_ENV && strstr(err.text, "nothing of it was kept") ? 42 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 42);
    assert_int_equal(rmdir(under("failed")), 0); /* empty */
    assert_false(exists(old, "model.safetensors.part"));
    struct weights *weights = weights_open(&model, old, &err);
    assert_non_null(weights);
    weights_close(weights);
}

static void a_killed_write_opens_as_old_or_new_or_not_at_all(void **state)
{
    (void)state;
    struct model model = read_model("tiny-mixtral");
    struct err err = {0};
    const char *dir = write_checkpoint(&model, "killed", DTYPE_BF16, 0);
    struct weights *old = weights_open_random(&model, 7, DTYPE_BF16, &err);
    struct weights *new = weights_open_random(&model, 9, DTYPE_F32, &err);

    for (int round = 0; round < 20; round++) {
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            struct weights_options options = {
                    .seed = 9, .dtype = DTYPE_F32, .shard_bytes = 1000000};
            struct err ignored = {0};
            _exit(weights_write(&model, dir, &options, &ignored) ? 0 : 1);
        }
        clock_sleep_ns(round * INT64_C(1500000));
        kill(child, SIGKILL);
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        err_clear(&err);
        struct weights *weights = weights_open(&model, dir, &err);
        if (weights) {
            const struct tensor *t = weights_find(weights, "lm_head.weight");
            same_values(weights, t->dtype == DTYPE_F32 ? new : old, &model);
        } else {
            assert_int_equal(err.kind, ERR_INPUT);
        }
        weights_close(weights);
    }
    weights_close(old);
    weights_close(new);
}

/* Directories of checkpoints hold files alone. */
static void remove_files(const char *path)
{
    DIR *dir = opendir(path);
    char name[512];

    for (struct dirent *entry; dir && (entry = readdir(dir)) != NULL;) {
        snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
        if (entry->d_name[0] != '.' && remove(name) != 0) {
            remove_files(name);
            rmdir(name);
        }
    }
    if (dir)
        closedir(dir);
}

static int setup(void **state)
{
    (void)state;
    return mkdtemp(root) ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    arena_free(&arena);
    remove_files(root);
    return rmdir(root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
            cmocka_unit_test(every_runnable_family_writes_and_opens),
            cmocka_unit_test(specs_add_up_to_the_parameters),
            cmocka_unit_test(shards_hold_the_same_bytes),
            cmocka_unit_test(bf16_files_and_memory_agree),
            cmocka_unit_test(slices_are_cut_from_the_whole),
            cmocka_unit_test(turned_slices_exchange_rows_and_columns),
            cmocka_unit_test(random_values_have_the_stated_scale),
            cmocka_unit_test(damaged_checkpoints_are_refused),
            cmocka_unit_test(damaged_indices_are_refused),
            cmocka_unit_test(f8_tensors_are_multiplied_by_their_scales),
            cmocka_unit_test(f8_tensors_without_their_scales_are_refused),
            cmocka_unit_test(extras_of_published_checkpoints_are_ignored),
            cmocka_unit_test(a_failed_write_leaves_nothing),
            cmocka_unit_test(a_killed_write_opens_as_old_or_new_or_not_at_all),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
