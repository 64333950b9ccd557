#include "db/import.h"

#include <ctype.h>
#include <math.h>
#include <string.h>
#include <xxhash.h>

#include "core/str.h"

const char *const import_format_names[] = {
        "aiconfigurator", "csv", "nccl_tests", "osu", "nsight", NULL};

_Static_assert(sizeof import_format_names / sizeof *import_format_names == IMPORT_FORMAT_COUNT + 1,
        "a name for each format");

bool import_format_find(enum import_format *out, const char *name, struct err *err)
{
    for (int i = 0; import_format_names[i]; i++)
        if (strcmp(import_format_names[i], name) == 0) {
            *out = (enum import_format)i;
            return true;
        }
    const char *near = str_nearest(name, import_format_names, IMPORT_FORMAT_COUNT);
    return err_set(err, ERR_INPUT,
            "\"%s\" is no format: expected aiconfigurator, csv, nccl_tests, osu or nsight%s%s%s",
            name, near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
}

const char *import_device_kind(const char *device_name, struct arena *arena)
{
    static const char *const makers[] = {"NVIDIA ", "AMD Instinct ", "AMD ", "Intel "};
    for (size_t i = 0; i < sizeof makers / sizeof *makers; i++)
        if (strncmp(device_name, makers[i], strlen(makers[i])) == 0)
            device_name += strlen(makers[i]);
    char *kind = arena_strdup(arena, device_name);
    for (char *c = kind; *c; c++)
        *c = isspace((unsigned char)*c) ? '-' : (char)tolower((unsigned char)*c);
    return kind;
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

struct import_batch *import_batch_of(struct imported *out, const struct import_file *file,
        const struct import_options *options, const char *device_name, const char *software,
        struct arena *arena)
{
    for (int i = out->n - 1; i >= 0; i--) {
        struct import_batch *known = &out->batches[i];
        if (same_text(known->provenance.device, device_name)
                && same_text(known->provenance.software, software)
                && same_text(known->provenance.origin, file->origin))
            return known;
    }
    out->batches = arena_grow(arena, out->batches, out->n, out->n + 1, sizeof *out->batches);
    struct import_batch *batch = &out->batches[out->n++];
    *batch = (struct import_batch){0};
    batch->provenance.device = arena_strdup(arena, device_name);
    batch->provenance.software = software == NULL ? NULL : arena_strdup(arena, software);
    batch->provenance.origin = file->origin;
    batch->provenance.load = (double)NAN;
    bool kind_already = options->format == IMPORT_CSV;
    batch->device = options->device != NULL ? options->device
                    : kind_already          ? batch->provenance.device
                                            : import_device_kind(device_name, arena);
    return batch;
}

struct profile_point *import_add(struct import_batch *batch, int line, struct arena *arena)
{
    if (batch->n == batch->room) {
        int64_t room = batch->room * 2 + 64;
        batch->points = arena_grow(arena, batch->points, batch->n, room, sizeof *batch->points);
        batch->lines = arena_grow(arena, batch->lines, batch->n, room, sizeof *batch->lines);
        batch->room = room;
    }
    batch->lines[batch->n] = line;
    struct profile_point *point = &batch->points[batch->n++];
    const double none = (double)NAN;
    *point = (struct profile_point){.lo_us = none,
            .hi_us = none,
            .min_us = none,
            .q1_us = none,
            .q3_us = none,
            .p99_us = none,
            .mad_us = none,
            .source = COST_IMPORTED};
    return point;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash == NULL ? path : slash + 1;
}

bool import_read(struct imported *out, const struct import_file *file,
        const struct import_options *options, struct arena *arena, struct err *err)
{
    static bool (*const readers[IMPORT_FORMAT_COUNT])(struct imported *, const struct import_file *,
            const struct import_options *, struct arena *, struct err *) = {
            [IMPORT_AICONFIGURATOR] = import_aiconfigurator,
            [IMPORT_CSV] = import_csv,
            [IMPORT_NCCL_TESTS] = import_nccl_tests,
            [IMPORT_OSU] = import_osu,
            [IMPORT_NSIGHT] = import_nsight,
    };
    int first = out->n;
    struct import_file known = *file;
    /* Before the reader cuts the text into fields. */
    known.origin = arena_printf(arena, "%s %s, %lld bytes, xxh64 %016llx",
            import_format_names[options->format], base_name(file->path), (long long)file->len,
            (unsigned long long)XXH64(file->text, (size_t)file->len, 0));
    if (!readers[options->format](out, &known, options, arena, err))
        return false;
    int64_t n = 0;
    for (int i = first; i < out->n; i++)
        n += out->batches[i].n;
    return n > 0
           || err_at(err, (struct pos){file->path, 1, 1},
                   "holds no measurements: expected at least one row");
}
