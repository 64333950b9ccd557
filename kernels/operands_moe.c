#include "kernels/element.h"
#include "kernels/operands_build.h"

/* Enough that one draw of the routing does not decide a figure. */
#define ROUTING_COPIES 16

static struct operand_span router_outputs(
        const struct operands *o, const struct op *op, int copy, int i)
{
    const struct router_args *a = &o->args[copy].router;
    int64_t n = op->dim[0] * op->dim[3];
    if (i == 1)
        return span_i32(a->expert, n);
    return i ? span_none() : span_f32(a->weight, n);
}

void build_router(struct builder *b)
{
    int64_t m = b->op->dim[0], hidden = b->op->dim[1], n = b->op->dim[2] * hidden;
    int count = build_copies(b, n * dtype_bytes(b->op->dtype), 2);
    struct router_args args = {.x = build_floats(b, m * hidden),
            .normalise = b->variant != 2,
            .bias = b->variant ? build_floats(b, b->op->dim[2]) : NULL,
            .sigmoid = b->variant > 1,
            .scale = b->variant > 1 ? 2.5f : 0,
            .expert = build_output(b, m * b->op->dim[3] * 4),
            .weight = build_output(b, m * b->op->dim[3] * 4)};
    if (b->variant > 2 && b->op->dim[2] % 4 == 0) {
        args.n_group = 4;
        args.top_k_group = 2;
    }
    for (int i = 0; i < count; i++) {
        args.w = build_random(b, b->op->dtype, n, build_scale(hidden));
        b->out->args[i].router = args;
    }
    b->out->outputs = router_outputs;
}

/* top_k different experts for each token, all sets alike likely. */
static int32_t *draw_experts(struct builder *b, int64_t m, int64_t experts, int64_t top_k)
{
    int32_t *expert = build_take(b, m * top_k * 4);
    for (int64_t i = 0; expert && i < m * top_k; i++) {
        int64_t first = i / top_k * top_k;
        bool again = true;
        while (again) {
            again = false;
            expert[i] = (int32_t)build_below(b, experts);
            for (int64_t j = first; j < i; j++)
                again = again || expert[j] == expert[i];
        }
    }
    return expert;
}

/* Rows, pairs, offsets; how many rows there are stands in offsets[local] after the run. */
static struct operand_span permute_outputs(
        const struct operands *o, const struct op *op, int copy, int i)
{
    const struct permute_args *a = &o->args[copy].permute;
    int64_t local = op->dim[2], n = a->offsets[local];
    if (i == 0)
        return span_i32(a->offsets, local + 1);
    if (i == 1)
        return span_i32(a->pair, n);
    return i > 2 ? span_none() : span_f32(a->rows, n * op->dim[1]);
}

void build_permute(struct builder *b)
{
    int64_t m = b->op->dim[0], hidden = b->op->dim[1], top_k = b->op->dim[4];
    int count = build_copies(b, 4, b->cold_bytes > 0 ? ROUTING_COPIES : 1);
    count = b->out->n_copies = count < ROUTING_COPIES ? count : ROUTING_COPIES;
    struct permute_args args = {.x = build_floats(b, m * hidden),
            .rows = build_output(b, m * top_k * hidden * 4),
            .pair = build_output(b, m * top_k * 4),
            .offsets = build_output(b, (b->op->dim[2] + 1) * 4)};
    for (int i = 0; i < count; i++) {
        args.expert = draw_experts(b, m, b->op->dim[3], top_k);
        b->out->args[i].permute = args;
    }
    b->out->outputs = permute_outputs;
}

static struct operand_span combine_outputs(
        const struct operands *o, const struct op *op, int copy, int i)
{
    const struct combine_args *a = &o->args[copy].combine;
    int64_t rows = a->scatter ? op->dim[0] * op->dim[4] : op->dim[0];
    return i ? span_none() : span_f32(a->out, rows * op->dim[1]);
}

