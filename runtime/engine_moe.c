/*
 * Two ways through the experts. With one attention-dp group every rank has every row, computes what its
 * experts add to them, and the outputs are summed over the ranks. With several, each group has its own
 * rows and its share of the experts: rows travel to their experts and back, and are combined at home.
 */
#include <string.h>

#include "runtime/engine.h"

/* permute and combine have the same dimensions. */
static struct op rows_op(const struct engine *engine, enum op_kind kind, int64_t local)
{
    const struct model *model = engine->model;
    struct op op = engine_op(engine, kind, DTYPE_F32);

    op.dim[0] = engine->step.rows;
    op.dim[1] = model->hidden;
    op.dim[2] = local;
    op.dim[3] = model->moe.n;
    op.dim[4] = model->moe.top_k;
    return op;
}

static void do_router(struct engine *engine, const struct layer_weights *layer)
{
    const struct model *model = engine->model;
    struct op op = engine_op(engine, OP_ROUTER, engine->place->split.dtype);
    struct op_args args = {.router = {.x = engine->work[WORK_H],
                                   .w = layer->buffer[WEIGHT_ROUTER],
                                   .bias = layer->buffer[WEIGHT_ROUTER_BIAS],
                                   .sigmoid = model->moe.sigmoid,
                                   .n_group = model->moe.n_group,
                                   .top_k_group = model->moe.top_k_group,
                                   .normalise = model->moe.norm_top_k,
                                   .scale = (float)model->moe.scale,
                                   .expert = engine->work[WORK_EXPERT],
                                   .weight = engine->work[WORK_EXPERT_WEIGHT]}};

    op.dim[0] = engine->step.rows;
    op.dim[1] = model->hidden;
    op.dim[2] = model->moe.n;
    op.dim[3] = model->moe.top_k;
    engine_do(engine, &op, &args);
}

static void do_permute(struct engine *engine, int64_t first, int64_t local,
        int32_t *offsets) /* NOLINT(readability-non-const-parameter): the op writes it */
{
    struct op op = rows_op(engine, OP_PERMUTE, local);
    struct op_args args = {.permute = {engine->work[WORK_H], engine->work[WORK_EXPERT], (int)first,
                                   engine->work[WORK_ROWS], engine->work[WORK_PAIR], offsets}};

    engine_do(engine, &op, &args);
}

static void do_combine(struct engine *engine, int64_t local, const struct combine_args *combine)
{
    struct op op = rows_op(engine, OP_COMBINE, local);
    struct op_args args = {.combine = *combine};

    engine_do(engine, &op, &args);
}

/* tokens: rows of the step that reach these experts, spread evenly; the offsets say how many really do. */
static void do_experts(struct engine *engine, const struct layer_weights *layer, int64_t tokens,
        const int32_t *offsets, void *rows, void *out)
{
    const struct model *model = engine->model;
    const struct place *place = engine->place;
    struct op op = engine_op(engine, OP_EXPERT_GEMM, place->split.dtype);
    struct op_args args = {.expert = {
                                   .rows = rows,
                                   .offsets = offsets,
                                   .gate_up = layer->buffer[WEIGHT_EXPERT_GATE_UP],
                                   .down = layer->buffer[WEIGHT_EXPERT_DOWN],
                                   .out = out,
                                   .scratch = engine->work[WORK_SCRATCH],
                                   .k_chunks = graph_k_chunks(model->moe.inter) / place->expert_tp,
                           }};

    op.dim[0] = tokens;
    op.dim[1] = model->hidden;
    op.dim[2] = model->moe.inter / place->expert_tp;
    op.dim[3] = model->moe.n / place->split.ep;
    op.dim[4] = model->moe.n;
    op.dim[5] = model->moe.top_k;
    engine_do(engine, &op, &args);
}

static void moe_here(struct engine *engine, const struct layer_weights *layer)
{
    const struct model *model = engine->model;
    const struct place *place = engine->place;
    void **work = engine->work;
    int64_t local = model->moe.n / place->split.ep, rows = engine->step.rows;
    int64_t pairs = rows * model->moe.top_k;
    int32_t *offsets = work[WORK_OFFSETS];
    bool uncombined = place->split.deterministic && coll_size(place->stage_coll) > 1;

    do_permute(engine, place->ep_rank * local, local, offsets);
    do_experts(engine, layer, rows, offsets, work[WORK_ROWS], work[WORK_ROWS_SORTED]);
    do_combine(engine, local,
            &(struct combine_args){.rows = work[WORK_ROWS_SORTED],
                    .pair = work[WORK_PAIR],
                    .n_rows = offsets[local],
                    .weight = work[WORK_EXPERT_WEIGHT],
                    .out = work[uncombined ? WORK_SCATTER : WORK_R],
                    .scatter = uncombined});
    if (!uncombined) {
        engine_all_reduce(engine, place->stage_coll, work[WORK_R], rows * model->hidden);
        return;
    }
    engine_all_reduce(engine, place->stage_coll, work[WORK_SCATTER], pairs * model->hidden);
    do_combine(engine, model->moe.n,
            &(struct combine_args){.rows = work[WORK_SCATTER],
                    .pair = work[WORK_IDENTITY],
                    .n_rows = pairs,
                    .weight = work[WORK_EXPERT_WEIGHT],
                    .out = work[WORK_R]});
}

