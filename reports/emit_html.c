#include "reports/emit_html.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/version.h"
#include "reports/emit_csv.h"

/* Embedded at build time (CMakeLists.txt). The library is empty when it was not installed. */
extern const char report_template[], report_style[], report_script[], report_library[];
extern const long long report_library_len;

void page_open(struct page *page, const char *title, const char *subtitle, struct arena *arena)
{
    memset(page, 0, sizeof *page);
    page->arena = arena;
    page->title = title;
    page->subtitle = subtitle;
    page->body.arena = page->contents.arena = arena;
    json_array_begin(&page->charts, NULL);
}

static void close_sections(struct page *page, int level)
{
    for (; page->level >= level; page->level--)
        text_add(&page->body, "</section>\n");
    if (page->level < level - 1)
        page->level = level - 1;
}

void page_section(struct page *page, int level, const char *id, const char *title)
{
    if (page->level == 0)
        page->level = 1;
    close_sections(page, level);
    page->level = level;
    text_printf(&page->body,
            "<section id=\"%s\" aria-labelledby=\"%s-title\">\n<h%d id=\"%s-title\">", id, id,
            level, id);
    text_html(&page->body, title);
    text_printf(&page->body, "</h%d>\n", level);
    text_printf(&page->contents, "<li class=\"level%d\"><a href=\"#%s\">", level, id);
    text_html(&page->contents, title);
    text_add(&page->contents, "</a></li>\n");
}

void page_text(struct page *page, const char *css_class, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    char small[1024];
    const int len = vsnprintf(small, sizeof small, fmt, args);
    va_end(args);
    char *all = small;
    if (len >= (int)sizeof small) {
        all = arena_alloc(page->arena, len + 1);
        va_start(args, fmt);
        vsnprintf(all, (size_t)len + 1, fmt, args);
        va_end(args);
    }
    text_printf(&page->body, css_class != NULL ? "<p class=\"%s\">" : "<p>", css_class);
    text_html(&page->body, all);
    text_add(&page->body, "</p>\n");
}

void page_fold_begin(struct page *page, const char *summary, bool unfolded)
{
    text_printf(&page->body, "<details%s><summary>", unfolded ? " open" : "");
    text_html(&page->body, summary);
    text_add(&page->body, "</summary>\n");
}

void page_fold_end(struct page *page)
{
    text_add(&page->body, "</details>\n");
}

void page_grid_begin(struct page *page)
{
    text_add(&page->body, "<div class=\"pair\">\n");
}

void page_grid_end(struct page *page)
{
    text_add(&page->body, "</div>\n");
}

void page_tiles(struct page *page, const char *const (*tiles)[3], int n)
{
    text_add(&page->body, "<dl class=\"tiles\">\n");
    for (int i = 0; i < n; i++) {
        text_add(&page->body, "<div><dt>");
        text_html(&page->body, tiles[i][0]);
        text_add(&page->body, "</dt><dd class=\"value\">");
        text_html(&page->body, tiles[i][1]);
        text_add(&page->body, "</dd><dd class=\"note\">");
        text_html(&page->body, tiles[i][2]);
        text_add(&page->body, "</dd></div>\n");
    }
    text_add(&page->body, "</dl>\n");
}

static struct text *csv_of(struct page *page, const char *name)
{
    const int most = (int)(sizeof page->csv / sizeof page->csv[0]);
    for (int i = 0; i < page->n_csv; i++)
        if (strcmp(page->csv[i].name, name) == 0)
            return &page->csv[i].text;
    if (page->n_csv == most)
        return &page->csv[most - 1].text;
    page->csv[page->n_csv] = (struct page_csv){name, {.arena = page->arena}};
    return &page->csv[page->n_csv++].text;
}

void page_csv_only(struct page *page, const struct table *table)
{
    csv_add(csv_of(page, table->name), table);
}

static void table_head(struct text *body, const struct table *table)
{
    text_add(body, "<thead><tr>");
    for (int i = 0; i < table->n_columns; i++) {
        const struct column *column = &table->columns[i];
        if (column->title == NULL)
            continue;
        text_printf(
                body, "<th scope=\"col\"%s>", column->unit == UNIT_TEXT ? "" : " class=\"num\"");
        text_html(body, column->title);
        text_add(body, "</th>");
    }
    text_add(body, "</tr></thead>\n");
}

