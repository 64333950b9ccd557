/*
 * What the reference programs for collectives print: nccl-tests as text or JSON, the OSU micro-benchmarks as text.
 * Sizes are bytes of a rank's whole buffer, times microseconds; nccl-tests' out-of-place figure counts.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/json.h"
#include "db/import.h"

enum {
    MOST_WORDS = 32
};

struct collective {
    const char *name; /* part of the program's name or title */
    enum op_kind kind;
};

/* Longer names first: "reduce_scatter" holds "reduce". */
static const struct collective collectives[] = {
        {"all_reduce", OP_ALL_REDUCE},
        {"AllReduce", OP_ALL_REDUCE},
        {"Allreduce", OP_ALL_REDUCE},
        {"allreduce", OP_ALL_REDUCE},
        {"all_gather", OP_ALL_GATHER},
        {"AllGather", OP_ALL_GATHER},
        {"Allgather", OP_ALL_GATHER},
        {"allgather", OP_ALL_GATHER},
        {"reduce_scatter", OP_REDUCE_SCATTER},
        {"ReduceScatter", OP_REDUCE_SCATTER},
        {"Reduce_scatter", OP_REDUCE_SCATTER},
        {"alltoall", OP_ALL_TO_ALL},
        {"all_to_all", OP_ALL_TO_ALL},
        {"AlltoAll", OP_ALL_TO_ALL},
        {"All-to-All", OP_ALL_TO_ALL},
        {"sendrecv", OP_SEND_RECV},
        {"send_recv", OP_SEND_RECV},
        {"SendRecv", OP_SEND_RECV},
        {"broadcast", OP_BROADCAST},
        {"Broadcast", OP_BROADCAST},
        {"Bcast", OP_BROADCAST},
};

static bool find_collective(enum op_kind *out, const char *text)
{
    for (size_t i = 0; i < sizeof collectives / sizeof *collectives; i++)
        if (strstr(text, collectives[i].name) != NULL) {
            *out = collectives[i].kind;
            return true;
        }
    return false;
}

struct reader {
    const struct import_file *file;
    const struct import_options *options;
    struct imported *out;
    struct arena *arena;
    const char *device_name, *software;
    enum op_kind kind;
    bool has_kind;
    int ranks, nodes;
    const char *hosts[64]; /* seen so far, to count machines */
};

static struct pos at_line(const struct reader *r, int line)
{
    return (struct pos){r->file->path, line, 1};
}

static bool settle(struct reader *r, int line, struct err *err)
{
    if (r->options->op != NULL)
        r->has_kind = find_collective(&r->kind, r->options->op);
    if (r->options->ranks > 0)
        r->ranks = r->options->ranks;
    if (!r->has_kind)
        return err_at(err, at_line(r, line),
                "which collective this is stands nowhere above: say --op all_reduce, all_gather, "
                "reduce_scatter, all_to_all, send_recv or broadcast");
    if (r->ranks < 2)
        return err_at(err, at_line(r, line),
                "how many ranks took part stands nowhere above: say --ranks N (2 or more)");
    if (r->device_name == NULL && r->options->device == NULL)
        return err_at(err, at_line(r, line),
                "which device this is stands nowhere above: say --device KIND, as in the cluster "
                "file");
    return true;
}

static bool add_point(
        struct reader *r, int line, int64_t bytes, enum dtype dtype, double us, struct err *err)
{
    if (!settle(r, line, err))
        return false;
    bool shared = r->kind == OP_ALL_GATHER || r->kind == OP_REDUCE_SCATTER;
    if (shared && bytes % r->ranks != 0)
        return err_at(err, at_line(r, line),
                "%" PRId64 " bytes, expected a size that %d ranks can share", bytes, r->ranks);
    const char *name = r->device_name != NULL ? r->device_name : r->options->device;
    struct import_batch *batch =
            import_batch_of(r->out, r->file, r->options, name, r->software, r->arena);
    struct profile_point *point = import_add(batch, line, r->arena);
    point->op = (struct op){.kind = r->kind,
            .dtype = dtype,
            .degree = r->ranks,
            .nodes = r->nodes > 1 ? r->nodes : 0,
            .dim = {shared ? bytes / r->ranks : bytes}};
    point->cost_us = us;
    return true;
}

