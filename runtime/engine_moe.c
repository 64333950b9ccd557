/*
 * Two ways through the experts. With one attention-dp group every rank has every row, computes what its
 * experts add to them, and the outputs are summed over the ranks. With several, each group has its own
 * rows: each rank of the group sends its share of them to their experts, wherever those are, combines what comes
 * back, and the group puts the shares together (engine_spread.c).
 */
#include "runtime/engine_moe.h"

/* permute and combine have the same dimensions. */
static struct op rows_op(
        const struct engine *engine, enum op_kind kind, int64_t rows, int64_t local)
{
    const struct model *model = engine->model;
    struct op op = engine_op(engine, kind, DTYPE_F32);

    op.dim[0] = rows;
    op.dim[1] = model->hidden;
    op.dim[2] = local;
    op.dim[3] = engine->place->split.ep * graph_expert_slots(model, &engine->place->split);
    op.dim[4] = model->moe.top_k;
    return op;
}

/* Experts become slots. Replicas of one take turns, by the position of the row, which all ranks that have it
 * agree on. */
static void choose_slots(struct engine *engine, const struct expert_slots *slots, struct slice rows)
{
    const int32_t *positions =
            (const int32_t *)engine->work[WORK_INPUTS] + engine->place->max_rows + rows.begin;
    int32_t *expert = engine->work[WORK_EXPERT];
    int64_t k = engine->model->moe.top_k;

    for (int64_t i = 0; i < (rows.end - rows.begin) * k; i++) {
        const int32_t *first = &slots->first[expert[i]];
        int64_t turn = rows.begin + i / k + positions[i / k];

        expert[i] = slots->slot[first[0] + turn % (first[1] - first[0])];
    }
}

void moe_router(struct engine *engine, const struct layer_weights *layer, struct slice rows)
{
    const struct model *model = engine->model;
    struct op op = engine_op(engine, OP_ROUTER, engine->place->split.dtype);
    struct op_args args = {
            .router = {.x = (float *)engine->work[WORK_H] + rows.begin * model->hidden,
                    .w = layer->buffer[WEIGHT_ROUTER],
                    .bias = layer->buffer[WEIGHT_ROUTER_BIAS],
                    .sigmoid = model->moe.sigmoid,
                    .n_group = model->moe.n_group,
                    .top_k_group = model->moe.top_k_group,
                    .normalise = model->moe.norm_top_k,
                    .scale = (float)model->moe.scale,
                    .expert = engine->work[WORK_EXPERT],
                    .weight = engine->work[WORK_EXPERT_WEIGHT]}};

    op.dim[0] = rows.end - rows.begin;
    op.dim[1] = model->hidden;
    op.dim[2] = model->moe.n;
    op.dim[3] = model->moe.top_k;
    engine_do(engine, &op, &args);
    if (engine->slots)
        choose_slots(engine, &engine->slots[layer - engine->weights.layers], rows);
}

void moe_permute(struct engine *engine, struct slice rows, struct slice experts,
        int32_t *offsets) /* NOLINT(readability-non-const-parameter): the op writes it */
{
    struct op op = rows_op(engine, OP_PERMUTE, rows.end - rows.begin, experts.end - experts.begin);
    struct op_args args = {
            .permute = {(float *)engine->work[WORK_H] + rows.begin * engine->model->hidden,
                    engine->work[WORK_EXPERT], (int)experts.begin, engine->work[WORK_ROWS],
                    engine->work[WORK_PAIR], offsets}};

    engine_do(engine, &op, &args);
}

void moe_combine(
        struct engine *engine, int64_t rows, int64_t local, const struct combine_args *combine)
{
    struct op op = rows_op(engine, OP_COMBINE, rows, local);
    struct op_args args = {.combine = *combine};

    engine_do(engine, &op, &args);
}

