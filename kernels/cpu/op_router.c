#include <math.h>
#include <stddef.h>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/isa.h"
#include "kernels/dev_host.h"

struct router_work {
    const struct router_args *args;
    float *scores; /* [m, experts] */
    float *values; /* [m, experts] that is chosen by, with sigmoid */
};

/* Leaves only the best groups: the others become -infinity. */
static void keep_groups(float *value, const struct op *op, const struct router_args *a)
{
    int64_t experts = op->dim[2], each = experts / a->n_group;
    float best[ROUTER_GROUPS];
    for (int64_t g = 0; g < a->n_group; g++) {
        const float *of = value + g * each;
        float first = -INFINITY, second = -INFINITY;
        for (int64_t e = 0; e < each; e++) {
            second = fmaxf(second, fminf(first, of[e]));
            first = fmaxf(first, of[e]);
        }
        best[g] = each > 1 ? first + second : first;
    }
    for (int64_t g = 0; g < a->n_group; g++) {
        int better = 0;
        for (int64_t o = 0; o < a->n_group; o++)
            better += best[o] > best[g] || (best[o] == best[g] && o < g);
        for (int64_t e = 0; e < each && better >= a->top_k_group; e++)
            value[g * each + e] = -INFINITY;
    }
}

/* Chosen by score + bias, weighed by score. */
static void route_sigmoid(
        const struct cpu_isa *cpu, const struct op *op, const struct router_work *work, int64_t row)
{
    const struct router_args *a = work->args;
    int64_t experts = op->dim[2], top_k = op->dim[3];
    float *score = work->scores + row * experts, *value = work->values + row * experts;
    float kept = 0;
    for (int64_t e = 0; e < experts; e++) {
        score[e] = 1 / (1 + expf(-score[e]));
        value[e] = score[e] + (a->bias ? a->bias[e] : 0);
    }
    if (a->n_group > 1)
        keep_groups(value, op, a);
    for (int64_t c = 0; c < top_k; c++) {
        int64_t best = cpu->arg_max(value, experts);
        a->expert[row * top_k + c] = (int32_t)best;
        a->weight[row * top_k + c] = score[best];
        kept += score[best];
        value[best] = -INFINITY;
    }
    for (int64_t c = 0; c < top_k && a->normalise; c++)
        a->weight[row * top_k + c] /= kept;
}

static void route_softmax(
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
    const struct router_work *work = split->args;
    const struct router_args *a = work->args;
    int64_t top_k = split->op->dim[3];
    (void)part;
    for (int64_t row = begin; row < end; row++) {
        if (a->sigmoid)
            route_sigmoid(dev_cpu(split->dev), split->op, work, row);
        else
            route_softmax(dev_cpu(split->dev), split->op, work, row);
        for (int64_t c = 0; c < top_k && a->scale != 0; c++)
            a->weight[row * top_k + c] *= a->scale;
    }
}

void cpu_router(struct dev *dev, const struct op *op, const struct op_args *args)
{
    const struct router_args *a = &args->router;
    int64_t m = op->dim[0], hidden = op->dim[1], experts = op->dim[2];
    struct router_work work = {a, dev_shared(dev, 2 * m * experts * 4), NULL};
    struct op scores = {.kind = OP_GEMM, .dtype = op->dtype, .dim = {m, experts, hidden}};
    struct op_args gemm = {.gemm = {.x = a->x,
                                   .ldx = hidden,
                                   .w = a->w,
                                   .bias = a->sigmoid ? NULL : a->bias,
                                   .y = work.scores,
                                   .ldy = experts}};
    work.values = work.scores + m * experts;
    cpu_gemm(dev, &scores, &gemm);
    struct cpu_split split = {dev, op, &work, router_rows, m, op->dim[3] * experts * 4};
    cpu_split_run(&split);
}
