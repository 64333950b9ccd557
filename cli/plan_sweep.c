#include "cli/plan_sweep.h"

#include <stdio.h>
#include <string.h>

#include "core/conf_json.h"
#include "core/log.h"
#include "core/str.h"
#include "planner/what_if.h"
#include "planner/what_if_sweep.h"
#include "reports/sweep.h"

static bool plan_point(struct sweep_point *out, const struct cli *cli,
        const struct planner_input *base, const char *change)
{
    struct what_if what = {.cluster = *base->cluster, .n_profiles = base->n_profiles};
    struct planner_input input = *base;
    what.profiles = ARENA_NEW(cli->arena, struct profile, base->n_profiles + 1);
    if (base->n_profiles > 0)
        memcpy(what.profiles, base->profile, sizeof *what.profiles * (size_t)base->n_profiles);
    if (!what_if_apply(&what, change, cli->arena, cli->err))
        return false;
    struct plan *plan = ARENA_NEW(cli->arena, struct plan, 1);
    struct err err = {0};
    input.cluster = &what.cluster;
    input.profile = what.n_profiles > 0 ? what.profiles : NULL;
    if (planner_run(plan, &input, cli->arena, &err)) {
        out->plan = plan;
        out->price_per_hour = plan->predicted.price_per_hour;
        return true;
    }
    if (err.kind != ERR_NO)
        return err_set(cli->err, err.kind, "%s: %s", change, err.text);
    out->why = arena_strdup(cli->arena, err.text);
    return true;
}

static void print_json(const struct sweep *sweep)
{
    struct json_writer w = {.pretty = true};
    json_object_begin(&w, NULL);
    json_put_string(&w, "target", sweep->target);
    json_put_bool(&w, "factor", sweep->factor);
    json_array_begin(&w, "points");
    for (int i = 0; i < sweep->n_points; i++) {
        const struct sweep_point *point = &sweep->points[i];
        json_object_begin(&w, NULL);
        json_put_string(&w, "change", point->change);
        json_put_double(&w, "value", point->value);
        json_put_bool(&w, "feasible", point->plan != NULL);
        if (point->plan != NULL) {
            json_put_double(&w, "price_per_hour", point->price_per_hour);
            conf_put_json(&w, point->plan, &plan_table);
        } else {
            json_put_string(&w, "why", point->why);
        }
        json_end(&w);
    }
    json_end(&w);
    json_end(&w);
    puts(w.text);
    json_writer_free(&w);
}

static void print_table(const struct sweep *sweep, struct arena *arena)
{
    printf("%s on %s\n  %-28s %10s %11s %11s %6s  %s\n", sweep->model, sweep->cluster, "change",
            "tokens/s", "TTFT p50", "TPOT p50", "ranks", "plan");
    for (int i = 0; i < sweep->n_points; i++) {
        const struct sweep_point *point = &sweep->points[i];
        char ttft[32];
        char tpot[32];
        if (point->plan == NULL) {
            printf("  %-28s %10s %11s %11s %6s  fits in no plan\n", point->change, "-", "-", "-",
                    "-");
            continue;
        }
        const struct plan_figures *f = &point->plan->predicted;
        printf("  %-28s %10.1f %11s %11s %6d  %s\n", point->change, f->output_tokens_per_s,
                str_show_us(ttft, f->ttft_p50_us), str_show_us(tpot, f->tpot_p50_us),
                point->plan->n_ranks, plan_show(point->plan, arena));
    }
}

bool plan_sweep(const struct cli *cli, const struct planner_input *base, const char *text,
        const char *workload, const char *dir)
{
    struct what_if_sweep range;
    if (!what_if_sweep_read(&range, text, cli->arena, cli->err))
        return false;
    struct sweep_point *points = ARENA_NEW(cli->arena, struct sweep_point, range.n_values);
    struct sweep sweep = {.model = cli->argv[0],
            .cluster = base->cluster->name,
            .workload = workload,
            .target = range.target,
            .factor = range.factor,
            .points = points,
            .n_points = range.n_values};
    for (int i = 0; i < range.n_values; i++) {
        const char *change = what_if_sweep_change(&range, i, cli->arena);
        points[i] = (struct sweep_point){.value = range.values[i], .change = change};
        if (!plan_point(&points[i], cli, base, change))
            return false;
        log_line(LOG_DEBUG, "%s planned, %d of %d", change, i + 1, range.n_values);
    }
    if (dir != NULL && !sweep_write(&sweep, dir, cli->arena, cli->err))
        return false;
    if (cli->json)
        print_json(&sweep);
    else
        print_table(&sweep, cli->arena);
    return true;
}
