#include <stdatomic.h>
#include <stddef.h>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/isa.h"
#include "kernels/dev_host.h"
#include "kernels/element.h"

/* Columns of one unit: enough to stream well, few enough that the threads end together. A multiple of
 * both tile widths. */
#define PANEL 192

struct expert_work {
    struct dev *dev;
    const struct op *op;
    const struct expert_args *args;
    int64_t panels; /* of each expert */
    _Atomic int64_t next;
    void (*unit)(const struct expert_work *work, int part, int64_t expert, int64_t begin);
};

static void expert_part(void *arg, int part, int parts)
{
    struct expert_work *work = arg;
    const int32_t *offsets = work->args->offsets;
    (void)parts;
    for (;;) {
        int64_t unit = atomic_fetch_add(&work->next, 1), expert = unit / work->panels;
        if (expert >= work->op->dim[3])
            return;
        if (offsets[expert + 1] > offsets[expert])
            work->unit(work, part, expert, unit % work->panels * PANEL);
    }
}

static void run(struct expert_work *work, int64_t columns,
        void (*unit)(const struct expert_work *work, int part, int64_t expert, int64_t begin))
{
    work->panels = (columns + PANEL - 1) / PANEL;
    work->unit = unit;
    atomic_store(&work->next, 0);
    dev_parallel(work->dev, expert_part, work);
}

/* Gate and up of some columns, and what becomes of them. */
static void up_unit(const struct expert_work *work, int part, int64_t expert, int64_t begin)
{
    const struct expert_args *a = work->args;
    int64_t hidden = work->op->dim[1], inter = work->op->dim[2];
    int64_t first = a->offsets[expert], m = a->offsets[expert + 1] - first;
    int64_t end = begin + PANEL < inter ? begin + PANEL : inter;
    float *both = a->scratch + first * 3 * inter, *inner = both + m * 2 * inter;
    struct span_job job = {.dev = work->dev,
            .part = part,
            .x = a->rows + first * hidden,
            .ldx = hidden,
            .w = element_at(a->gate_up, work->op->dtype, expert * 2 * inter * hidden),
            .dtype = work->op->dtype,
            .m = m,
            .k = hidden,
            .bias = a->up_bias ? a->up_bias + expert * 2 * inter : NULL,
            .y = both,
            .ldy = 2 * inter,
            .begin = begin,
            .end = end};
    cpu_gemm_span(&job);
    job.begin += inter;
    job.end += inter;
    cpu_gemm_span(&job);
    const struct cpu_isa *cpu = dev_cpu(work->dev);
    for (int64_t row = 0; row < m; row++) {
        const float *gate = both + row * 2 * inter + begin;
        float *out = inner + row * inter + begin;
        if (a->clamp > 0)
            cpu->swiglu_clamped(out, gate, gate + inter, a->clamp, end - begin);
        else
            cpu->silu(out, gate, gate + inter, end - begin);
    }
}

static void down_unit(const struct expert_work *work, int part, int64_t expert, int64_t begin)
{
    const struct expert_args *a = work->args;
    int64_t hidden = work->op->dim[1], inter = work->op->dim[2];
    int64_t first = a->offsets[expert], m = a->offsets[expert + 1] - first;
    struct span_job job = {.dev = work->dev,
            .part = part,
            .x = a->scratch + first * 3 * inter + m * 2 * inter,
            .ldx = inter,
            .w = element_at(a->down, work->op->dtype, expert * hidden * inter),
            .dtype = work->op->dtype,
            .m = m,
            .k = inter,
            .k_chunks = a->k_chunks,
            .bias = a->down_bias ? a->down_bias + expert * hidden : NULL,
            .y = a->out + first * hidden,
            .ldy = hidden,
            .begin = begin,
            .end = begin + PANEL < hidden ? begin + PANEL : hidden};
    cpu_gemm_span(&job);
}

void cpu_expert(struct dev *dev, const struct op *op, const struct op_args *args)
{
    struct expert_work work = {.dev = dev, .op = op, .args = &args->expert};
    run(&work, op->dim[2], up_unit);
    run(&work, op->dim[1], down_unit);
}
