/*
 * A product in passes over some rows: these are packed as dot.h or outer.h want them, few by every thread for itself and
 * many once for all, while threads take columns from a common store.
 */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/isa.h"
#include "kernels/dev_host.h"
#include "kernels/element.h"

/* Weights that all rows pass before the next ones come: half of a second-level cache. */
#define STRIP_BYTES (INT64_C(512) << 10)
/* Columns of a strip: whole panels. */
#define STRIP_UNIT 48
/* Columns are dealt out to threads in whole tiles of any shape. */
#define SPAN_UNIT 32
/* Products of at most so many columns are divided by rows. */
#define NARROW INT64_C(128)
/* Packed rows of one pass over the weights. */
#define PACK_BYTES (INT64_C(16) << 20)
/* Rows of fewer bytes are packed by every thread for itself: that takes as long as by one of them, and saves the others
 * from waiting for it and from fetching what it wrote. */
#define PACK_ALONE (INT64_C(64) << 10)

struct product {
    const struct span_job *span;
    const struct cpu_isa *cpu;
    bool outer;
    int chunks;
    int64_t group, group_floats; /* rows that are packed together; what dot.h makes of them */
    int64_t pass;                /* rows of a pass, whole groups */
    int64_t scratch_floats;
    int64_t packed_floats; /* of a pass */
    float *packed;         /* for all threads; NULL = each packs for itself */
    int64_t row, rows;     /* the pass at hand */
    struct cpu_share columns;
};

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static void product_open(struct product *p, const struct span_job *s)
{
    const struct cpu_isa *cpu = dev_cpu(s->dev);
    *p = (struct product){.span = s, .cpu = cpu};
    p->outer = s->m >= OP_ROW_EDGE && !dev_deterministic(s->dev);
    if (p->outer) {
        int64_t passes = (s->m + cpu->outer_pass - 1) / cpu->outer_pass;
        p->group = cpu->outer_rows;
        p->pass = ((s->m + passes - 1) / passes + p->group - 1) / p->group * p->group;
        p->scratch_floats = cpu->outer_scratch_floats();
        p->packed_floats = (cpu->outer_floats(p->pass, s->k) + 15) / 16 * 16;
        return;
    }
    p->chunks = dev_deterministic(s->dev) && s->k_chunks > 1 ? s->k_chunks : 1;
    p->group = least(s->m, DOT_ROWS);
    p->group_floats =
            (cpu->dot_pack_floats(s->k, p->chunks, (int)p->group, s->dtype) + 15) / 16 * 16;
    int64_t groups = (s->m + p->group - 1) / p->group, most = PACK_BYTES / (p->group_floats * 4);
    groups = most < 1 ? 1 : least(most, groups);
    p->pass = groups * p->group;
    p->scratch_floats = cpu->dot_scratch_floats((int)p->group, p->chunks);
    p->packed_floats = groups * p->group_floats;
}

static struct dot_job dot_job_of(const struct product *p, float *packed, int64_t row)
{
    const struct span_job *s = p->span;
    return (struct dot_job){.packed = packed + row / p->group * p->group_floats,
            .w = s->w,
            .dtype = s->dtype,
            .k = s->k,
            .chunks = p->chunks,
            .rows = (int)least(p->rows - row, p->group),
            .bias = s->bias,
            .y = s->y + (p->row + row) * s->ldy,
            .ldy = s->ldy};
}

static struct outer_job outer_job_of(const struct product *p, float *packed)
{
    const struct span_job *s = p->span;
    return (struct outer_job){.packed = packed,
            .x = s->x + p->row * s->ldx,
            .ldx = s->ldx,
            .w = s->w,
            .dtype = s->dtype,
            .m = p->rows,
            .k = s->k,
            .bias = s->bias,
            .y = s->y + p->row * s->ldy,
            .ldy = s->ldy};
}

/* Groups [first, end) of the pass. */
static void product_pack(const struct product *p, float *packed, int64_t first, int64_t end)
{
    const struct span_job *s = p->span;
    if (p->outer) {
        struct outer_job job = outer_job_of(p, packed);
        p->cpu->outer_pack(&job, first * p->group, least(end * p->group, p->rows));
        return;
    }
    for (int64_t row = first * p->group; row < least(end * p->group, p->rows); row += p->group) {
        struct dot_job job = dot_job_of(p, packed, row);
        p->cpu->dot_pack(&job, s->x + (p->row + row) * s->ldx, s->ldx);
    }
}

