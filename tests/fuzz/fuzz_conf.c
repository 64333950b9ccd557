/*
 * YAML formats. The first byte chooses the table; what is accepted must be written so that it reads back
 * and is written the same again.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/spec/cluster.h"
#include "core/spec/expert_map.h"
#include "core/spec/plan.h"
#include "core/spec/workload.h"
#include "models/model.h"

/* NOLINTNEXTLINE(readability-identifier-naming): the library gives the name */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool accepted(void *out, int which, struct err *err)
{
    switch (which) {
    case 0:
        return cluster_check(out, err);
    case 1:
        return workload_check(out, err);
    case 2:
        return plan_consistent(out, err);
    case 4:
        return expert_map_check(out, err);
    default:
        return true;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct conf_table *tables[] = {
            &cluster_table, &workload_table, &plan_table, &model_table, &expert_map_table};
    if (size < 1)
        return 0;
    int which = data[0] % 5;
    const struct conf_table *table = tables[which];
    struct arena arena = {0};
    struct err err = {0};
    void *out = arena_alloc(&arena, (int64_t)table->size);
    void *back = arena_alloc(&arena, (int64_t)table->size);
    char *text = NULL, *again = NULL;
    const char *bytes = (const char *)data + 1;
    if (conf_read(out, table, bytes, (int64_t)size - 1, "f", &arena, &err)) {
        if (!conf_write(&text, out, table, &arena, &err)
                || !conf_read(back, table, text, (int64_t)strlen(text), "t", &arena, &err)
                || !conf_write(&again, back, table, &arena, &err) || strcmp(text, again) != 0)
            abort();
        if (accepted(out, which, &err) && which == 2)
            plan_show(out, &arena);
    } else if (err.kind == ERR_NONE || err.kind == ERR_BUG || err.text[0] == '\0') {
        abort();
    }
    arena_free(&arena);
    return 0;
}
