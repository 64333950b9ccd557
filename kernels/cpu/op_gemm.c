#include "kernels/bf16.h"
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/isa.h"
#include "kernels/dev_host.h"

/* Packed rows should stay in the second-level cache beside the weights that pass by. */
#define PACK_FLOATS (128 * 1024)

static int64_t rows_at_once(int64_t m, int64_t k)
{
    int64_t rows = PACK_FLOATS / k / 4 * 4;
    rows = rows < 4 ? 4 : rows > DOT_ROWS ? DOT_ROWS : rows;
    return rows < m ? rows : m;
}

static void span_by_dots(const struct span_job *s)
{
    const struct cpu_isa *cpu = dev_cpu(s->dev);
    int chunks = dev_deterministic(s->dev) && s->k_chunks > 1 ? s->k_chunks : 1;
    int64_t most = rows_at_once(s->m, s->k);
    int64_t packed = (cpu->dot_pack_floats(s->k, chunks, (int)most, s->dtype) + 15) / 16 * 16;
    float *scratch =
            dev_scratch(s->dev, s->part, (packed + cpu->dot_scratch_floats((int)most, chunks)) * 4);
    for (int64_t row = 0; row < s->m; row += most) {
        struct dot_job job = {.packed = scratch,
                .scratch = scratch + packed,
                .w = s->w,
                .dtype = s->dtype,
                .k = s->k,
                .chunks = chunks,
                .rows = (int)(s->m - row < most ? s->m - row : most),
                .bias = s->bias,
                .y = s->y + row * s->ldy,
                .ldy = s->ldy,
                .begin = s->begin,
                .end = s->end};
        cpu->dot_pack(&job, s->x + row * s->ldx, s->ldx);
        cpu->dot_run(&job);
    }
}

void cpu_gemm_span(const struct span_job *job)
{
    if (job->begin < job->end && job->m > 0)
        span_by_dots(job);
}

static void gemm_part(void *arg, int part, int parts)
{
    struct span_job job = *(const struct span_job *)arg;
    int64_t groups = (job.end + 11) / 12; /* whole tiles of either shape */
    int64_t end = groups * (part + 1) / parts * 12;
    job.part = part;
    job.begin = groups * part / parts * 12;
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
