/*
 * Tables of ai-dynamo/aiconfigurator, one kernel or collective a row. The columns tell which table it is; the
 * order of columns and ones that are not listed here do not matter. Latencies are milliseconds, message sizes
 * elements: of the whole buffer of a rank, as nccl-tests count it.
 */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "core/csv.h"
#include "db/import.h"

enum {
    MOST_INTS = 10,
    SIZE = INT32_MAX
};

enum value_of {
    DTYPE_NAME,   /* names[0] */
    KERNEL_DTYPE, /* names[1]: attention's arithmetic, MLA's gemms */
    WORD          /* distribution, backend, op_name */
};

struct reader;
struct table {
    const char *op_name;               /* NULL = any: words say */
    const char *dtype, *second, *word; /* columns of names, or NULL */
    const char *ints[MOST_INTS];       /* columns of numbers */
    bool (*fill)(struct reader *reader, struct profile_point *point, struct err *err);
};

struct reader {
    struct csv csv;
    const struct table *table;
    int dtype_at, second_at, word_at, latency_at, kernel_at, op_at, framework_at, version_at,
            device_at;
    int int_at[MOST_INTS];
    int64_t ints[MOST_INTS];
    enum dtype dtype, second;
};

struct name {
    const char *name;
    enum dtype dtype;
};

static const struct name dtypes[] = {
        {"bfloat16", DTYPE_BF16},
        {"float16", DTYPE_F16},
        {"half", DTYPE_F16},
        {"float32", DTYPE_F32},
        {"float", DTYPE_F32},
        {"fp8", DTYPE_F8},
        {"fp8_block", DTYPE_F8_BLOCK},
        {"int8", DTYPE_I8},
        {"int4_wo", DTYPE_INT4},
        {"w4a16_mxfp4", DTYPE_MXFP4},
};

static bool read_dtype(enum dtype *out, const struct csv *csv, int column, struct err *err)
{
    const char *text = csv->fields[column];
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++)
        if (strcmp(dtypes[i].name, text) == 0) {
            *out = dtypes[i].dtype;
            return true;
        }
    return err_at(err, csv_pos(csv, column),
            "%s is \"%s\", expected bfloat16, float16, half, float32, fp8, fp8_block, int8, "
            "int4_wo "
            "or w4a16_mxfp4",
            csv->names[column], text);
}

static bool must_be(
        const struct reader *reader, int i, int64_t expected, const char *why, struct err *err)
{
    if (reader->ints[i] == expected)
        return true;
    return err_at(err, csv_pos(&reader->csv, reader->int_at[i]),
            "%s is %" PRId64 ", expected %" PRId64 ": %s", reader->table->ints[i], reader->ints[i],
            expected, why);
}

static bool fill_gemm(struct reader *r, struct profile_point *point, struct err *err)
{
    (void)err;
    point->op = (struct op){.kind = OP_GEMM,
            .dtype = r->dtype,
            .degree = 1,
            .dim = {r->ints[0], r->ints[1], r->ints[2]}};
    return true;
}

/* ints: batch_size isl num_heads num_key_value_heads head_dim beam_width step window_size */
static bool check_attention(const struct reader *r, struct err *err)
{
    if (r->second != DTYPE_BF16 && r->second != DTYPE_F16)
        return err_at(err, csv_pos(&r->csv, r->second_at),
                "%s is \"%s\", expected bfloat16 or float16: the type that attention computes in",
                r->table->second, r->csv.fields[r->second_at]);
    if (r->ints[2] % r->ints[3] != 0)
        return err_at(err, csv_pos(&r->csv, r->int_at[3]),
                "num_key_value_heads is %" PRId64 ", expected a divisor of the %" PRId64
                " num_heads",
                r->ints[3], r->ints[2]);
    return must_be(r, 5, 1, "beam search is not planned for", err);
}

static bool fill_prefill(struct reader *r, struct profile_point *point, struct err *err)
{
    const int64_t *v = r->ints;
    point->op = (struct op){.kind = OP_ATTENTION_PREFILL,
            .dtype = r->dtype,
            .degree = 1,
            .dim = {v[1], v[1] + v[6], v[2], v[3], v[4], v[7], v[0] - 1}};
    return check_attention(r, err);
}