static void table_body_row(struct page *page, const struct table *table, int64_t row)
{
    struct text *body = &page->body;
    bool first = true;
    text_add(body, table->strong[row] ? "<tr class=\"strong\">" : "<tr>");
    for (int i = 0; i < table->n_columns; i++) {
        const struct column *column = &table->columns[i];
        if (column->title == NULL)
            continue;
        const struct cell *cell = &table->cells[row * table->n_columns + i];
        text_add(body, first ? "<th scope=\"row\"" : "<td");
        text_add(body, column->unit == UNIT_TEXT ? ">" : " class=\"num\">");
        text_html(body, cell_show(cell, column->unit, page->arena));
        text_add(body, first ? "</th>" : "</td>");
        first = false;
    }
    text_add(body, "</tr>\n");
}

void page_table(struct page *page, const struct table *table)
{
    page_csv_only(page, table);
    if (table->n_rows == 0) {
        page_text(page, "quiet", "%s: nothing recorded.", table->caption);
        return;
    }
    struct text *body = &page->body;
    const int id = ++page->n_tables;
    text_printf(body, "<p class=\"caption\" id=\"table-%d\">", id);
    text_html(body, table->caption);
    text_printf(body, " <a href=\"%s.csv\">%s.csv</a></p>\n", table->name, table->name);
    text_printf(body,
            "<div class=\"table%s\" role=\"region\" tabindex=\"0\" aria-labelledby=\"table-%d\">"
            "<table aria-labelledby=\"table-%d\">\n",
            table->n_rows > 24 ? " tall" : "", id, id);
    table_head(body, table);
    text_add(body, "<tbody>\n");
    for (int64_t row = 0; row < table->n_rows; row++)
        table_body_row(page, table, row);
    text_add(body, "</tbody></table></div>\n");
}

void page_chart(struct page *page, const struct chart *chart)
{
    if (!chart_has_points(chart) || report_library_len == 0)
        return;
    struct text *body = &page->body;
    text_printf(body, "<figure class=\"chart\" data-chart=\"%s\" data-rows=\"%d\"><figcaption>",
            chart->id,
            chart->kind == CHART_BARS || chart->kind == CHART_SPANS ? (int)chart->n_categories : 0);
    text_html(body, chart->title);
    text_add(body, "</figcaption><div class=\"canvas\"><canvas role=\"img\" aria-label=\"");
    text_html(body, chart->alt);
    text_add(body, "\"></canvas></div></figure>\n");
    chart_write(&page->charts, chart);
    page->n_charts++;
}

/* JSON inside a script element: no "<" may remain, or text from the database could end the element. */
static void add_json(struct text *text, const char *json, int64_t len)
{
    for (int64_t i = 0; i < len; i++)
        if (json[i] == '<')
            text_add(text, "\\u003c");
        else
            text_add_n(text, json + i, 1);
}

static void add_part(struct text *out, const struct page *page, const char *name, int64_t len)
{
    const struct {
        const char *name, *plain, *quoted;
    } parts[] = {
            {"title", NULL, page->title},
            {"subtitle", NULL, page->subtitle},
            {"version", NULL, version_number},
            {"style", report_style, NULL},
            {"script", report_script, NULL},
            {"library", report_library, NULL},
            {"contents", page->contents.data, NULL},
            {"body", page->body.data, NULL},
    };
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        if ((int64_t)strlen(parts[i].name) != len || strncmp(parts[i].name, name, (size_t)len) != 0)
            continue;
        text_html(out, parts[i].quoted);
        if (parts[i].plain != NULL)
            text_add(out, parts[i].plain);
    }
    if (len == 4 && strncmp(name, "data", 4) == 0)
        add_json(out, page->charts.text, page->charts.len);
}

struct text page_close(struct page *page)
{
    struct text out = {.arena = page->arena};
    close_sections(page, 2);
    json_end(&page->charts);
    if (report_library_len == 0) {
        text_add(&page->body, "<p class=\"quiet\">This build has no chart library (Debian package "
                              "libjs-chart.js), so the report has tables only.</p>\n");
    }
    const char *at = report_template, *mark = NULL;
    while ((mark = strstr(at, "{{")) != NULL) {
        const char *end = strstr(mark, "}}");
        text_add_n(&out, at, mark - at);
        if (end == NULL)
            break;
        add_part(&out, page, mark + 2, end - mark - 2);
        at = end + 2;
    }
    text_add(&out, at);
    json_writer_free(&page->charts);
    return out;
}