/* All rows of the pass against some columns; for dot.h a strip of them at a time. */
static void product_run(
        const struct product *p, float *packed, float *scratch, int64_t begin, int64_t end)
{
    const struct span_job *s = p->span;
    if (p->outer) {
        struct outer_job job = outer_job_of(p, packed);
        job.scratch = scratch;
        job.begin = begin;
        job.end = end;
        p->cpu->outer_run(&job);
        return;
    }
    int64_t strip = STRIP_BYTES / (s->k * (s->dtype == DTYPE_F32 ? 4 : 2));
    strip = strip < STRIP_UNIT ? STRIP_UNIT : strip / STRIP_UNIT * STRIP_UNIT;
    if (p->rows <= p->group)
        strip = end - begin;
    for (int64_t col = begin; col < end; col += strip) {
        for (int64_t row = 0; row < p->rows; row += p->group) {
            struct dot_job job = dot_job_of(p, packed, row);
            job.scratch = scratch;
            job.begin = col;
            job.end = least(col + strip, end);
            p->cpu->dot_run(&job);
        }
    }
}

static int64_t product_groups(const struct product *p)
{
    return (p->rows + p->group - 1) / p->group;
}

void cpu_gemm_span(const struct span_job *job)
{
    struct product p;
    if (job->begin >= job->end || job->m == 0)
        return;
    product_open(&p, job);
    float *packed = dev_scratch(job->dev, job->part, (p.packed_floats + p.scratch_floats) * 4);
    for (p.row = 0; p.row < job->m; p.row += p.pass) {
        p.rows = least(job->m - p.row, p.pass);
        product_pack(&p, packed, 0, product_groups(&p));
        product_run(&p, packed, packed + p.packed_floats, job->begin, job->end);
    }
}

static void pack_part(void *arg, int part, int parts)
{
    const struct product *p = arg;
    int64_t groups = product_groups(p);
    product_pack(p, p->packed, groups * part / parts, groups * (part + 1) / parts);
}

static void run_part(void *arg, int part, int parts)
{
    struct product *p = arg;
    /* As much as fewer rows may take: they must not be the first to need memory. Padding at most doubles it. */
    int64_t own = 2 * PACK_ALONE / 4, begin, end;
    if (!p->packed && p->packed_floats > own)
        own = p->packed_floats;
    float *packed = p->packed;
    float *scratch = dev_scratch(p->span->dev, part, (own + p->scratch_floats) * 4);
    (void)parts;
    while (cpu_share_next(&p->columns, &begin, &end)) {
        if (!packed)
            product_pack(p, packed = scratch, 0, product_groups(p));
        product_run(p, packed, scratch + own, begin, end);
    }
}

/* Some rows against all columns. */
static void rows_part(void *arg, int part, int parts)
{
    struct span_job job = *(const struct span_job *)arg;
    int64_t groups = (job.m + DOT_ROWS - 1) / DOT_ROWS;
    int64_t first = groups * part / parts * DOT_ROWS;
    int64_t end = least(groups * (part + 1) / parts * DOT_ROWS, job.m);
    job.part = part;
    job.m = end - first;
    job.x += first * job.ldx;
    job.y += first * job.ldy;
    cpu_gemm_span(&job);
}

void cpu_gemm(struct dev *dev, const struct op *op, const struct op_args *args)
{
    const struct gemm_args *a = &args->gemm;
    struct span_job span = {.dev = dev,
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
    struct product p;
    if (span.m == 0 || op->dim[1] == 0)
        return;
    /* Too narrow to share, as routers are: threads take rows, and each reads all of the weights. */
    if (span.end <= NARROW && span.m >= (int64_t)DOT_ROWS * dev_threads(dev)) {
        dev_parallel(dev, rows_part, &span);
        return;
    }
    product_open(&p, &span);
    bool alone = least(span.m, p.pass) * span.k * 4 < PACK_ALONE;
    p.packed = alone ? NULL : dev_packed(dev, p.packed_floats * 4);
    for (p.row = 0; p.row < span.m; p.row += p.pass) {
        p.rows = least(span.m - p.row, p.pass);
        if (!alone)
            dev_parallel(dev, pack_part, &p);
        cpu_share_open(&p.columns, op->dim[1], SPAN_UNIT, dev_threads(dev));
        dev_parallel(dev, run_part, &p);
    }
}