static void exchange(struct engine *engine, int64_t nominal_bytes, const void *in,
        const int64_t *send, void *out, const int64_t *recv)
{
    struct op op = engine_op(engine, OP_ALL_TO_ALL, DTYPE_F32);

    op.degree = coll_size(engine->place->stage_coll);
    op.dim[0] = nominal_bytes;
    coll_all_to_all(engine->place->stage_coll, in, send, out, recv);
    if (nominal_bytes > 0)
        meter_op(engine->meter, &op);
    else
        meter_mark(engine->meter); /* others had rows, this group has none */
}

/* Where each (source, expert) run of rows lies among the arrived and among the sorted. */
struct regroup {
    const struct engine *engine;
    const int32_t *counts; /* [source][local] */
    const int32_t *offsets;
    int sources;
    int64_t local;
    char *arrived, *sorted;
    bool back;
};

static void regroup_part(void *arg, int part, int parts)
{
    const struct regroup *r = arg;
    int64_t row_bytes = r->engine->model->hidden * (int64_t)sizeof(float), from = 0;
    int run = 0;

    for (int source = 0; source < r->sources; source++) {
        for (int64_t e = 0; e < r->local; e++, run++) {
            int64_t n = r->counts[source * r->local + e], to = r->offsets[e];
            char *arrived = r->arrived + from * row_bytes;

            from += n;
            if (run % parts != part)
                continue;
            for (int s = 0; s < source; s++)
                to += r->counts[s * r->local + e];
            if (r->back)
                memcpy(arrived, r->sorted + to * row_bytes, (size_t)(n * row_bytes));
            else
                memcpy(r->sorted + to * row_bytes, arrived, (size_t)(n * row_bytes));
        }
    }
}

static void do_regroup(struct engine *engine, struct regroup *r, int64_t nominal_bytes)
{
    struct op op = engine_op(engine, OP_COPY, DTYPE_F32);

    op.dim[0] = nominal_bytes;
    dev_parallel(engine->dev, regroup_part, r);
    if (nominal_bytes > 0)
        meter_op(engine->meter, &op);
    else
        meter_mark(engine->meter); /* others had rows, this group has none */
}

/* Tells every rank how many rows it gets for each of its experts; fills the bytes that will travel. */
static void exchange_counts(
        struct engine *engine, const int32_t *home, int32_t *here, int64_t local)
{
    int n = coll_size(engine->place->stage_coll);
    int32_t *sent = engine->work[WORK_COUNTS], *received = sent + engine->model->moe.n;
    int64_t *send = engine->moe_bytes, *recv = send + n;
    int64_t row_bytes = engine->model->hidden * (int64_t)sizeof(float);

    for (int64_t e = 0; e < engine->model->moe.n; e++)
        sent[e] = engine->step.rows > 0 ? home[e + 1] - home[e] : 0;
    for (int i = 0; i < n; i++)
        send[i] = recv[i] = local * (int64_t)sizeof *sent;
    exchange(engine, engine->model->moe.n * (int64_t)sizeof *sent, sent, send, received, recv);
    for (int i = 0; i < n; i++) {
        send[i] = recv[i] = 0;
        for (int64_t e = 0; e < local; e++) {
            send[i] += sent[i * local + e] * row_bytes;
            recv[i] += received[i * local + e] * row_bytes;
        }
    }
    here[0] = 0;
    for (int64_t e = 0; e < local; e++) {
        here[e + 1] = here[e];
        for (int i = 0; i < n; i++)
            here[e + 1] += received[i * local + e];
    }
}

static void moe_spread(struct engine *engine, const struct layer_weights *layer)
{
    const struct model *model = engine->model;
    void **work = engine->work;
    int n = coll_size(engine->place->stage_coll);
    int64_t experts = model->moe.n, local = experts / engine->place->split.ep;
    int64_t row_bytes = model->hidden * (int64_t)sizeof(float);
    int64_t pairs = engine->step.rows * model->moe.top_k;
    int64_t brought = (engine->step.group_rows * model->moe.top_k * local + experts - 1) / experts
                      * row_bytes;
    int32_t *home = work[WORK_OFFSETS], *here = home + experts + 1;
    const int32_t *counts = work[WORK_COUNTS];
    int64_t *send = engine->moe_bytes, *recv = send + n;
    struct regroup regroup = {engine, counts + experts, here, n, local, work[WORK_ROWS_IN],
            work[WORK_ROWS_SORTED], false};

    do_permute(engine, 0, experts, home);
    exchange_counts(engine, home, here, local);
    exchange(engine, pairs * row_bytes, work[WORK_ROWS], send, work[WORK_ROWS_IN], recv);
    do_regroup(engine, &regroup, brought);
    do_experts(engine, layer, engine->step.group_rows, here, work[WORK_ROWS_SORTED],
            work[WORK_ROWS_IN]);
    regroup.arrived = work[WORK_ROWS_SORTED];
    regroup.sorted = work[WORK_ROWS_IN];
    regroup.back = true;
    do_regroup(engine, &regroup, brought);
    exchange(engine, brought, work[WORK_ROWS_SORTED], recv, work[WORK_ROWS], send);
    do_combine(engine, experts,
            &(struct combine_args){.rows = work[WORK_ROWS],
                    .pair = work[WORK_PAIR],
                    .n_rows = pairs,
                    .weight = work[WORK_EXPERT_WEIGHT],
                    .out = work[WORK_R]});
}

void engine_moe(struct engine *engine, const struct layer_weights *layer)
{
    do_router(engine, layer);
    if (engine->place->n_groups > 1)
        moe_spread(engine, layer);
    else
        moe_here(engine, layer);
}
