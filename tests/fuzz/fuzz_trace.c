/* Request traces: Azure CSV and Mooncake JSONL, as the first byte says. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "core/spec/workload.h"

/* NOLINTNEXTLINE(readability-identifier-naming): the library gives the name */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    struct arena arena = {0};
    struct err err = {0};
    struct requests r = {0};
    const char *text = (const char *)data + 1;
    int64_t len = (int64_t)size - 1;
    bool ok = data[0] % 2 == 0 ? trace_read_azure(&r, text, len, "f", &arena, &err)
                               : trace_read_mooncake(&r, text, len, "f", &arena, &err);
    if (ok != (err.kind == ERR_NONE) || err.kind == ERR_BUG)
        abort();
    for (int64_t i = 0; ok && i < r.n; i++) {
        const struct request *q = &r.items[i];
        if (q->prompt_len < 1 || q->output_len < 1 || q->arrival_ns < 0
                || (i > 0 && q->arrival_ns < r.items[i - 1].arrival_ns))
            abort();
        int32_t token = request_token(q, q->prompt_len - 1, 1000);
        if (token < 0 || token >= 1000)
            abort();
    }
    arena_free(&arena);
    return 0;
}
