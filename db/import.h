/*
 * import - measurements that other programs made, as points of a profile. docs/formats/import.md describes the
 * formats and what is in a row; docs/decisions/0006-imported-costs.md how rows become costs.
 *
 * Readers take bytes and a display name. A row that is wrong is refused with its place, and then nothing of the
 * file counts. Costs are microseconds; points carry COST_IMPORTED, no interval where the file has no spread, and
 * busy 0 where the device shares nothing with others.
 */
#ifndef DB_IMPORT_H
#define DB_IMPORT_H

#include "db/profile_store.h"

enum import_format {
    IMPORT_AICONFIGURATOR, /* CSV tables of ai-dynamo/aiconfigurator */
    IMPORT_CSV,            /* our own: what `shardwright export` writes */
    IMPORT_NCCL_TESTS,     /* what nccl-tests print */
    IMPORT_OSU,            /* what the OSU micro-benchmarks print */
    IMPORT_NSIGHT,         /* SQLite databases that `nsys export` writes */
    IMPORT_FORMAT_COUNT
};
extern const char *const import_format_names[]; /* NULL-terminated */
/* ERR_INPUT with the names that there are, and the nearest. */
MUST_CHECK bool import_format_find(enum import_format *out, const char *name, struct err *err);

struct import_file {
    char *text; /* writable, NUL-terminated at text[len]; points borrow from it */
    int64_t len;
    const char *path;
    const char *origin; /* for the provenance; import_read sets it */
};

/* Kernels of a name (fnmatch) are executions of an op. */
struct import_kernel {
    const char *pattern;
    struct op op;
};

struct import_options {
    enum import_format format;
    const char *device; /* kind of the cluster file; NULL = as the file says */
    bool no_cost;       /* rows may be without a latency: cost_us is NaN then */
    int ranks;          /* nccl_tests, osu: where the text does not say it; 0 = not given */
    const char *op;     /* nccl_tests, osu: "all_reduce" where the text does not name it */
    const struct import_kernel
            *kernels; /* nsight: for launches in no range that is an op; the first match counts */
    int n_kernels;
};

/* Everything of one origin, device and version of software. Points stand in the order of the file. */
struct import_batch {
    struct provenance provenance;
    const char *device;
    struct profile_point *points;
    int *lines; /* of each point in the file */
    int64_t n, room;
};

struct imported {
    struct import_batch *batches;
    int n;
};

/* Appends what one file holds to *out, which starts zeroed. */
MUST_CHECK bool import_read(struct imported *out, const struct import_file *file,
        const struct import_options *options, struct arena *arena, struct err *err);

/* What readers append with. The batch of an origin, device and software; made when it is not there. device_name is
 * what the machine calls itself ("NVIDIA H200"), the kind is made of it unless the options name one. */
struct import_batch *import_batch_of(struct imported *out, const struct import_file *file,
        const struct import_options *options, const char *device_name, const char *software,
        struct arena *arena);
struct profile_point *import_add(struct import_batch *batch, int line, struct arena *arena);
/* The kind that a device's own name stands for: "NVIDIA H200" is "h200". */
const char *import_device_kind(const char *device_name, struct arena *arena);

/* A table of them: CSV with the columns kernel and op, the op as op_read takes it. */
MUST_CHECK bool import_kernels_read(struct import_kernel **out, int *n,
        const struct import_file *file, struct arena *arena, struct err *err);

/* One reader a format. */
MUST_CHECK bool import_aiconfigurator(struct imported *out, const struct import_file *file,
        const struct import_options *options, struct arena *arena, struct err *err);
MUST_CHECK bool import_csv(struct imported *out, const struct import_file *file,
        const struct import_options *options, struct arena *arena, struct err *err);
MUST_CHECK bool import_nccl_tests(struct imported *out, const struct import_file *file,
        const struct import_options *options, struct arena *arena, struct err *err);
MUST_CHECK bool import_osu(struct imported *out, const struct import_file *file,
        const struct import_options *options, struct arena *arena, struct err *err);
MUST_CHECK bool import_nsight(struct imported *out, const struct import_file *file,
        const struct import_options *options, struct arena *arena, struct err *err);

/* The text that import_csv reads back, one line a point; ends with a line end. Appends to *text. */
struct export_text {
    char *text;
    int64_t len, room;
};
void export_csv_head(struct export_text *out);
void export_csv(struct export_text *out, const struct profile *profile);
void export_text_free(struct export_text *out);

struct import_counts {
    int64_t added, kept; /* kept: keys that were there before and stay as they are */
};
/* All of it or nothing, in one transaction. replace: keys that are there take the new figures. */
MUST_CHECK bool import_store(struct import_counts *counts, struct db *db,
        const struct imported *imported, bool replace, struct err *err);

#endif
