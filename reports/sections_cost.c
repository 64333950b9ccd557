/*
 * Cost curves: time over one dimension of an op, a line for each combination of the others ("site").
 * Which dimension runs along the axis follows from the kind; a chart holds one kind and one layout
 * (degree, busy, dtype), because lines of different layouts lie on each other.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "reports/sections.h"

enum {
    LINES_MOST = 8,
    CHARTS_MOST = 12
};

/* Dimension along the axis: kv_len for attention, bytes for collectives and copies (d0), else m (d0). */
static int axis_of(enum op_kind kind)
{
    return op_is_attention(kind) ? 1 : 0;
}

/* Orders by kind, layout, site, then along the axis. */
static int by_site(const void *a, const void *b)
{
    const struct profile_point *x = *(const struct profile_point *const *)a;
    const struct profile_point *y = *(const struct profile_point *const *)b;
    struct op p = x->op, q = y->op;
    const int axis = axis_of(p.kind);
    if (p.kind == q.kind)
        p.dim[axis] = q.dim[axis] = 0;
    const int order = op_compare(&p, &q);
    return order != 0 ? order : op_compare(&x->op, &y->op);
}

static bool same_layout(const struct op *a, const struct op *b)
{
    return a->kind == b->kind && a->degree == b->degree && a->busy == b->busy
           && a->dtype == b->dtype && a->nodes == b->nodes;
}

static bool same_site(const struct op *a, const struct op *b)
{
    struct op p = *a, q = *b;
    p.dim[axis_of(a->kind)] = q.dim[axis_of(b->kind)] = 0;
    return op_compare(&p, &q) == 0;
}

static const char *site_name(const struct op *op, struct arena *arena)
{
    struct text text = {.arena = arena};
    for (int i = 0; i < OP_DIMS; i++) {
        const char *name = op_dim_name(op->kind, i);
        if (i != axis_of(op->kind) && op_dim_shown(op, i))
            text_printf(&text, "%s%s %lld", text.len > 0 ? ", " : "", name, (long long)op->dim[i]);
    }
    return text.len > 0 ? text.data : op_kind_names[op->kind];
}

static const char *layout_name(const struct op *op, struct arena *arena)
{
    const char *unit = op_is_collective(op->kind) ? "rank" : "thread";
    const char *where = op->nodes > 0 ? arena_printf(arena, " on %d machines", op->nodes) : "";
    return arena_printf(arena, "%s %s, %d %s%s%s, %d busy", op_kind_names[op->kind],
            dtype_names[op->dtype], op->degree, unit, op->degree == 1 ? "" : "s", where, op->busy);
}

static const struct column cost_columns[] = {
        {"device", NULL, UNIT_TEXT},
        {"kind", NULL, UNIT_TEXT},
        {"shape", "Shape", UNIT_TEXT},
        {"dtype", "Type", UNIT_TEXT},
        {"degree", "Threads or ranks", UNIT_ID},
        {"busy", "Busy ranks", UNIT_ID},
        {"nodes", "Machines", UNIT_ID},
        {"d0", NULL, UNIT_ID},
        {"d1", NULL, UNIT_ID},
        {"d2", NULL, UNIT_ID},
        {"d3", NULL, UNIT_ID},
        {"d4", NULL, UNIT_ID},
        {"d5", NULL, UNIT_ID},
        {"d6", NULL, UNIT_ID},
        {"d7", NULL, UNIT_ID},
        {"cost_us", "Median, \xc2\xb5s", UNIT_SHORT},
        {"lo_us", "from", UNIT_SHORT},
        {"hi_us", "to", UNIT_SHORT},
        {"min_us", NULL, UNIT_SHORT},
        {"mad_us", NULL, UNIT_SHORT},
        {"samples", "Samples", UNIT_COUNT},
        {"flop_per_s", "GFLOP/s", UNIT_NUMBER},
        {"bytes_per_s", "GB/s", UNIT_NUMBER},
        {"algbw", "algbw, GB/s", UNIT_NUMBER},
        {"busbw", "busbw, GB/s", UNIT_NUMBER},
        {"source", "Source", UNIT_TEXT},
        {"stop", "Stopped by", UNIT_TEXT},
};

static const char *shape_name(const struct op *op, struct arena *arena)
{
    struct text text = {.arena = arena};
    for (int i = 0; i < OP_DIMS; i++) {
        const char *name = op_dim_name(op->kind, i);
        if (op_dim_shown(op, i))
            text_printf(&text, "%s%s %lld", text.len > 0 ? ", " : "", name, (long long)op->dim[i]);
    }
    return text.len > 0 ? text.data : "";
}

static struct cell rate(double amount, double us, struct arena *arena)
{
    if (!(us > 0) || !(amount > 0))
        return cell_number((double)NAN);
    return (struct cell){number_show(amount / us / 1e3, arena), amount / us * 1e6};
}

