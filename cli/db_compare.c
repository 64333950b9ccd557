#include "cli/db_compare.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "core/json.h"
#include "db/profile_store.h"
#include "reports/cost_compare.h"

enum {
    SHOWN = 12 /* shapes that got slower */
};

struct out {
    struct cli *cli;
    struct json_writer json;
    FILE *csv;         /* into memory; NULL = none */
    const char *worse; /* names of the kinds, "" = none */
};

static void put_kind(struct out *out, const struct kind_change *k)
{
    struct json_writer *w = &out->json;
    json_object_begin(w, NULL);
    json_put_string(w, "kind", op_kind_names[k->kind]);
    json_put_int(w, "shapes", k->n);
    json_put_int(w, "slower", k->slower);
    json_put_int(w, "quicker", k->quicker);
    json_put_double(w, "ratio", k->ratio);
    json_put_double(w, "lo", k->lo);
    json_put_double(w, "hi", k->hi);
    json_put_double(w, "p", k->p);
    json_put_bool(w, "worse", k->worse);
    json_end(w);
    if (!out->cli->json)
        printf("%-20s %7lld %7lld %8lld %+8.1f%% %+8.1f%% %+7.1f%%  %s\n", op_kind_names[k->kind],
                (long long)k->n, (long long)k->slower, (long long)k->quicker, (k->ratio - 1) * 100,
                (k->lo - 1) * 100, (k->hi - 1) * 100, k->worse ? "slower" : "");
}

static void put_shape(struct out *out, const char *device, const struct cost_change *c, bool show)
{
    char text[160];
    op_show(text, &c->op);
    if (out->csv)
        fprintf(out->csv, "%s,%s,%s,%.17g,%.17g,%.17g,%.17g,%.17g,%.17g,%.17g,%s\r\n", device,
                op_kind_names[c->op.kind], text, c->before_us, c->before_lo_us, c->before_hi_us,
                c->after_us, c->after_lo_us, c->after_hi_us, c->ratio,
                c->direction > 0   ? "slower"
                : c->direction < 0 ? "quicker"
                                   : "same");
    if (!show)
        return;
    struct json_writer *w = &out->json;
    json_object_begin(w, NULL);
    json_put_string(w, "op", text);
    json_put_double(w, "before_us", c->before_us);
    json_put_double(w, "after_us", c->after_us);
    json_put_double(w, "ratio", c->ratio);
    json_end(w);
    if (!out->cli->json)
        printf("  %+7.1f%%  %10.2f -> %-10.2f us  %s\n", (c->ratio - 1) * 100, c->before_us,
                c->after_us, text);
}

static void put_shapes(struct out *out, const char *device, const struct cost_comparison *all)
{
    int64_t slower = 0;
    for (int64_t i = 0; i < all->n; i++)
        slower += all->shapes[i].direction > 0;
    json_array_begin(&out->json, "slower");
    if (slower > 0 && !out->cli->json)
        printf("\nslower beyond their intervals, the most of %lld:\n", (long long)slower);
    int64_t shown = 0;
    for (int64_t i = 0; i < all->n; i++) {
        bool show = all->shapes[i].direction > 0 && shown < SHOWN;
        shown += show;
        put_shape(out, device, &all->shapes[i], show);
    }
    json_end(&out->json);
}

static void put_device(struct out *out, const char *device, const struct cost_comparison *all)
{
    struct cli *cli = out->cli;
    json_object_begin(&out->json, NULL);
    json_put_string(&out->json, "device", device);
    json_put_int(&out->json, "shapes", all->n);
    json_put_int(&out->json, "only_before", all->only_before);
    json_put_int(&out->json, "only_after", all->only_after);
    if (!cli->json) {
        printf("%s: %lld shapes in both, %lld only in the first, %lld only in the second\n", device,
                (long long)all->n, (long long)all->only_before, (long long)all->only_after);
        if (all->n > 0)
            printf("\n%-20s %7s %7s %8s %9s %9s %8s\n", "kind", "shapes", "slower", "quicker",
                    "median", "from", "to");
    }
    json_array_begin(&out->json, "kinds");
    for (int k = 0; k < all->n_kinds; k++) {
        put_kind(out, &all->kinds[k]);
        if (all->kinds[k].worse)
            out->worse = arena_printf(cli->arena, "%s%s%s", out->worse, *out->worse ? ", " : "",
                    op_kind_names[all->kinds[k].kind]);
    }
    json_end(&out->json);
    put_shapes(out, device, all);
    json_end(&out->json);
}

static bool compare_devices(
        struct out *out, struct db *before, struct db *after, const struct db_compare *request)
{
    struct cli *cli = out->cli;
    const char **devices;
    int n, compared = 0;
    if (!profile_store_devices(&devices, &n, before, cli->arena, cli->err))
        return false;
    for (int d = 0; d < n; d++) {
        struct profile a, b;
        struct cost_comparison all;
        if (request->device && strcmp(request->device, devices[d]) != 0)
            continue;
        if (!profile_store_read(&a, before, devices[d], cli->arena, cli->err)
                || !profile_store_read(&b, after, devices[d], cli->arena, cli->err))
            return false;
        if (b.n == 0)
            continue;
        cost_compare(&all, &a, &b, request->threshold, cli->arena);
        put_device(out, devices[d], &all);
        compared++;
    }
    if (compared == 0)
        return err_set(cli->err, ERR_INPUT,
                "%s and %s have no device kind in common%s%s: `shardwright db list` shows theirs",
                db_path(before), db_path(after), request->device ? " named " : "",
                request->device ? request->device : "");
    return true;
}

bool db_compare(struct cli *cli, struct db *before, const struct db_compare *request)
{
    struct out out = {.cli = cli, .json = {.pretty = true}, .worse = ""};
    char *text = NULL;
    size_t len = 0;
    struct db *after = db_open(request->after, DB_READ, cli->err);
    bool ok = after != NULL;

    if (ok && request->csv_path) {
        out.csv = open_memstream(&text, &len);
        ok = out.csv != NULL || err_set(cli->err, ERR_ENV, "no memory for the table");
    }
    if (out.csv)
        fputs("device,kind,op,before_us,before_lo_us,before_hi_us,after_us,after_lo_us,after_hi_us,"
              "ratio,verdict\r\n",
                out.csv);
    json_array_begin(&out.json, NULL);
    ok = ok && compare_devices(&out, before, after, request);
    json_end(&out.json);
    if (ok && cli->json)
        printf("%s\n", out.json.text);
    if (out.csv && fclose(out.csv) != 0 && ok)
        ok = err_set(cli->err, ERR_ENV, "no memory for the table");
    if (ok && text)
        ok = file_write(request->csv_path, text, (int64_t)len, cli->err);
    if (ok && *out.worse)
        ok = err_set(cli->err, ERR_NO, "%s got slower from %s to %s: %s",
                strchr(out.worse, ',') ? "some kinds of op" : "a kind of op", db_path(before),
                request->after, out.worse);
    free(text);
    json_writer_free(&out.json);
    db_close(after);
    return ok;
}
