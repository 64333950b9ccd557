#include "cli/speed.h"

#include "core/clock.h"
#include "core/spec/op.h"
#include "kernels/op_table.h"

#define PASSES 7

/* Each thread sums its own part of the buffer; eight sums keep the loads independent. */
struct reading {
    uint64_t *words;
    int64_t n;
    uint64_t sum[64][8]; /* a cache line per thread */
};

static void read_part(void *arg, int part, int parts)
{
    struct reading *r = arg;
    int64_t begin = (r->n / parts * part) & ~INT64_C(7);
    int64_t end = (part + 1 == parts ? r->n : r->n / parts * (part + 1)) & ~INT64_C(7);
    uint64_t sum[8] = {0};
    for (int64_t i = begin; i < end; i += 8)
        for (int lane = 0; lane < 8; lane++)
            sum[lane] += r->words[i + lane];
    for (int lane = 0; lane < 8; lane++)
        r->sum[part % 64][lane] = sum[lane];
}

/* Fresh pages are one shared page of zeros until written. */
static void fill_part(void *arg, int part, int parts)
{
    struct reading *r = arg;
    for (int64_t i = r->n / parts * part; i < r->n / parts * (part + 1); i++)
        r->words[i] = (uint64_t)i;
}

static bool measure_read(struct speed *out, struct dev *dev, struct err *err)
{
    struct reading r = {.n = out->buffer_bytes / (int64_t)sizeof(uint64_t)};
    r.words = dev_alloc(dev, out->buffer_bytes, err);
    if (!r.words)
        return false;
    dev_parallel(dev, fill_part, &r);
    for (int pass = 0; pass < PASSES; pass++) {
        int64_t start = clock_now_ns();
        dev_parallel(dev, read_part, &r);
        double s = (double)(clock_now_ns() - start) * 1e-9;
        double rate = (double)out->buffer_bytes / s;
        if (rate > out->read_bytes_per_s)
            out->read_bytes_per_s = rate;
    }
    dev_free(dev, r.words);
    return true;
}

static bool measure_flops(struct speed *out, struct dev *dev, struct err *err)
{
    const struct op op = {.kind = OP_GEMM,
            .dtype = DTYPE_F32,
            .degree = out->threads,
            .busy = 1,
            .dim = {512, 1024, 1024}};
    struct op_case *c = op_case_open(dev, &op, 0, 1, err);
    if (!c)
        return false;
    op_case_run(c);
    for (int pass = 0; pass < PASSES; pass++) {
        int64_t start = clock_now_ns();
        op_case_run(c);
        double s = (double)(clock_now_ns() - start) * 1e-9;
        if (op_flop(&op) / s > out->flops)
            out->flops = op_flop(&op) / s;
    }
    op_case_close(c);
    return true;
}

bool speed_measure(
        struct speed *out, int threads, int first_cpu, int64_t last_cache_bytes, struct err *err)
{
    const int64_t least = INT64_C(256) << 20;
    const int64_t most = INT64_C(2) << 30;
    int64_t want = last_cache_bytes * 8;
    *out = (struct speed){.threads = threads};
    out->buffer_bytes = want < least ? least : want > most ? most : want;
#ifdef __OPTIMIZE__
    out->optimised = true;
#endif
    const struct dev_options options = {.threads = threads, .first_cpu = first_cpu};
    struct dev *dev = dev_host_open(&options, err);
    if (!dev)
        return false;
    bool ok = measure_read(out, dev, err) && measure_flops(out, dev, err);
    dev_close(dev);
    return ok;
}