void build_combine(struct builder *b)
{
    int64_t m = b->op->dim[0], hidden = b->op->dim[1], local = b->op->dim[2];
    int64_t top_k = b->op->dim[4];
    int count = build_copies(b, 4, b->cold_bytes > 0 ? ROUTING_COPIES : 1);
    count = b->out->n_copies = count < ROUTING_COPIES ? count : ROUTING_COPIES;
    struct combine_args args = {.rows = build_floats(b, m * top_k * hidden),
            .weight = build_floats(b, m * top_k),
            .out = b->variant == 1 ? build_floats(b, m * hidden)
                                   : build_output(b, m * (b->variant ? top_k : 1) * hidden * 4),
            .add = b->variant == 1,
            .scatter = b->variant == 2};
    for (int i = 0; i < count; i++) {
        const int32_t *expert = draw_experts(b, m, b->op->dim[3], top_k);
        int32_t *pair = build_take(b, m * top_k * 4);
        args.n_rows = 0;
        for (int64_t e = 0; pair && e < local; e++)
            for (int64_t p = 0; p < m * top_k; p++)
                if (expert[p] == e)
                    pair[args.n_rows++] = (int32_t)p;
        args.pair = pair;
        b->out->args[i].combine = args;
    }
    b->out->outputs = combine_outputs;
}

static struct operand_span expert_outputs(
        const struct operands *o, const struct op *op, int copy, int i)
{
    const struct expert_args *a = &o->args[copy].expert;
    return i ? span_none() : span_f32(a->out, a->offsets[op->dim[3]] * op->dim[1]);
}

static int64_t rounded(double x)
{
    return (int64_t)(x + 0.5);
}

/*
 * Uniform routing at its expectation: rows = m top_k local / experts, spread evenly over as many experts
 * as are expected to get any, local (1 - (1 - top_k / experts)^m). A random draw would make the cost of a
 * shape depend on luck, most of all for few rows.
 */
static int64_t expected_rows(const int64_t *dim, int64_t *active)
{
    double share = (double)dim[5] / (double)dim[4], idle = 1;
    for (int64_t i = 0; i < dim[0] && idle > 1e-9; i++)
        idle *= 1 - share;
    int64_t rows = rounded((double)dim[0] * share * (double)dim[3]);
    *active = rounded((double)dim[3] * (1 - idle));
    rows = rows < 1 ? 1 : rows;
    *active = *active < 1 ? 1 : *active > rows ? rows : *active;
    return rows;
}

/* offsets[local + 1] with the active experts at an even distance, from `first` on. */
static void spread(int32_t *offsets, int64_t local, int64_t rows, int64_t active, int64_t first)
{
    for (int64_t e = 0; e <= local; e++)
        offsets[e] = 0;
    for (int64_t i = 0; i < active; i++) {
        int64_t e = (first + i * local / active) % local;
        offsets[e + 1] += (int32_t)(rows * (i + 1) / active - rows * i / active);
    }
    for (int64_t e = 0; e < local; e++)
        offsets[e + 1] += offsets[e];
}

void build_expert(struct builder *b)
{
    const int64_t *dim = b->op->dim;
    int64_t hidden = dim[1], inter = dim[2], local = dim[3], active;
    int64_t rows = expected_rows(dim, &active);
    int64_t one = build_weight_bytes(b, 2 * inter, hidden) + build_weight_bytes(b, hidden, inter);
    /* Copies of all experts, and in each of them the active ones move on. */
    int count = build_copies(b, active * one, 2);
    int64_t sets = b->cold_bytes > 0 ? b->cold_bytes / (local * one) + 1 : 1;
    sets = sets < count ? sets : count;
    struct expert_args args = {.rows = build_floats(b, rows * hidden),
            .out = build_output(b, rows * hidden * 4),
            .scratch = build_output(b, rows * 3 * inter * 4),
            .up_bias = b->variant ? build_floats(b, local * 2 * inter) : NULL,
            .down_bias = b->variant ? build_floats(b, local * hidden) : NULL,
            .clamp = b->variant > 1 ? 0.7f : 0};
    int32_t *offsets = build_take(b, count * (local + 1) * 4);
    for (int64_t i = 0; i < count; i++) {
        if (i < sets) {
            args.gate_up = build_weights(b, local, 2 * inter, hidden);
            args.gate_up_scale = build_scales(b, local, 2 * inter, hidden);
            args.down = build_weights(b, local, hidden, inter);
            args.down_scale = build_scales(b, local, hidden, inter);
        } else {
            const struct expert_args *same = &b->out->args[i % sets].expert;
            args.gate_up = same->gate_up;
            args.gate_up_scale = same->gate_up_scale;
            args.down = same->down;
            args.down_scale = same->down_scale;
        }
        args.offsets = offsets ? offsets + i * (local + 1) : NULL;
        if (offsets)
            spread(offsets + i * (local + 1), local, rows, active, i / sets * active % local);
        b->out->args[i].expert = args;
    }
    b->out->outputs = expert_outputs;
}
