/*
 * Checks docs/formats/NAME.md: the table between its markers is what conf_document prints, and the example
 * in its last ```yaml block is read. usage: formats DIRECTORY [--update]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "core/spec/cluster.h"
#include "core/spec/expert_map.h"
#include "core/spec/plan.h"
#include "core/spec/workload.h"
#include "models/model.h"
#include "planner/instance_file.h"

#define BEGIN "<!-- table: written by tests/formats -->\n"
#define END   "<!-- end of table -->\n"
#define YAML  "```yaml\n"

struct page {
    const char *name;
    const struct conf_table *table;
    bool (*check)(void *value, struct err *err); /* beyond what the table says, or NULL */
};

static bool check_cluster(void *value, struct err *err)
{
    return cluster_check(value, err);
}

static bool check_workload(void *value, struct err *err)
{
    return workload_check(value, err);
}

static bool check_plan(void *value, struct err *err)
{
    return plan_consistent(value, err);
}

static bool check_expert_map(void *value, struct err *err)
{
    return expert_map_check(value, err);
}

static char *table_text(const struct conf_table *table, struct arena *arena)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    conf_document(out, table);
    fclose(out);
    char *copy = arena_strdup(arena, text);
    free(text);
    return copy;
}

static bool check_example(const struct page *page, const char *path, const char *text,
        struct arena *arena, struct err *err)
{
    const char *start = NULL;
    for (const char *p = strstr(text, YAML); p != NULL; p = strstr(p + 1, YAML))
        start = p + strlen(YAML);
    const char *end = start == NULL ? NULL : strstr(start, "```");
    if (end == NULL)
        return err_set(err, ERR_INPUT, "%s: expected an example in a ```yaml block", path);
    void *out = arena_alloc(arena, (int64_t)page->table->size);
    const char *name = arena_printf(arena, "%s (example)", path);
    return conf_read(out, page->table, start, end - start, name, arena, err)
           && (page->check == NULL || page->check(out, err) || err_context(err, "%s", name));
}

static bool check_page(
        const struct page *page, const char *dir, bool update, struct arena *arena, struct err *err)
{
    char *path = arena_printf(arena, "%s/%s.md", dir, page->name), *text = NULL;
    int64_t len = 0;
    if (!file_read(&text, &len, path, arena, err))
        return false;
    char *begin = strstr(text, BEGIN), *end = strstr(text, END);
    if (begin == NULL || end == NULL)
        return err_set(err, ERR_INPUT, "%s: expected a table between its two markers", path);
    begin += strlen(BEGIN);
    char *table = table_text(page->table, arena);
    bool same = (int64_t)strlen(table) == end - begin && memcmp(table, begin, strlen(table)) == 0;
    if (!same && !update)
        return err_set(err, ERR_NO,
                "%s: the table is not that of this build; run formats %s --update", path, dir);
    if (!same) {
        char *page_text = arena_printf(arena, "%.*s%s%s", (int)(begin - text), text, table, end);
        if (!file_write(path, page_text, (int64_t)strlen(page_text), err))
            return false;
    }
    return check_example(page, path, text, arena, err);
}

int main(int argc, char **argv)
{
    const struct page pages[] = {{"cluster", &cluster_table, check_cluster},
            {"workload", &workload_table, check_workload}, {"plan", &plan_table, check_plan},
            {"model", &model_table, NULL}, {"experts", &expert_map_table, check_expert_map},
            {"table", &instance_file_table, NULL}};
    if (argc < 2) {
        fprintf(stderr, "usage: %s DIRECTORY [--update]\n", argv[0]);
        return 2;
    }
    bool update = argc > 2 && strcmp(argv[2], "--update") == 0;
    int status = 0;
    for (size_t i = 0; i < sizeof pages / sizeof *pages; i++) {
        struct arena arena = {0};
        struct err err = {0};
        if (!check_page(&pages[i], argv[1], update, &arena, &err)) {
            fprintf(stderr, "%s\n", err.text);
            status = 1;
        }
        arena_free(&arena);
    }
    return status;
}
