/* A checkpoint's header: entries that were accepted lie inside the file, one behind the other. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "models/safetensors.h"

/* NOLINTNEXTLINE(readability-identifier-naming): the library gives the name */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena = {0};
    struct err err = {0};
    struct safetensors_entry *entries = NULL;
    int64_t n = 0;
    bool ok = safetensors_read(&entries, &n, data, (int64_t)size, "f", &arena, &err);
    if (ok != (err.kind == ERR_NONE) || err.kind == ERR_BUG)
        abort();
    for (int64_t i = 0; ok && i < n; i++) {
        const struct safetensors_entry *e = &entries[i];
        int64_t bytes = safetensors_elements(e->dim, e->n_dims) * dtype_bytes(e->dtype);
        if (e->begin < 8 || e->end > (int64_t)size || e->end - e->begin != bytes
                || (i > 0 && e->begin != entries[i - 1].end))
            abort();
    }
    arena_free(&arena);
    return 0;
}
