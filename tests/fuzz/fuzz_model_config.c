/* config.json of a model: what is accepted has dimensions that its facts can be computed from. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "models/model.h"

/* NOLINTNEXTLINE(readability-identifier-naming): the library gives the name */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena = {0};
    struct err err = {0};
    struct model model = {0};
    struct model_facts facts;
    const char *text = (const char *)data;
    if (model_read_config(&model, text, (int64_t)size, "config.json", &arena, &err)) {
        if (!model_check(&model, &err))
            abort();
        model_facts(&facts, &model);
        if (facts.total_params <= 0 || facts.weight_bytes_bf16 <= 0)
            abort();
    } else if (err.kind == ERR_NONE || err.kind == ERR_BUG) {
        abort();
    }
    arena_free(&arena);
    return 0;
}