static bool fill_decode(struct reader *r, struct profile_point *point, struct err *err)
{
    const int64_t *v = r->ints;
    point->op = (struct op){.kind = OP_ATTENTION_DECODE,
            .dtype = r->dtype,
            .degree = 1,
            .dim = {v[0], v[1] + v[6], v[2], v[3], v[4], v[7]}};
    return check_attention(r, err) && must_be(r, 1, 1, "one token a sequence is generated", err);
}

/* "balanced", or "power_law_1.2": the exponent in hundredths. */
static bool read_skew(int64_t *out, const struct reader *r, struct err *err)
{
    static const char power_law[] = "power_law_";
    const char *text = r->csv.fields[r->word_at];
    *out = 0;
    if (strcmp(text, "balanced") == 0 || strcmp(text, "uniform") == 0)
        return true;
    if (strncmp(text, power_law, sizeof power_law - 1) == 0) {
        const char *digit = text + sizeof power_law - 1;
        int places = -1;
        for (; (*digit >= '0' && *digit <= '9') || (*digit == '.' && places < 0); digit++) {
            if (*digit != '.' && places < 2)
                *out = *out * 10 + (*digit - '0');
            places += *digit == '.' || places >= 0;
        }
        for (; places < 2 && places >= 0; places++)
            *out *= 10;
        if (places < 0)
            *out *= 100;
        if (*digit == '\0' && *out > 0 && *out < 100000)
            return true;
    }
    return err_at(err, csv_pos(&r->csv, r->word_at),
            "distribution is \"%s\", expected balanced, uniform or power_law_X with X above 0",
            text);
}

/* ints: num_tokens hidden_size inter_size topk num_experts moe_tp_size moe_ep_size */
static bool fill_moe(struct reader *r, struct profile_point *point, struct err *err)
{
    const int64_t *v = r->ints;
    int64_t skew;
    if (!read_skew(&skew, r, err))
        return false;
    for (int i = 5; i < 7; i++) {
        int64_t whole = i == 5 ? v[2] : v[4];
        if (whole % v[i] != 0)
            return err_at(err, csv_pos(&r->csv, r->int_at[i]),
                    "%s is %" PRId64 ", expected a divisor of the %" PRId64 " of %s",
                    r->table->ints[i], v[i], whole, r->table->ints[i == 5 ? 2 : 4]);
    }
    point->op = (struct op){.kind = OP_MOE,
            .dtype = r->dtype,
            .degree = 1,
            .dim = {v[0], v[1], v[2] / v[5], v[4] / v[6], v[4], v[3], skew}};
    return true;
}

/* Dimensions of the model that the modules were measured in; the tables name the model only. */
static bool fill_mla_model(const struct reader *r, int64_t dims[3], struct err *err)
{
    if (strcmp(r->csv.fields[r->word_at], "DeepseekV3ForCausalLM") != 0)
        return err_at(err, csv_pos(&r->csv, r->word_at),
                "architecture is \"%s\", expected DeepseekV3ForCausalLM: its dimensions are known",
                r->csv.fields[r->word_at]);
    dims[0] = 7168;
    dims[1] = 1536;
    dims[2] = 512;
    return true;
}

/* ints: num_heads batch_size isl tp_size step */
static bool fill_mla(struct reader *r, struct profile_point *point, bool decode, struct err *err)
{
    const int64_t *v = r->ints;
    int64_t model[3];
    if (!must_be(r, 3, 1, "num_heads counts the heads of one rank", err)
            || !fill_mla_model(r, model, err))
        return false;
    int64_t kv_bits = INT64_C(8) * dtype_bytes(r->second);
    point->op = (struct op){.kind = decode ? OP_MLA_MODULE_DECODE : OP_MLA_MODULE_PREFILL,
            .dtype = r->dtype,
            .degree = 1,
            .dim = {v[2], v[2] + v[4], v[0], model[0], model[1], model[2], kv_bits}};
    if (decode)
        point->op.dim[0] = v[1];
    else
        point->op.dim[7] = v[1] - 1;
    return !decode || must_be(r, 2, 1, "one token a sequence is generated", err);
}

static bool fill_mla_prefill(struct reader *r, struct profile_point *point, struct err *err)
{
    return fill_mla(r, point, false, err);
}

static bool fill_mla_decode(struct reader *r, struct profile_point *point, struct err *err)
{
    return fill_mla(r, point, true, err);
}