/* Cuts a line into words; returns how many. */
static int cut_words(char *words[MOST_WORDS], char *line)
{
    int n = 0;
    for (char *rest = NULL, *word = strtok_r(line, " \t\r", &rest); word != NULL && n < MOST_WORDS;
            word = strtok_r(NULL, " \t\r", &rest))
        words[n++] = word;
    return n;
}

static bool whole_number(int64_t *out, const char *text)
{
    char *end;
    *out = strtoll(text, &end, 10);
    return end != text && *end == '\0' && *out >= 0;
}

static bool number(double *out, const char *text)
{
    char *end;
    *out = strtod(text, &end);
    return end != text && *end == '\0' && isfinite(*out) && *out > 0;
}

static bool nccl_dtype(enum dtype *out, const char *text)
{
    static const struct {
        const char *name;
        enum dtype dtype;
    } types[] = {{"float", DTYPE_F32}, {"half", DTYPE_F16}, {"bfloat16", DTYPE_BF16},
            {"int8", DTYPE_I8}, {"uint8", DTYPE_I8}, {"int32", DTYPE_F32}, {"uint32", DTYPE_F32},
            {"fp8_e4m3", DTYPE_F8}, {"fp8_e5m2", DTYPE_F8}, {"f8e4m3", DTYPE_F8},
            {"f8e5m2", DTYPE_F8}};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strcmp(types[i].name, text) == 0) {
            *out = types[i].dtype;
            return true;
        }
    return false;
}

static void see_host(struct reader *r, const char *host)
{
    for (int i = 0; i < r->nodes; i++)
        if (strcmp(r->hosts[i], host) == 0)
            return;
    if (r->nodes < (int)(sizeof r->hosts / sizeof *r->hosts))
        r->hosts[r->nodes] = arena_strdup(r->arena, host);
    r->nodes++;
}

/* "#  Rank  0 Group  0 Pid   6899 on host device  0 [0000:04:00] NVIDIA H100", and the title. */
static void nccl_comment(struct reader *r, const char *line)
{
    const char *on = strstr(line, " on ");
    const char *bracket = strchr(line, ']');
    if (strstr(line, "Rank") != NULL && on != NULL && bracket != NULL) {
        char host[256];
        r->ranks++;
        if (sscanf(on + 4, "%255s", host) == 1)
            see_host(r, host);
        for (bracket++; *bracket == ' '; bracket++)
            ;
        if (r->device_name == NULL && *bracket != '\0')
            r->device_name = arena_strdup(r->arena, bracket);
        return;
    }
    if (strstr(line, "Collective test starting:") != NULL || strstr(line, "_perf") != NULL)
        r->has_kind |= find_collective(&r->kind, line);
}

/* size count type redop root time algbw busbw #wrong, the last four again in place, perhaps a time of day; older
 * versions lack redop or root. */
static bool nccl_row(struct reader *r, char *line, int number_of, struct err *err)
{
    char *words[MOST_WORDS];
    int n = cut_words(words, line);
    int64_t bytes;
    enum dtype dtype;
    double us;
    if (n < 11 || !whole_number(&bytes, words[0]) || bytes == 0)
        return err_at(err, at_line(r, number_of),
                "expected a row of nccl-tests: size, count, type, ..., time, algbw, busbw, #wrong "
                "twice");
    if (!nccl_dtype(&dtype, words[2]))
        return err_at(err, at_line(r, number_of),
                "type is \"%s\", expected float, half, bfloat16, int8 ...", words[2]);
    const char *time = words[n > 13 ? 5 : n - 8];
    if (!number(&us, time))
        return err_at(
                err, at_line(r, number_of), "time is \"%s\", expected a number above 0", time);
    return add_point(r, number_of, bytes, dtype, us, err);
}

static bool nccl_text(struct reader *r, struct err *err)
{
    int number_of = 0;
    for (char *line = r->file->text, *next; line != NULL; line = next) {
        next = strchr(line, '\n');
        if (next != NULL)
            *next++ = '\0';
        number_of++;
        const char *start = line + strspn(line, " \t\r");
        bool row = *start >= '0' && *start <= '9';
        if (row && !nccl_row(r, line, number_of, err))
            return false;
        /* The command line above the output tells as much as a comment. */
        if (!row && (*start == '#' || strstr(start, "_perf") != NULL))
            nccl_comment(r, start);
    }
    return true;
}

