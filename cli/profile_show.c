#include "cli/profile_show.h"

#include <stdio.h>

#include "core/json.h"

static void put_guide(struct json_writer *w, const struct profile_guide *guide)
{
    json_put_double(w, "target_error", guide->target);
    json_put_double(w, "error", guide->error);
    json_put_bool(w, "reached", guide->reached);
    json_array_begin(w, "kinds");
    for (int i = 0; i < guide->n_kinds; i++) {
        json_object_begin(w, NULL);
        json_put_string(w, "kind", op_kind_names[guide->kinds[i].kind]);
        json_put_int(w, "points", guide->kinds[i].n);
        json_put_double(w, "share", guide->kinds[i].share);
        json_put_double(w, "error", guide->kinds[i].error);
        json_end(w);
    }
    json_end(w);
}

static void show_guide(const struct profile_guide *guide)
{
    enum {
        WORST = 5
    };
    printf("sizes predict each other to %.1f %% (wanted: %.3g %%): %s\n", guide->error * 100,
            guide->target * 100,
            guide->reached ? "reached" : "not reached; the same command goes on");
    for (int i = 0; i < guide->n_kinds && i < WORST; i++)
        printf("%s%-18s %5.1f %% off, %4.1f %% of a step's time\n", i == 0 ? "worst: " : "       ",
                op_kind_names[guide->kinds[i].kind], guide->kinds[i].error * 100,
                guide->kinds[i].share * 100);
}

void profile_show_summary_json(const struct profile_summary *s, const struct profile_shown *options)
{
    struct json_writer w = {.pretty = true};
    json_object_begin(&w, NULL);
    json_put_string(&w, "database", options->db);
    json_put_bool(&w, "dry_run", options->dry_run);
    json_put_int(&w, "wanted", s->wanted);
    json_put_int(&w, "known", s->known);
    json_put_int(&w, "measured", s->measured);
    json_put_int(&w, "skipped", s->skipped);
    json_put_int(&w, "left", s->left);
    json_put_int(&w, "disturbed", s->disturbed);
    json_put_double(&w, "estimate_s", s->estimate_s);
    json_put_double(&w, "seconds", s->seconds);
    if (options->guide) {
        json_put_int(&w, "guided", s->guided);
        put_guide(&w, options->guide);
    }
    json_array_begin(&w, "ceilings");
    for (int i = 0; i < s->n_ceilings; i++) {
        json_object_begin(&w, NULL);
        json_put_int(&w, "threads", s->ceilings[i].degree);
        json_put_int(&w, "busy", s->ceilings[i].busy);
        json_put_double(&w, "peak_flops", s->ceilings[i].peak_flops);
        json_put_double(&w, "peak_bytes_per_s", s->ceilings[i].peak_bytes_per_s);
        json_end(&w);
    }
    json_end(&w);
    json_end(&w);
    printf("%s\n", w.text);
    json_writer_free(&w);
}

void profile_show_summary(const struct profile_summary *s, const struct profile_shown *options)
{
    printf("%lld points wanted, %lld known", (long long)s->wanted, (long long)s->known);
    if (options->dry_run) {
        printf(", %lld to measure, about %.0f s\n", (long long)(s->wanted - s->known),
                s->estimate_s);
        return;
    }
    printf(", %lld measured in %.1f s\n", (long long)s->measured, s->seconds);
    if (options->guide)
        show_guide(options->guide);
    else if (s->left > 0)
        printf("%lld left when the budget was spent; the same command goes on with them\n",
                (long long)s->left);
    if (s->skipped > 0)
        printf("%lld left out: %s\n", (long long)s->skipped,
                options->replay ? "not in the recording" : "more memory than this machine has");
    if (s->disturbed > 0)
        printf("%lld never without interference from other processes\n", (long long)s->disturbed);
    for (int i = 0; i < s->n_ceilings; i++)
        printf("ceiling of %d thread%s, %d rank%s at once: %.4g GFLOP/s, %.4g GB/s each\n",
                s->ceilings[i].degree, s->ceilings[i].degree > 1 ? "s" : "", s->ceilings[i].busy,
                s->ceilings[i].busy > 1 ? "s" : "", s->ceilings[i].peak_flops * 1e-9,
                s->ceilings[i].peak_bytes_per_s * 1e-9);
}

const char *profile_show_class(int size_class)
{
    return size_class < COST_CLASSES ? cost_class_names[size_class] : "all";
}

void profile_show_check_json(const struct check_row *rows, int n)
{
    struct json_writer w = {.pretty = true};
    json_array_begin(&w, NULL);
    for (int i = 0; i < n; i++) {
        json_object_begin(&w, NULL);
        json_put_string(&w, "kind", op_kind_names[rows[i].kind]);
        json_put_string(&w, "size_class", profile_show_class(rows[i].size_class));
        json_put_int(&w, "n", rows[i].n);
        json_put_double(&w, "mape", rows[i].mape);
        json_put_double(&w, "median", rows[i].median);
        json_put_double(&w, "p90", rows[i].p90);
        json_put_double(&w, "p99", rows[i].p99);
        json_put_double(&w, "bias", rows[i].bias);
        json_put_double(&w, "coverage", rows[i].coverage);
        json_put_double(&w, "noise", rows[i].noise);
        json_end(&w);
    }
    json_end(&w);
    printf("%s\n", w.text);
    json_writer_free(&w);
}

void profile_show_check(const struct check_row *rows, int n)
{
    printf("%-34s %5s %8s %8s %8s %8s %8s %9s %8s\n", "sizes not measured", "n", "mean", "median",
            "p90", "p99", "bias", "covered", "noise");
    for (int i = 0; i < n; i++) {
        const struct check_row *row = &rows[i];
        bool all = row->size_class == COST_CLASSES;
        printf("%-18s %-15s %5lld %7.1f%% %7.1f%% %7.1f%% %7.1f%% %+7.1f%% %8.0f%% %7.1f%%\n",
                all ? op_kind_names[row->kind] : "", all ? "" : profile_show_class(row->size_class),
                (long long)row->n, row->mape * 100, row->median * 100, row->p90 * 100,
                row->p99 * 100, row->bias * 100, row->coverage * 100, row->noise * 100);
    }
}