/* ints: num_gpus message_size */
static bool fill_collective(struct reader *r, struct profile_point *point, enum op_kind kind,
        int64_t via, struct err *err)
{
    int64_t ranks = r->ints[0];
    int64_t bytes = r->ints[1] * dtype_bytes(r->dtype);
    if (kind == OP_ALL_GATHER || kind == OP_REDUCE_SCATTER) {
        if (bytes % ranks != 0)
            return err_at(err, csv_pos(&r->csv, r->int_at[1]),
                    "%" PRId64 " elements, expected a size that %" PRId64 " ranks can share",
                    r->ints[1], ranks);
        bytes /= ranks;
    }
    point->op = (struct op){
            .kind = kind, .dtype = r->dtype, .degree = (int32_t)ranks, .dim = {bytes, via}};
    return true;
}

static bool fill_nccl(struct reader *r, struct profile_point *point, struct err *err)
{
    static const struct {
        const char *name;
        enum op_kind kind;
    } kinds[] = {{"all_reduce", OP_ALL_REDUCE}, {"all_gather", OP_ALL_GATHER},
            {"reduce_scatter", OP_REDUCE_SCATTER}, {"alltoall", OP_ALL_TO_ALL},
            {"all_to_all", OP_ALL_TO_ALL}, {"broadcast", OP_BROADCAST}, {"p2p", OP_SEND_RECV}};
    const char *text = r->csv.fields[r->op_at];
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(kinds[i].name, text) == 0)
            return fill_collective(r, point, kinds[i].kind, 0, err);
    return err_at(err, csv_pos(&r->csv, r->op_at),
            "op_name is \"%s\", expected all_reduce, all_gather, reduce_scatter, alltoall, "
            "broadcast "
            "or p2p",
            text);
}

static bool fill_custom(struct reader *r, struct profile_point *point, struct err *err)
{
    const char *text = r->csv.fields[r->word_at];
    const char *mode = strrchr(text, '_');
    int64_t via = mode == NULL                  ? 0
                  : strcmp(mode, "_graph") == 0 ? 1
                  : strcmp(mode, "_eager") == 0 ? 2
                                                : 0;
    if (via == 0)
        return err_at(err, csv_pos(&r->csv, r->word_at),
                "backend is \"%s\", expected a name that ends in _graph or _eager", text);
    return fill_collective(r, point, OP_ALL_REDUCE, via, err);
}

#define ATTENTION_INTS                                                                             \
    {                                                                                              \
        "batch_size", "isl", "num_heads", "num_key_value_heads", "head_dim", "beam_width", "step", \
                "window_size"                                                                      \
    }
#define MLA_INTS                                            \
    {                                                       \
        "num_heads", "batch_size", "isl", "tp_size", "step" \
    }

static const struct table tables[] = {
        {"gemm", "gemm_dtype", NULL, NULL, {"m", "n", "k"}, fill_gemm},
        {"context_attention", "kv_cache_dtype", "attn_dtype", NULL, ATTENTION_INTS, fill_prefill},
        {"generation_attention", "kv_cache_dtype", "attn_dtype", NULL, ATTENTION_INTS, fill_decode},
        {"moe", "moe_dtype", NULL, "distribution",
                {"num_tokens", "hidden_size", "inter_size", "topk", "num_experts", "moe_tp_size",
                        "moe_ep_size"},
                fill_moe},
        {"mla_context_module", "gemm_type", "kv_cache_dtype", "architecture", MLA_INTS,
                fill_mla_prefill},
        {"mla_generation_module", "gemm_type", "kv_cache_dtype", "architecture", MLA_INTS,
                fill_mla_decode},
        {NULL, "nccl_dtype", NULL, NULL, {"num_gpus", "message_size"}, fill_nccl},
        {"all_reduce", "allreduce_dtype", NULL, "backend", {"num_gpus", "message_size"},
                fill_custom},
};

/* Columns that tables count from 0; all others from 1. */
static int64_t least_of(const char *column)
{
    return strcmp(column, "step") == 0 || strcmp(column, "window_size") == 0 ? 0 : 1;
}

static bool need(int *at, const struct csv *csv, const char *name, struct err *err)
{
    *at = -1;
    if (name == NULL || (*at = csv_column(csv, name)) >= 0)
        return true;
    return err_at(err, (struct pos){csv->path, csv->row_line, 1},
            "column \"%s\" is missing: it belongs to this table", name);
}

