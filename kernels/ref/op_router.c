#include <math.h>

#include "kernels/element.h"
#include "kernels/ref/ref.h"

/* Scores are rounded to f32 before they are compared, like those of any implementation. */
static float score(const struct op *op, const struct router_args *a, int64_t row, int64_t expert)
{
    double sum = a->bias && !a->sigmoid ? (double)a->bias[expert] : 0;
    for (int64_t i = 0; i < op->dim[1]; i++)
        sum += (double)a->x[row * op->dim[1] + i]
               * (double)element_load(a->w, op->dtype, expert * op->dim[1] + i);
    return a->sigmoid ? (float)(1 / (1 + exp(-sum))) : (float)sum;
}

/* What experts are chosen by. */
static float rank_of(const struct op *op, const struct router_args *a, int64_t row, int64_t expert)
{
    return score(op, a, row, expert) + (a->bias && a->sigmoid ? a->bias[expert] : 0);
}

static bool taken(const int32_t *chosen, int64_t n, int64_t expert)
{
    for (int64_t i = 0; i < n; i++)
        if (chosen[i] == expert)
            return true;
    return false;
}

/* Sum of the two best of a group; of the only one where it has one. */
static float group_value(
        const struct op *op, const struct router_args *a, int64_t row, int64_t group)
{
    int64_t each = op->dim[2] / a->n_group;
    float best = -HUGE_VALF, second = -HUGE_VALF;
    for (int64_t e = group * each; e < (group + 1) * each; e++) {
        float value = rank_of(op, a, row, e);
        second = fmaxf(second, fminf(best, value));
        best = fmaxf(best, value);
    }
    return each > 1 ? best + second : best;
}

/* Whether fewer than top_k_group groups are better than the expert's. */
static bool allowed(const struct op *op, const struct router_args *a, int64_t row, int64_t expert)
{
    if (a->n_group < 2)
        return true;
    int64_t mine = expert / (op->dim[2] / a->n_group), better = 0;
    float value = group_value(op, a, row, mine);
    for (int64_t g = 0; g < a->n_group; g++) {
        float other = group_value(op, a, row, g);
        better += other > value || (other == value && g < mine);
    }
    return better < a->top_k_group;
}

static void choose(const struct op *op, const struct router_args *a, int64_t row)
{
    int64_t experts = op->dim[2], top_k = op->dim[3];
    int32_t *chosen = a->expert + row * top_k;
    for (int64_t c = 0; c < top_k; c++) {
        int64_t best = -1;
        for (int64_t e = 0; e < experts; e++)
            if (!taken(chosen, c, e) && allowed(op, a, row, e)
                    && (best < 0 || rank_of(op, a, row, e) > rank_of(op, a, row, best)))
                best = e;
        chosen[c] = (int32_t)best;
    }
}

void ref_router(const struct op *op, const struct op_args *args)
{
    const struct router_args *a = &args->router;
    int64_t m = op->dim[0], experts = op->dim[2], top_k = op->dim[3];
    for (int64_t row = 0; row < m; row++) {
        const int32_t *chosen = a->expert + row * top_k;
        float *weight = a->weight + row * top_k;
        double most = -HUGE_VAL, total = 0, kept = 0;
        choose(op, a, row);
        for (int64_t e = 0; e < experts; e++)
            most = fmax(most, (double)score(op, a, row, e));
        for (int64_t e = 0; e < experts; e++)
            total += exp((double)score(op, a, row, e) - most);
        for (int64_t c = 0; c < top_k; c++) {
            double value = (double)score(op, a, row, chosen[c]);
            weight[c] = (float)(a->sigmoid ? value : exp(value - most) / total);
            kept += (double)weight[c];
        }
        for (int64_t c = 0; c < top_k; c++)
            weight[c] = (float)((double)weight[c] / (a->normalise ? kept : 1)
                                * (a->scale != 0 ? (double)a->scale : 1));
    }
}
