#include "cli/cli.h"

#include <stdio.h>
#include <string.h>

#include "core/clock.h"
#include "core/json.h"
#include "core/log.h"
#include "core/str.h"
#include "models/weights.h"

struct weights_cli {
    const char *out, *check;
    int64_t seed, shard_bytes;
    int dtype, layers;
    bool dry_run;
};

static const char *const dtype_choices[] = {"f32", "bf16", "f16", NULL};

#define AT(field) offsetof(struct weights_cli, field)

static const struct opt opts[] = {
        {"out", 'o', OPT_STRING, AT(out), .value = "DIR",
                .help = "directory to write, made if missing"},
        {"seed", 0, OPT_I64, AT(seed), .value = "N", .min = 0, .max = 9e18, .def = "1",
                .help = "seed of the values; the same seed gives the same bytes"},
        {"dtype", 0, OPT_ENUM, AT(dtype), .value = "TYPE", .names = dtype_choices, .def = "bf16",
                .help = "type of the weights"},
        {"shard-size", 0, OPT_BYTES, AT(shard_bytes), .value = "SIZE", .min = 1, .max = 9e18,
                .def = "5GB", .help = "start a new file before this size"},
        {"layers", 0, OPT_INT, AT(layers), .value = "N", .min = 0, .max = 1024, .def = "0",
                .help = "only the first N layers, for small variants; 0 = all"},
        {"dry-run", 0, OPT_FLAG, AT(dry_run),
                .help = "say how much would be written, write nothing"},
        {"check", 0, OPT_STRING, AT(check), .value = "DIR",
                .help = "open the checkpoint in DIR, judge all of its headers, write nothing"},
        {NULL},
};

struct progress {
    int64_t start_ns;
};

static void show_progress(void *self, int64_t done, int64_t total)
{
    const struct progress *progress = self;
    double spent_s = (double)(clock_now_ns() - progress->start_ns) / 1e9;
    log_progress(
            "weights", done, total, done > 0 ? spent_s * (double)(total - done) / (double)done : 0);
}

static bool check(struct cli *cli, const struct weights_cli *options)
{
    struct model model;
    struct model_facts facts;
    char size[32];

    if (!model_read(&model, options->check, cli->data_dir, cli->arena, cli->err))
        return false;
    if (!model.path || strcmp(model.path, options->check) != 0)
        return err_set(
                cli->err, ERR_INPUT, "%s: expected the directory of a checkpoint", options->check);
    struct weights *weights = weights_open(&model, options->check, cli->err);
    if (!weights)
        return false;
    weights_close(weights);
    model_facts(&facts, &model);
    if (cli->json) {
        struct json_writer w = {.pretty = true};
        json_object_begin(&w, NULL);
        json_put_string(&w, "model", model.name);
        json_put_bool(&w, "complete", true);
        json_put_int(&w, "parameters", facts.total_params);
        json_end(&w);
        fputs(w.text, stdout);
        json_writer_free(&w);
        return true;
    }
    printf("%s: complete, %lld parameters (%s as %s)\n", options->check,
            (long long)facts.total_params,
            str_show_bytes(size, (double)weights_bytes(&model, (enum dtype)model.dtype)),
            dtype_names[model.dtype]);
    return true;
}

static void print_written(const struct cli *cli, const struct model *model,
        const struct weights_cli *options, double seconds)
{
    enum dtype dtype = (enum dtype)options->dtype;
    int64_t bytes = weights_bytes(model, dtype);
    char size[32];

    if (cli->json) {
        struct json_writer w = {.pretty = true};
        json_object_begin(&w, NULL);
        json_put_string(&w, "model", model->name);
        json_put_string(&w, "directory", options->out);
        json_put_string(&w, "dtype", dtype_names[dtype]);
        json_put_int(&w, "seed", options->seed);
        json_put_int(&w, "bytes", bytes);
        json_put_bool(&w, "written", !options->dry_run);
        if (!options->dry_run)
            json_put_double(&w, "seconds", seconds);
        json_end(&w);
        fputs(w.text, stdout);
        json_writer_free(&w);
    } else if (options->dry_run) {
        printf("%s as %s: %s would be written to %s\n", model->name, dtype_names[dtype],
                str_show_bytes(size, (double)bytes), options->out);
    } else {
        printf("%s as %s, seed %lld: %s written to %s in %.1f s\n", model->name, dtype_names[dtype],
                (long long)options->seed, str_show_bytes(size, (double)bytes), options->out,
                seconds);
    }
}

static bool run(struct cli *cli, void *opaque)
{
    const struct weights_cli *options = opaque;
    struct model model;
    struct progress progress = {clock_now_ns()};
    struct weights_options write = {
            .seed = (uint64_t)options->seed,
            .dtype = (enum dtype)options->dtype,
            .shard_bytes = options->shard_bytes,
            .progress = show_progress,
            .self = &progress,
    };

    if (options->check && (cli->argc > 0 || options->out))
        return err_set(cli->err, ERR_INPUT,
                "--check DIR stands alone: it writes nothing and needs no MODEL");
    if (options->check)
        return check(cli, options);
    if (cli->argc == 0)
        return err_set(cli->err, ERR_INPUT,
                "MODEL is missing: shardwright weights MODEL -o DIR (see shardwright weights "
                "--help)");
    if (!options->out)
        return err_set(cli->err, ERR_INPUT, "-o DIR is missing: where shall the checkpoint go?");
    if (!model_read(&model, cli->argv[0], cli->data_dir, cli->arena, cli->err))
        return false;
    if (options->layers > 0 && !model_cut_layers(&model, options->layers, cli->arena, cli->err))
        return false;
    if (!options->dry_run && !weights_write(&model, options->out, &write, cli->err))
        return false;
    print_written(cli, &model, options, (double)(clock_now_ns() - progress.start_ns) / 1e9);
    return true;
}

const struct command command_weights = {
        .name = "weights",
        .summary = "write a seeded random checkpoint, or check one",
        .usage = "MODEL",
        .description = "Writes config.json and safetensors with the names that Hugging Face uses, "
                       "so that every "
                       "model can run without a download. MODEL is a config.json, a directory with "
                       "one, a model "
                       "YAML, or the name of a shipped model. Values depend on the seed, a "
                       "tensor's name and the "
                       "element alone. A checkpoint that opens is complete: a killed or failed "
                       "call leaves none.\n\n"
                       "With --check DIR an existing checkpoint is judged: header lengths, JSON, "
                       "types, shapes, "
                       "offsets, shard names, missing and extra tensors.",
        .examples = "shardwright weights qwen3-0.6b -o qwen3-0.6b\n"
                    "shardwright weights mixtral-8x7b --layers 2 -o small --dtype f32\n"
                    "shardwright weights --check qwen3-0.6b",
        .opts = opts,
        .options_size = sizeof(struct weights_cli),
        .min_operands = 0,
        .max_operands = 1,
        .run = run,
};