static void cost_row(
        struct table *table, const struct profile *profile, const struct profile_point *point)
{
    const struct op *op = &point->op;
    struct cell *row = table_row(table);
    int at = 0;
    row[at++] = cell_text(profile->device);
    row[at++] = cell_text(op_kind_names[op->kind]);
    row[at++] = cell_text(shape_name(op, table->arena));
    row[at++] = cell_text(dtype_names[op->dtype]);
    row[at++] = cell_number(op->degree);
    row[at++] = cell_number(op->busy);
    row[at++] = cell_number(op->nodes > 0 ? op->nodes : 1);
    for (int i = 0; i < OP_DIMS; i++)
        row[at++] = cell_number((double)op->dim[i]);
    row[at++] = cell_number(point->cost_us);
    row[at++] = cell_number(point->lo_us);
    row[at++] = cell_number(point->hi_us);
    row[at++] = cell_number(point->min_us);
    row[at++] = cell_number(point->mad_us);
    row[at++] = cell_number(point->samples);
    row[at++] = rate(op_flop(op), point->cost_us, table->arena);
    row[at++] = rate(op_bytes(op), point->cost_us, table->arena);
    row[at++] = rate(op_exchange_bytes(op), point->cost_us, table->arena);
    row[at++] = rate(op_exchange_bytes(op) * op_bus_share(op), point->cost_us, table->arena);
    row[at++] = cell_text(cost_source_names[point->source]);
    row[at++] = cell_text(point->stop);
}

/* points: of one layout, by site. Draws the sites with the most points, in the order they come. */
static void layout_chart(struct page *page, const char *id,
        const struct profile_point *const *points, int64_t n, struct arena *arena)
{
    struct chart_series lines[LINES_MOST] = {{0}};
    int n_lines = 0, n_sites = 0;
    for (int64_t i = 0, end; i < n; i = end) {
        for (end = i + 1; end < n && same_site(&points[i]->op, &points[end]->op);)
            end++;
        n_sites++;
        if (n_lines == LINES_MOST || end - i < 2)
            continue;
        struct chart_series *line = &lines[n_lines++];
        line->name = site_name(&points[i]->op, arena);
        line->n_points = end - i;
        line->points = ARENA_NEW(arena, struct chart_point, end - i);
        for (int64_t j = i; j < end; j++)
            line->points[j - i] =
                    (struct chart_point){(double)points[j]->op.dim[axis_of(points[j]->op.kind)],
                            points[j]->cost_us, points[j]->lo_us, points[j]->hi_us, NULL};
    }
    const struct op *op = &points[0]->op;
    const struct chart chart = {.kind = CHART_LINES,
            .id = id,
            .title = n_sites > n_lines ? arena_printf(
                             arena, "%s: %d of %d shapes", layout_name(op, arena), n_lines, n_sites)
                                       : layout_name(op, arena),
            .alt = arena_printf(arena,
                    "Median microseconds of %s over %s with 95 %% intervals; the table has the "
                    "numbers.",
                    layout_name(op, arena), op_dim_name(op->kind, axis_of(op->kind))),
            .x_title = op_dim_name(op->kind, axis_of(op->kind)),
            .y_title = "microseconds",
            .x_log = true,
            .y_log = true,
            .series = lines,
            .n_series = n_lines};
    page_chart(page, &chart);
}

/* Everything of one kind: its charts, then its table folded. */
static void kind_costs(struct page *page, const char *id, const struct profile *profile,
        const struct profile_point *const *points, int64_t n)
{
    struct arena *arena = page->arena;
    const enum op_kind kind = points[0]->op.kind;
    page_fold_begin(page, arena_printf(arena, "%s: %lld points", op_kind_names[kind], (long long)n),
            kind == OP_GEMM || kind == OP_ATTENTION_DECODE || kind == OP_ALL_REDUCE);
    page_grid_begin(page);
    int n_charts = 0;
    for (int64_t i = 0, end; i < n; i = end) {
        for (end = i + 1; end < n && same_layout(&points[i]->op, &points[end]->op);)
            end++;
        if (n_charts++ < CHARTS_MOST)
            layout_chart(page, arena_printf(arena, "%s-%s-%d", id, op_kind_names[kind], n_charts),
                    points + i, end - i, arena);
    }
    page_grid_end(page);
    struct table table =
            TABLE("costs", arena_printf(arena, "Measured points of %s.", op_kind_names[kind]),
                    cost_columns, arena);
    for (int64_t i = 0; i < n; i++)
        cost_row(&table, profile, points[i]);
    page_table(page, &table);
    page_fold_end(page);
}

void section_costs(struct page *page, const char *id, const struct profile *profile)
{
    struct arena *arena = page->arena;
    page_section(page, 3, id, arena_printf(arena, "Cost curves of %s", profile->device));
    page_text(page, NULL,
            "What one call of an operation takes, from the very functions the runtime calls. Bands "
            "are 95 %% "
            "intervals of the median; both axes are logarithmic.");
    const struct profile_point **points =
            ARENA_NEW(arena, const struct profile_point *, profile->n);
    for (int64_t i = 0; i < profile->n; i++)
        points[i] = &profile->points[i];
    qsort(points, (size_t)profile->n, sizeof(void *), by_site);
    for (int64_t i = 0, end; i < profile->n; i = end) {
        for (end = i + 1; end < profile->n && points[i]->op.kind == points[end]->op.kind;)
            end++;
        kind_costs(page, id, profile, points + i, end - i);
    }
}
