/*
 * sections - what the report says, one function a section. Each adds a heading, a sentence, its tables
 * and its charts to the page; report.c calls them in order.
 */
#ifndef REPORTS_SECTIONS_H
#define REPORTS_SECTIONS_H

#include "db/check_store.h"
#include "db/profile_store.h"
#include "reports/compare.h"
#include "reports/emit_html.h"

/* One model and workload. */
struct chapter {
    struct page *page;
    struct arena *arena;
    const struct comparison *comparison;
    const struct plan_result
            *focus; /* the chosen plan, else the fastest; NULL when nothing finished */
    const char *id; /* prefix of the ids of its sections and charts */
    bool reproducible;
};

/* sections_runs.c */
void section_verdict(const struct chapter *chapter);
void section_predicted(const struct chapter *chapter);
void section_provenance(const struct chapter *chapter);
/* sections_parts.c */
void section_memory(const struct chapter *chapter);
void section_time(const struct chapter *chapter);
/* sections_plans.c */
void section_plans(const struct chapter *chapter);
/* sections_why.c: tables for the section of plans */
void why_tables(const struct chapter *chapter);
/* sections_trace.c */
void section_requests(const struct chapter *chapter);
void section_timeline(const struct chapter *chapter);
/* sections_cost.c: of one device kind */
void section_costs(struct page *page, const char *id, const struct profile *profile);
/* sections_accuracy.c: a chapter over all comparisons, where more than one plan ran; held-out checks */
void section_accuracy(struct page *page, const struct comparison *comparisons, int64_t n);
void section_checks(
        struct page *page, const char *id, const struct check_store_row *rows, int64_t n_rows);

/* A chart point without an interval. */
static inline struct chart_point chart_point_at(double x, double y)
{
    return (struct chart_point){x, y, __builtin_nan(""), __builtin_nan(""), NULL};
}

#endif