static void json_devices(struct reader *r, const struct json_node *root)
{
    const struct json_node *devices = json_get(json_get(root, "config"), "devices");
    if (devices == NULL)
        devices = json_get(root, "devices");
    for (int64_t i = 0; i < json_count(devices); i++) {
        const struct json_node *device = json_at(devices, i);
        const char *host = json_text(json_get(device, "hostname"), NULL);
        const char *name = json_text(json_get(device, "device_info"), NULL);
        r->ranks++;
        if (host != NULL)
            see_host(r, host);
        if (r->device_name == NULL && name != NULL)
            r->device_name = arena_strdup(r->arena, name);
    }
}

static bool json_row(struct reader *r, const struct json_node *row, int i, struct err *err)
{
    int64_t bytes = json_int(json_get(row, "size"), 0);
    double us = json_double(json_get(json_get(row, "out_of_place"), "time"), -1);
    const char *type = json_text(json_get(row, "type"), "");
    enum dtype dtype;
    if (bytes < 1 || !(us > 0) || !nccl_dtype(&dtype, type))
        return err_at(err, at_line(r, 1),
                "results[%d]: expected size, a type that is known and out_of_place.time above 0; "
                "found "
                "size %" PRId64 ", type \"%s\"",
                i, bytes, type);
    return add_point(r, 1, bytes, dtype, us, err);
}

static bool nccl_json(struct reader *r, struct err *err)
{
    struct json *doc = json_read(r->file->text, r->file->len, r->file->path, err);
    if (doc == NULL)
        return false;
    const struct json_node *root = json_root(doc);
    const struct json_node *args = json_get(root, "args");
    const struct json_node *results = json_get(root, "results");
    json_devices(r, root);
    for (int64_t i = 0; i < json_count(args); i++)
        r->has_kind |= find_collective(&r->kind, json_text(json_at(args, i), ""));
    bool ok = true;
    for (int64_t i = 0; ok && i < json_count(results); i++)
        ok = json_row(r, json_at(results, i), (int)i, err);
    json_close(doc);
    return ok;
}

bool import_nccl_tests(struct imported *out, const struct import_file *file,
        const struct import_options *options, struct arena *arena, struct err *err)
{
    struct reader r = {
            .file = file, .options = options, .out = out, .arena = arena, .software = "nccl-tests"};
    const char *start = file->text + strspn(file->text, " \t\r\n");
    return *start == '{' ? nccl_json(&r, err) : nccl_text(&r, err);
}

/* "# OSU MPI Allreduce Latency Test v7.3", then rows of a size and the mean latency. */
bool import_osu(struct imported *out, const struct import_file *file,
        const struct import_options *options, struct arena *arena, struct err *err)
{
    struct reader r = {
            .file = file, .options = options, .out = out, .arena = arena, .software = "OSU"};
    int number_of = 0;
    for (char *line = file->text, *next; line != NULL; line = next) {
        char *words[MOST_WORDS];
        int64_t bytes;
        double us;
        next = strchr(line, '\n');
        if (next != NULL)
            *next++ = '\0';
        number_of++;
        if (strstr(line, "Bandwidth") != NULL || strstr(line, "MB/s") != NULL)
            return err_at(err, at_line(&r, number_of),
                    "a test of bandwidth, whose rows are MB/s: expected a latency test, such as "
                    "osu_allreduce or osu_latency");
        if (strstr(line, "OSU") != NULL) {
            r.has_kind = find_collective(&r.kind, line);
            r.software = arena_strdup(arena, line + strspn(line, "# "));
            continue;
        }
        int n = cut_words(words, line);
        if (n == 0 || words[0][0] == '#')
            continue;
        if (n < 2 || !whole_number(&bytes, words[0]) || !number(&us, words[1]))
            return err_at(err, at_line(&r, number_of),
                    "expected a size in bytes and a latency in microseconds, found \"%s\"",
                    words[0]);
        /* Its all-gather and all-to-all count what goes to one rank. */
        int64_t whole = (r.kind == OP_ALL_GATHER || r.kind == OP_ALL_TO_ALL) && options->ranks > 0
                                ? bytes * options->ranks
                                : bytes;
        if (bytes > 0 && !add_point(&r, number_of, whole, DTYPE_F32, us, err))
            return false;
    }
    return true;
}
