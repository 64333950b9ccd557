/*
 * emit_html - the page as it grows: sections, sentences, tables with their CSV, charts with their data.
 *
 * Everything is quoted here; callers hand over plain text.
 */
#ifndef REPORTS_EMIT_HTML_H
#define REPORTS_EMIT_HTML_H

#include "reports/charts.h"
#include "reports/table.h"
#include "reports/text.h"

struct page_csv {
    const char *name;
    struct text text;
};

struct page {
    struct arena *arena;
    const char *title, *subtitle;
    struct text body, contents; /* HTML; contents is the list of links */
    struct json_writer charts;
    int64_t n_charts;
    int n_tables;
    int level; /* of the open section, 0 = none */
    struct page_csv csv[32];
    int n_csv;
};

void page_open(struct page *page, const char *title, const char *subtitle, struct arena *arena);
/* level 2 = chapter, 3 = section; closes what is open at that level and below. id is unique. */
void page_section(struct page *page, int level, const char *id, const char *title);
void page_text(struct page *page, const char *css_class, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* Between these, tables and charts are folded away under a line to click. */
void page_fold_begin(struct page *page, const char *summary, bool unfolded);
void page_fold_end(struct page *page);
/* Between these, charts stand side by side where there is room. */
void page_grid_begin(struct page *page);
void page_grid_end(struct page *page);
/* Key figures side by side; each a label, a value and a note. */
void page_tiles(struct page *page, const char *const (*tiles)[3], int n);
/* Adds rows to NAME.csv too. Tables of more than 24 rows scroll in a box. Empty tables: a sentence. */
void page_table(struct page *page, const struct table *table);
/* Only to NAME.csv. */
void page_csv_only(struct page *page, const struct table *table);
/* Nothing when the chart has no points. */
void page_chart(struct page *page, const struct chart *chart);
/* The finished document, in the arena. */
struct text page_close(struct page *page);

#endif
