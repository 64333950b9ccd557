#include "kernels/bf16.h"
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/isa.h"
#include "kernels/dev_host.h"

/* Weights that all rows pass before the next ones come: half of a second-level cache. */
#define STRIP_BYTES (INT64_C(512) << 10)
/* Columns of a strip: whole panels. */
#define STRIP_UNIT 48
/* From this many rows on outer.h is faster than dot.h: docs/decisions/0003. */
#define OUTER_FROM 40
/* Columns are dealt out to threads in whole tiles of any shape. */
#define SPAN_UNIT 32
/* Packed rows of one pass over the weights. */
#define PACK_BYTES (INT64_C(16) << 20)

struct dots {
    const struct span_job *span;
    const struct cpu_isa *cpu;
    int64_t packed_floats; /* of DOT_ROWS rows */
    float *packed, *scratch;
    int chunks;
};

static struct dot_job dots_job(const struct dots *d, int64_t row, int64_t slot, int64_t rows)
{
    const struct span_job *s = d->span;
    return (struct dot_job){.packed = d->packed + slot * d->packed_floats,
            .scratch = d->scratch,
            .w = s->w,
            .dtype = s->dtype,
            .k = s->k,
            .chunks = d->chunks,
            .rows = (int)rows,
            .bias = s->bias,
            .y = s->y + row * s->ldy,
            .ldy = s->ldy,
            .begin = s->begin,
            .end = s->end};
}

/* Rows [first, end) against all columns, a strip of them at a time. */
static void dots_pass(const struct dots *d, int64_t first, int64_t end)
{
    const struct span_job *s = d->span;
    int64_t strip = STRIP_BYTES / (s->k * (s->dtype == DTYPE_F32 ? 4 : 2));
    strip = strip < STRIP_UNIT ? STRIP_UNIT : strip / STRIP_UNIT * STRIP_UNIT;
    if (end - first <= DOT_ROWS)
        strip = s->end - s->begin;
    for (int64_t col = s->begin; col < s->end; col += strip) {
        for (int64_t row = first; row < end; row += DOT_ROWS) {
            int64_t rows = end - row < DOT_ROWS ? end - row : DOT_ROWS;
            struct dot_job job = dots_job(d, row, (row - first) / DOT_ROWS, rows);
            if (col == s->begin)
                d->cpu->dot_pack(&job, s->x + row * s->ldx, s->ldx);
            job.begin = col;
            job.end = col + strip < s->end ? col + strip : s->end;
            d->cpu->dot_run(&job);
        }
    }
}

static void span_by_dots(const struct span_job *s)
{
    const struct cpu_isa *cpu = dev_cpu(s->dev);
    struct dots d = {.span = s, .cpu = cpu};
    d.chunks = dev_deterministic(s->dev) && s->k_chunks > 1 ? s->k_chunks : 1;
    int64_t slot_rows = s->m < DOT_ROWS ? s->m : DOT_ROWS;
    d.packed_floats =
            (cpu->dot_pack_floats(s->k, d.chunks, (int)slot_rows, s->dtype) + 15) / 16 * 16;
    int64_t slots = PACK_BYTES / (d.packed_floats * 4), needed = (s->m + DOT_ROWS - 1) / DOT_ROWS;
    slots = slots < 1 ? 1 : slots < needed ? slots : needed;
    d.packed = dev_scratch(s->dev, s->part,
            (slots * d.packed_floats + cpu->dot_scratch_floats((int)slot_rows, d.chunks)) * 4);
    d.scratch = d.packed + slots * d.packed_floats;
    for (int64_t row = 0; row < s->m; row += slots * DOT_ROWS)
        dots_pass(&d, row, row + slots * DOT_ROWS < s->m ? row + slots * DOT_ROWS : s->m);
}

static void span_by_outer(const struct span_job *s)
{
    const struct cpu_isa *cpu = dev_cpu(s->dev);
    struct outer_job job = {.scratch = dev_scratch(s->dev, s->part, cpu->outer_floats(s->m) * 4),
            .x = s->x,
            .ldx = s->ldx,
            .w = s->w,
            .dtype = s->dtype,
            .m = s->m,
            .k = s->k,
            .bias = s->bias,
            .y = s->y,
            .ldy = s->ldy,
            .begin = s->begin,
            .end = s->end};
    cpu->outer_run(&job);
}

void cpu_gemm_span(const struct span_job *job)
{
    if (job->begin >= job->end || job->m == 0)
        return;
    if (job->m >= OUTER_FROM && !dev_deterministic(job->dev))
        span_by_outer(job);
    else
        span_by_dots(job);
}

static void gemm_part(void *arg, int part, int parts)
{
    struct span_job job = *(const struct span_job *)arg;
    int64_t groups = (job.end + SPAN_UNIT - 1) / SPAN_UNIT;
    int64_t end = groups * (part + 1) / parts * SPAN_UNIT;
    job.part = part;
    job.begin = groups * part / parts * SPAN_UNIT;
    job.end = end < job.end ? end : job.end;
    cpu_gemm_span(&job);
}

void cpu_gemm(struct dev *dev, const struct op *op, const struct op_args *args)
{
    const struct gemm_args *a = &args->gemm;
    struct span_job job = {.dev = dev,
            .x = a->x,
            .ldx = a->ldx,
            .w = a->w,
            .dtype = op->dtype,
            .m = op->dim[0],
            .k = op->dim[2],
            .k_chunks = a->k_chunks,
            .bias = a->bias,
            .y = a->y,
            .ldy = a->ldy,
            .end = op->dim[1]};
    dev_parallel(dev, gemm_part, &job);
}
