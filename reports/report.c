#include "reports/report.h"

#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "db/check_store.h"
#include "reports/sections.h"

/* The runs to report, newest first: those asked for, or all. */
static bool read_runs(struct run_row **rows, int64_t *n, struct db *db,
        const struct report_options *options, struct arena *arena, struct err *err)
{
    if (options->runs == NULL) {
        if (!run_store_list(rows, n, db, 0, true, arena, err))
            return false;
    } else {
        *rows = ARENA_NEW(arena, struct run_row, options->n_runs);
        *n = options->n_runs;
        for (int i = 0; i < options->n_runs; i++)
            if (!run_store_read(&(*rows)[i], db, options->runs[i], arena, err))
                return false;
    }
    if (*n == 0)
        return err_set(err, ERR_INPUT,
                "%s: there is no run to report, expected at least one; make one with `shardwright "
                "run PLAN "
                "--db %s`",
                db_path(db), db_path(db));
    return true;
}

static int newest_first(const void *a, const void *b)
{
    const struct run_row *x = a, *y = b;
    return (x->id < y->id) - (x->id > y->id);
}

static void write_chapter(struct chapter *chapter, const char *title)
{
    page_section(chapter->page, 2, chapter->id, title);
    section_verdict(chapter);
    if (chapter->focus != NULL) {
        section_predicted(chapter);
        section_plans(chapter);
        section_memory(chapter);
        section_time(chapter);
        section_requests(chapter);
        section_timeline(chapter);
    }
    section_provenance(chapter);
}

/* Only the newest check of each device and kind counts, all classes of it. Rows come newest first. */
static int64_t newest_checks(struct check_store_row *rows, int64_t n)
{
    int64_t kept = 0;
    for (int64_t i = 0; i < n; i++) {
        bool newer = false;
        for (int64_t j = 0; j < kept && !newer; j++)
            newer = strcmp(rows[j].device, rows[i].device) == 0
                    && strcmp(rows[j].op_kind, rows[i].op_kind) == 0
                    && rows[j].wall_s != rows[i].wall_s;
        if (!newer)
            rows[kept++] = rows[i];
    }
    return kept;
}

static bool write_costs(struct page *page, struct db *db, struct arena *arena, struct err *err)
{
    const char **devices = NULL;
    int n_devices = 0;
    struct check_store_row *checks = NULL;
    int64_t n_checks = 0;
    if (!profile_store_devices(&devices, &n_devices, db, arena, err)
            || !check_store_read(&checks, &n_checks, db, arena, err))
        return false;
    if (n_devices == 0 && n_checks == 0)
        return true;
    page_section(page, 2, "costs", "Measured costs");
    page_text(page, NULL, "What the profiler measured and every prediction above is made of.");
    n_checks = newest_checks(checks, n_checks);
    if (n_checks > 0)
        section_checks(page, "checks", checks, n_checks);
    for (int i = 0; i < n_devices; i++) {
        struct profile profile = {0};
        if (!profile_store_read(&profile, db, devices[i], arena, err))
            return false;
        profile.device = devices[i];
        section_costs(page, arena_printf(arena, "costs-%d", i + 1), &profile);
    }
    return true;
}

static bool write_files(struct report_summary *out, struct page *page, const char *dir,
        struct arena *arena, struct err *err)
{
    const struct text html = page_close(page);
    if (!file_make_dirs(dir, err))
        return false;
    for (int i = 0; i < page->n_csv; i++) {
        const struct text *csv = &page->csv[i].text;
        const char *path = arena_printf(arena, "%s/%s.csv", dir, page->csv[i].name);
        if (!file_write(path, csv->data != NULL ? csv->data : "", csv->len, err))
            return false;
    }
    out->n_csv = page->n_csv;
    out->path = arena_printf(arena, "%s/report.html", dir);
    return file_write(out->path, html.data, html.len, err);
}

bool report_write(struct report_summary *out, struct db *db, const struct report_options *options,
        struct arena *arena, struct err *err)
{
    struct run_row *rows = NULL;
    int64_t n_rows = 0;
    *out = (struct report_summary){0};
    if (!read_runs(&rows, &n_rows, db, options, arena, err))
        return false;
    qsort(rows, (size_t)n_rows, sizeof *rows, newest_first);
    struct comparison *comparisons = NULL;
    const int64_t n = compare_runs(&comparisons, rows, n_rows, arena);
    out->n_runs = n_rows;
    out->headlines = ARENA_NEW(arena, const char *, n);
    out->n_headlines = n;
    struct page page;
    page_open(&page, options->title != NULL ? options->title : "Shardwright report",
            arena_printf(arena, "%lld run%s; %lld chapter%s, one for each model and workload",
                    (long long)n_rows, n_rows == 1 ? "" : "s", (long long)n, n == 1 ? "" : "s"),
            arena);
    for (int64_t i = 0; i < n; i++) {
        const struct comparison *c = &comparisons[i];
        struct chapter chapter = {.page = &page,
                .arena = arena,
                .comparison = c,
                .focus = c->chosen != NULL ? c->chosen : c->best,
                .id = arena_printf(arena, "m%lld", (long long)i + 1),
                .reproducible = options->reproducible};
        const char *title = arena_printf(arena, "%s, %s", c->model, c->workload);
        write_chapter(&chapter, title);
        out->headlines[i] = arena_printf(arena, "%s: %s", title, compare_headline(c, arena));
    }
    section_accuracy(&page, comparisons, n);
    if (!write_costs(&page, db, arena, err))
        return false;
    out->n_charts = page.n_charts;
    return write_files(out, &page, options->out_dir, arena, err);
}
