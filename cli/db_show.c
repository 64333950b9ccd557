#include "cli/db_show.h"

#include <stdio.h>

#include "core/json.h"
#include "db/profile_store.h"

static void put_json(struct json_writer *w, const char *device, const struct profile_point *point)
{
    const struct op *op = &point->op;
    double bytes = op_exchange_bytes(op);
    json_object_begin(w, NULL);
    json_put_string(w, "device", device);
    json_put_string(w, "kind", op_kind_names[op->kind]);
    json_put_int(w, "ranks", op->degree);
    json_put_int(w, "machines", op->nodes > 0 ? op->nodes : 1);
    json_put_int(w, "busy", op->busy);
    json_put_int(w, "bytes", op->dim[0]);
    json_put_double(w, "us", point->cost_us);
    json_put_double(w, "lo_us", point->lo_us);
    json_put_double(w, "hi_us", point->hi_us);
    json_put_double(w, "algbw_bytes_per_s", bytes / point->cost_us * 1e6);
    json_put_double(w, "busbw_bytes_per_s", bytes * op_bus_share(op) / point->cost_us * 1e6);
    json_put_string(w, "source", cost_source_names[point->source]);
    json_end(w);
}

static void print(const char *device, const struct profile_point *point)
{
    const struct op *op = &point->op;
    double algbw = op_exchange_bytes(op) / point->cost_us * 1e-3;
    printf("%-12s %-14s %5d %8d %4d %10lld %11.2f %9.3f %9.3f\n", device, op_kind_names[op->kind],
            op->degree, op->nodes > 0 ? op->nodes : 1, op->busy, (long long)op->dim[0],
            point->cost_us, algbw, algbw * op_bus_share(op));
}

bool db_show_exchanges(struct cli *cli, struct db *db)
{
    const char **devices;
    int n_devices;
    bool ok = profile_store_devices(&devices, &n_devices, db, cli->arena, cli->err);
    struct json_writer w = {.pretty = true};

    json_array_begin(&w, NULL);
    if (ok && !cli->json)
        printf("%-12s %-14s %5s %8s %4s %10s %11s %9s %9s\n", "device", "exchange", "ranks",
                "machines", "busy", "bytes", "us", "algbw", "busbw GB/s");
    for (int d = 0; ok && d < n_devices; d++) {
        struct profile profile;
        ok = profile_store_read(&profile, db, devices[d], cli->arena, cli->err);
        for (int64_t i = 0; ok && i < profile.n; i++) {
            const struct profile_point *point = &profile.points[i];
            if (!op_is_collective(point->op.kind) || point->cost_us <= 0)
                continue;
            if (cli->json)
                put_json(&w, devices[d], point);
            else
                print(devices[d], point);
        }
    }
    json_end(&w);
    if (ok && cli->json)
        printf("%s\n", w.text);
    json_writer_free(&w);
    return ok;
}
