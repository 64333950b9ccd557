#include "cli/plan_table.h"

#include <stdio.h>

#include "core/clock.h"
#include "core/json.h"
#include "planner/instance_file.h"

static const char *unit_of(const struct instance *instance)
{
    return instance->objective == INSTANCE_THROUGHPUT ? "requests/s" : "price of the devices";
}

static void print_text(
        const struct instance *instance, const struct columns_result *r, struct arena *arena)
{
    printf("%s: %.6g %s, bound %.6g, gap %.3f %%\n", instance->name, r->value, unit_of(instance),
            r->bound, r->gap_frac * 100);
    if (instance->objective == INSTANCE_PRICE)
        printf("  serves       %.6g requests/s of %.6g\n", r->requests_per_s, instance->demand);
    for (int i = 0; i < r->n_picks; i++) {
        const struct columns_pick *pick = &r->picks[i];
        printf("  %5lld x      %s\n               pace %.6g us, %.6g requests/s each\n",
                (long long)pick->count, pattern_show(&pick->pattern, instance, arena),
                pick->pattern.pace_us, pick->pattern.requests_per_s);
    }
    for (int k = 0; k < instance->n_kinds; k++)
        printf("  one more %-12s is worth %.6g %s\n", instance->kinds[k].name, r->device_worth[k],
                unit_of(instance));
    printf("  %d patterns, %lld programs, %lld nodes\n", r->n_known, (long long)r->programs,
            (long long)r->nodes);
}

static void put_pick(
        struct json_writer *w, const struct instance *instance, const struct columns_pick *pick)
{
    const struct pattern *p = &pick->pattern;
    json_object_begin(w, NULL);
    json_put_int(w, "count", pick->count);
    json_put_string(w, "limits", instance->limits[p->limits].name);
    json_put_string(w, "role", replica_role_names[instance->limits[p->limits].role]);
    json_put_int(w, "in_flight", p->in_flight);
    json_put_double(w, "pace_us", p->pace_us);
    json_put_double(w, "round_us", p->round_us);
    json_put_double(w, "requests_per_s", p->requests_per_s);
    json_array_begin(w, "stages");
    for (int s = 0; s < p->n_stages; s++) {
        json_object_begin(w, NULL);
        json_put_string(w, "kind", instance->kinds[p->stages[s].kind].name);
        json_put_string(w, "config", instance->configs[p->stages[s].config].name);
        json_put_int(w, "first_layer", p->stages[s].first);
        json_put_int(w, "end_layer", p->stages[s].end);
        json_end(w);
    }
    json_end(w);
    json_end(w);
}

static void print_json(
        const struct instance *instance, const struct columns_result *r, double solve_s)
{
    struct json_writer w = {.pretty = true};
    json_object_begin(&w, NULL);
    json_put_string(&w, "table", instance->name);
    json_put_string(
            &w, "objective", instance->objective == INSTANCE_THROUGHPUT ? "throughput" : "price");
    json_put_double(&w, "value", r->value);
    json_put_double(&w, "bound", r->bound);
    json_put_double(&w, "gap_frac", r->gap_frac);
    json_put_double(&w, "requests_per_s", r->requests_per_s);
    json_put_double(&w, "solve_s", solve_s);
    json_put_bool(&w, "proven", r->proven);
    json_put_int(&w, "patterns", r->n_known);
    json_put_int(&w, "programs", r->programs);
    json_put_int(&w, "nodes", r->nodes);
    json_array_begin(&w, "replicas");
    for (int i = 0; i < r->n_picks; i++)
        put_pick(&w, instance, &r->picks[i]);
    json_end(&w);
    json_object_begin(&w, "one_more_device");
    for (int k = 0; k < instance->n_kinds; k++)
        json_put_double(&w, instance->kinds[k].name, r->device_worth[k]);
    json_end(&w);
    json_end(&w);
    puts(w.text);
    json_writer_free(&w);
}

bool plan_table_run(const struct cli *cli, const char *path, const struct columns_options *options)
{
    struct instance_file file;
    struct columns_result result;
    int64_t start_ns = clock_now_ns();
    if (!instance_file_read(&file, path, cli->arena, cli->err)
            || !columns_solve(&result, &file.instance, options, cli->arena, cli->err))
        return false;
    if (!result.feasible)
        return err_set(cli->err, result.proven ? ERR_NO : ERR_ENV,
                result.proven
                        ? "%s: no set of replicas fits: memory, service objectives or devices "
                          "rule all out%s"
                        : "%s: nothing was found within the time limit%s",
                path,
                file.instance.objective == INSTANCE_PRICE ? ", or the demand is too high" : "");
    if (cli->json)
        print_json(&file.instance, &result, (double)(clock_now_ns() - start_ns) * 1e-9);
    else
        print_text(&file.instance, &result, cli->arena);
    return true;
}
