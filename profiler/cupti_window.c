#include <stdlib.h>
#include <string.h>

#include "profiler/source_cupti.h"

static int by_start(const void *a, const void *b)
{
    const struct cupti_span *x = a, *y = b;
    return (x->start_ns > y->start_ns) - (x->start_ns < y->start_ns);
}

void cupti_window_of(struct cupti_window *out, struct cupti_span *spans, int64_t n)
{
    memset(out, 0, sizeof *out);
    if (n > 0)
        qsort(spans, (size_t)n, sizeof *spans, by_start);
    uint64_t busy_ns = 0, sum_ns = 0, covered_to = 0;
    for (int64_t i = 0; i < n; i++) {
        const struct cupti_span *s = &spans[i];
        if (s->start_ns == 0 || s->end_ns < s->start_ns) {
            out->lost++;
            continue;
        }
        if (out->kernels++ == 0)
            out->first_ns = (int64_t)s->start_ns;
        sum_ns += s->end_ns - s->start_ns;
        uint64_t from = s->start_ns > covered_to ? s->start_ns : covered_to;
        if (s->end_ns > from)
            busy_ns += s->end_ns - from;
        if (s->end_ns > covered_to)
            covered_to = s->end_ns;
    }
    out->last_ns = (int64_t)covered_to;
    out->busy_us = (double)busy_ns / 1000;
    out->sum_us = (double)sum_ns / 1000;
}