static bool find_columns(struct reader *r, const struct table *table, bool no_cost, struct err *err)
{
    const struct csv *csv = &r->csv;
    r->table = table;
    if (!need(&r->dtype_at, csv, table->dtype, err) || !need(&r->second_at, csv, table->second, err)
            || !need(&r->word_at, csv, table->word, err) || !need(&r->op_at, csv, "op_name", err)
            || !need(&r->kernel_at, csv, "kernel_source", err)
            || !need(&r->framework_at, csv, "framework", err)
            || !need(&r->version_at, csv, "version", err)
            || !need(&r->device_at, csv, "device", err)
            || (!no_cost && !need(&r->latency_at, csv, "latency", err)))
        return false;
    r->latency_at = csv_column(csv, "latency");
    for (int i = 0; i < MOST_INTS && table->ints[i] != NULL; i++)
        if (!need(&r->int_at[i], csv, table->ints[i], err))
            return false;
    return true;
}

/* The table whose type column is there; attention and MLA have the same ones in both, so op_name decides. */
static const struct table *find_table(const struct csv *csv, const char *op_name)
{
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
        const struct table *table = &tables[i];
        bool named = table->op_name == NULL || strcmp(table->op_name, op_name) == 0;
        if (named && csv_column(csv, table->dtype) >= 0)
            return table;
    }
    return NULL;
}

static bool start_table(struct reader *r, bool no_cost, struct err *err)
{
    int op_at = csv_column(&r->csv, "op_name");
    const struct table *table = op_at < 0 ? NULL : find_table(&r->csv, r->csv.fields[op_at]);
    if (table == NULL)
        return err_at(err, (struct pos){r->csv.path, r->csv.row_line, 1},
                "no table of aiconfigurator that is known: expected op_name gemm, "
                "context_attention, "
                "generation_attention, moe, mla_context_module, mla_generation_module or a "
                "collective, "
                "with the columns of docs/formats/import.md");
    return find_columns(r, table, no_cost, err);
}

static bool read_row(struct reader *r, struct profile_point *point, struct err *err)
{
    const struct csv *csv = &r->csv;
    const struct table *table = r->table;
    if (table == NULL)
        return err_set(err, ERR_BUG, "a row before its table");
    if (table->op_name != NULL && strcmp(csv->fields[r->op_at], table->op_name) != 0)
        return err_at(err, csv_pos(csv, r->op_at), "op_name is \"%s\", expected \"%s\" as before",
                csv->fields[r->op_at], table->op_name);
    if (!read_dtype(&r->dtype, csv, r->dtype_at, err)
            || (r->second_at >= 0 && !read_dtype(&r->second, csv, r->second_at, err)))
        return false;
    for (int i = 0; i < MOST_INTS && table->ints[i] != NULL; i++)
        if (!csv_int(&r->ints[i], csv, r->int_at[i], least_of(table->ints[i]), SIZE, err))
            return false;
    double ms = (double)NAN;
    if (r->latency_at >= 0 && !csv_positive(&ms, csv, r->latency_at, err))
        return false;
    /* fill writes the op alone */
    point->cost_us = ms * 1e3;
    return table->fill(r, point, err);
}

bool import_aiconfigurator(struct imported *out, const struct import_file *file,
        const struct import_options *options, struct arena *arena, struct err *err)
{
    struct reader r = {0};
    struct import_batch *batch = NULL;
    const char *last[3] = {"", "", ""}; /* framework, version, device of the row before */
    const char *kernel = NULL;

    if (!csv_open(&r.csv, file->text, file->len, file->path, err))
        return false;
    while (csv_next(&r.csv, err)) {
        if (r.table == NULL && !start_table(&r, options->no_cost, err))
            return false;
        const char *now[3] = {r.csv.fields[r.framework_at], r.csv.fields[r.version_at],
                r.csv.fields[r.device_at]};
        if (batch == NULL || strcmp(now[0], last[0]) != 0 || strcmp(now[1], last[1]) != 0
                || strcmp(now[2], last[2]) != 0) {
            const char *software = arena_printf(arena, "%s %s", now[0], now[1]);
            batch = import_batch_of(out, file, options, now[2], software, arena);
            memcpy(last, now, sizeof last);
        }
        struct profile_point *point = import_add(batch, r.csv.row_line, arena);
        if (!read_row(&r, point, err))
            return false;
        const char *name = r.csv.fields[r.kernel_at];
        if (kernel == NULL || strcmp(kernel, name) != 0)
            kernel = name;
        point->kernel = kernel;
    }
    return err->kind == ERR_NONE;
}
