#include <math.h>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/isa.h"
#include "kernels/dev_host.h"

struct router_work {
    const struct router_args *args;
    float *scores; /* [m, experts] */
};

static void route(
        const struct cpu_isa *cpu, const struct op *op, const struct router_work *work, int64_t row)
{
    int64_t experts = op->dim[2], top_k = op->dim[3];
    float *score = work->scores + row * experts, *weight = work->args->weight + row * top_k;
    int32_t *expert = work->args->expert + row * top_k;
    for (int64_t c = 0; c < top_k; c++) {
        expert[c] = (int32_t)cpu->arg_max(score, experts);
        weight[c] = score[expert[c]];
        score[expert[c]] = -INFINITY;
    }
    for (int64_t c = 0; c < top_k; c++)
        score[expert[c]] = weight[c];
    float most = weight[0], total = cpu->soften(score, most, experts), kept = 0;
    for (int64_t c = 0; c < top_k; c++) {
        weight[c] = score[expert[c]] / total;
        kept += weight[c];
    }
    for (int64_t c = 0; c < top_k && work->args->normalise; c++)
        weight[c] /= kept;
}

static void router_rows(const struct cpu_split *split, int part, int64_t begin, int64_t end)
{
    (void)part;
    for (int64_t row = begin; row < end; row++)
        route(dev_cpu(split->dev), split->op, split->args, row);
}

void cpu_router(struct dev *dev, const struct op *op, const struct op_args *args)
{
    int64_t m = op->dim[0], hidden = op->dim[1], experts = op->dim[2];
    struct router_work work = {&args->router, dev_shared(dev, m * experts * 4)};
    struct op scores = {.kind = OP_GEMM, .dtype = op->dtype, .dim = {m, experts, hidden}};
    struct op_args gemm = {.gemm = {.x = args->router.x,
                                   .ldx = hidden,
                                   .w = args->router.w,
                                   .y = work.scores,
                                   .ldy = experts}};
    cpu_gemm(dev, &scores, &gemm);
    struct cpu_split split = {dev, op, &work, router_rows, m, op->dim[3] * experts * 4};
    cpu_split_run(&split);
}
