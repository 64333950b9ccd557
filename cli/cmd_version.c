#include "cli/cli.h"

#include <stdio.h>

#include "core/json.h"
#include "core/version.h"

/* What CMake found and put into this binary; cli/CMakeLists.txt defines them. */
static const struct {
    const char *name;
    bool in;
} parts[] = {
        {"MPI", SHARDWRIGHT_HAVE_MPI},
        {"CUDA", SHARDWRIGHT_HAVE_CUDA},
        {"NCCL", SHARDWRIGHT_HAVE_NCCL},
        {"CUPTI", SHARDWRIGHT_HAVE_CUPTI},
};

#define N_PARTS ((int)(sizeof parts / sizeof *parts))

static void print_json(void)
{
    struct json_writer w = {.pretty = true};
    json_object_begin(&w, NULL);
    json_put_string(&w, "name", "shardwright");
    json_put_string(&w, "version", version_number);
    json_put_string(&w, "commit", version_commit);
    json_put_string(&w, "build", version_build);
    for (int i = 0; i < N_PARTS; i++)
        json_put_bool(&w, parts[i].name, parts[i].in);
    json_end(&w);
    puts(w.text);
    json_writer_free(&w);
}

static bool run(struct cli *cli, void *options)
{
    (void)options;
    if (cli->json) {
        print_json();
        return true;
    }
    printf("shardwright %s\ncommit  %s\nbuild   %s\nwith   ", version_number, version_commit,
            version_build);
    int without = 0;
    for (int i = 0; i < N_PARTS; i++) {
        if (parts[i].in)
            printf(" %s", parts[i].name);
        without += !parts[i].in;
    }
    printf("%s\n", without == N_PARTS ? " nothing optional" : "");
    if (without) {
        printf("without");
        for (int i = 0; i < N_PARTS; i++)
            if (!parts[i].in)
                printf(" %s", parts[i].name);
        putchar('\n');
    }
    return true;
}

const struct command command_version = {
        .name = "version",
        .summary = "print version, commit, build and what is compiled in",
        .usage = "",
        .description =
                "Prints the version of this program, the commit it was built from, how it was "
                "built, and which optional parts are in it.",
        .examples = "shardwright version --json",
        .run = run,
};