void moe_experts(struct engine *engine, const struct layer_weights *layer, int64_t tokens,
        const int32_t *offsets, void *rows, void *out)
{
    const struct model *model = engine->model;
    const struct place *place = engine->place;
    int64_t local = graph_expert_slots(model, &place->split),
            inter = model->moe.inter / place->expert_tp;
    const float *bias = layer->buffer[WEIGHT_EXPERT_BIAS];
    struct op op = engine_op(engine, OP_EXPERT_GEMM, place->split.dtype);
    struct op_args args = {
            .expert = {
                    .rows = rows,
                    .offsets = offsets,
                    .gate_up = layer->buffer[WEIGHT_EXPERT_GATE_UP],
                    .down = layer->buffer[WEIGHT_EXPERT_DOWN],
                    .out = out,
                    .scratch = engine->work[WORK_SCRATCH],
                    .k_chunks = graph_k_chunks(model->moe.inter) / place->expert_tp,
                    .up_bias = bias,
                    .down_bias =
                            bias && place->expert_tp_rank == 0 ? bias + local * 2 * inter : NULL,
                    .clamp = (float)model->moe.clamp,
            }};

    op.dim[0] = tokens;
    op.dim[1] = model->hidden;
    op.dim[2] = inter;
    op.dim[3] = local;
    op.dim[4] = place->split.ep * local;
    op.dim[5] = model->moe.top_k;
    engine_do(engine, &op, &args);
}

bool moe_shared(struct engine *engine, const struct layer_weights *layer)
{
    const struct place *place = engine->place;
    int64_t inter = engine->model->moe.shared_inter;

    if (inter == 0)
        return false;
    engine_mlp(engine, layer, inter);
    if (place->split.deterministic)
        engine_all_reduce(engine, place->tp_coll, engine->work[WORK_R],
                engine->step.rows * engine->model->hidden);
    return true;
}

static void moe_here(struct engine *engine, const struct layer_weights *layer)
{
    const struct model *model = engine->model;
    const struct place *place = engine->place;
    void **work = engine->work;
    int64_t local = graph_expert_slots(model, &place->split), rows = engine->step.rows;
    int64_t pairs = rows * model->moe.top_k;
    int32_t *offsets = work[WORK_OFFSETS];
    struct slice all = {0, rows}, experts = {local * place->ep_rank, local * (place->ep_rank + 1)};
    bool uncombined = place->split.deterministic && coll_size(place->stage_coll) > 1;

    moe_router(engine, layer, all);
    bool shared = moe_shared(engine, layer);
    moe_permute(engine, all, experts, offsets);
    moe_experts(engine, layer, rows, offsets, work[WORK_ROWS], work[WORK_ROWS_SORTED]);
    moe_combine(engine, rows, local,
            &(struct combine_args){.rows = work[WORK_ROWS_SORTED],
                    .pair = work[WORK_PAIR],
                    .n_rows = engine->gpu ? 0 : offsets[local],
                    .counted = engine->gpu ? &offsets[local] : NULL,
                    .weight = work[WORK_EXPERT_WEIGHT],
                    .out = work[uncombined ? WORK_SCATTER : WORK_R],
                    .scatter = uncombined,
                    .add = shared && !uncombined});
    if (!uncombined) {
        engine_all_reduce(engine, place->stage_coll, work[WORK_R], rows * model->hidden);
        return;
    }
    engine_all_reduce(engine, place->stage_coll, work[WORK_SCATTER], pairs * model->hidden);
    moe_combine(engine, rows, local * place->split.ep,
            &(struct combine_args){.rows = work[WORK_SCATTER],
                    .pair = work[WORK_IDENTITY],
                    .n_rows = pairs,
                    .weight = work[WORK_EXPERT_WEIGHT],
                    .out = work[WORK_R],
                    .add = shared});
}

void engine_moe(struct engine *engine, const struct layer_weights *layer)
{
    if (engine->place->n_groups > 1)
        moe_spread(engine, layer);
    else
        moe_here(engine, layer);
}
