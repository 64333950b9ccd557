/* What an engine has before its first step: buffers, constants, cache, weights. */
#include "models/rope.h"
#include "runtime/engine_gpu.h"

/* The map turned round: from experts to slots. */
static void find_slots(struct engine *engine, struct arena *arena)
{
    const struct place *place = engine->place;
    int n = place->piece.end_layer - place->piece.first_layer,
        per_group = place->split.expert_slots;

    engine->slots = ARENA_NEW(arena, struct expert_slots, n);
    for (int i = 0; i < n; i++) {
        struct expert_slots *to = &engine->slots[i];
        int layer = place->piece.first_layer + i, all = place->split.ep * per_group;

        if (!engine->model->layers[layer].moe)
            continue;
        to->first = ARENA_NEW(arena, int32_t, engine->model->moe.n + 1);
        to->slot = ARENA_NEW(arena, int32_t, all);
        for (int e = 0; e < engine->model->moe.n; e++) {
            to->first[e + 1] = to->first[e];
            for (int s = 0; s < all; s++)
                if (place_expert(place, engine->model, layer, s / per_group, s % per_group) == e)
                    to->slot[to->first[e + 1]++] = s;
        }
    }
}

/* Rows that travel between stages are sent from the host's memory. */
static void *alloc_buffer(
        struct engine *engine, int buffer, int64_t bytes, struct arena *arena, struct err *err)
{
    if (dev_remote(engine->dev) && buffer == WORK_SEND)
        return arena_alloc(arena, bytes);
    return dev_alloc(engine->dev, bytes, err);
}

static void fill_constants(
        struct engine *engine, const int64_t bytes[WORK_COUNT], struct arena *arena)
{
    float *inv_freq = ARENA_NEW(arena, float, bytes[WORK_INV_FREQ] / 4 + 1);
    int64_t n = bytes[WORK_IDENTITY] / 4;
    int32_t *identity = ARENA_NEW(arena, int32_t, n + 1);

    rope_frequencies(inv_freq, engine->model);
    dev_write(engine->dev, engine->work[WORK_INV_FREQ], inv_freq, bytes[WORK_INV_FREQ]);
    for (int64_t i = 0; i < n; i++)
        identity[i] = (int32_t)i;
    if (n > 0)
        dev_write(engine->dev, engine->work[WORK_IDENTITY], identity, bytes[WORK_IDENTITY]);
}

static bool alloc_work(struct engine *engine, struct arena *arena, struct err *err)
{
    const struct place *place = engine->place;
    const struct plan_replica *replica = place->replica_plan;
    int64_t bytes[WORK_COUNT];

    graph_work(
            bytes, engine->model, &place->split, place->piece, replica->max_seqs, place->max_rows);
    for (int i = 0; i < WORK_COUNT; i++) {
        if (bytes[i] == 0)
            continue;
        engine->work[i] = alloc_buffer(engine, i, bytes[i], arena, err);
        if (!engine->work[i])
            return err_context(err, "work buffers");
        engine->work_bytes += bytes[i];
    }
    fill_constants(engine, bytes, arena);
    engine->seqs = ARENA_NEW(arena, struct attention_seq, replica->max_seqs);
    engine->last_rows = ARENA_NEW(arena, int32_t, replica->max_seqs);
    engine->inputs = engine->work[WORK_INPUTS];
    engine->op_seqs = engine->seqs;
    engine->op_last_rows = engine->last_rows;
    if (place->experts)
        find_slots(engine, arena);
    engine->pool_row = ARENA_NEW(arena, int64_t, place->group_pools + 1);
    if (place->group_pools > 1)
        engine->blocks = ARENA_NEW(arena, int32_t, batch_most_blocks(place));
    engine->rows = ARENA_NEW(arena, struct sample_row, replica->max_seqs);
    engine->moe_bytes = ARENA_NEW(arena, int64_t, 2 * (int64_t)place->stage_plan->n_ranks);
    return !dev_remote(engine->dev) || engine_gpu_open(engine, arena, err);
}

/* What runs on CPUs and not on GPUs yet. */
static bool check_device(const struct engine *engine, struct err *err)
{
    const struct place *place = engine->place;
    bool experts = engine->model->moe.n > 0;

    if (!dev_remote(engine->dev))
        return true;
    if (place->replica_plan->role != ROLE_MIXED)
        return err_at(err, place->replica_plan->pos,
                "the replica has the role %s, expected mixed on GPUs: their caches do not travel "
                "yet",
                replica_role_names[place->replica_plan->role]);
    if (experts && place->n_groups > 1)
        return err_at(err, place->stage_plan->pos,
                "attention_dp is %d with experts, expected 1: rows do not travel between the "
                "experts of "
                "GPUs yet; plan with --attention-dp 1, or run it on CPUs",
                place->n_groups);
    if (experts && place->experts)
        return err_at(err, place->stage_plan->pos,
                "an expert map is given, expected none: GPUs do not choose among replicas of "
                "experts yet");
    if (place->split.dtype != DTYPE_BF16 && place->split.dtype != DTYPE_F32)
        return err_at(err, place->stage_plan->pos, "weights are %s, expected bf16 or f32 on GPUs",
                dtype_names[place->split.dtype]);
    return true;
}

bool engine_open(struct engine *engine, const struct place *place,
        const struct engine_options *options, struct arena *arena, struct err *err)
{
    *engine = (struct engine){
            .place = place,
            .model = options->model,
            .workload = options->workload,
            .dev = options->dev,
            .meter = options->meter,
            .keep_logits = options->keep_logits,
            .timed = !dev_remote(options->dev) || options->trace,
    };
    if (!check_device(engine, err) || !alloc_work(engine, arena, err)
            || !kvcache_alloc(&engine->cache, place, options->model, options->dev, arena, err)
            || !load_weights(&engine->weights, place, options->model, options->weights,
                    options->dev, arena, err))
        return false;
    if (place->last && options->workload && options->workload->sampling.temperature > 0) {
        engine->sampler = sampler_open(options->workload, options->model->vocab, options->dev, err);
        return engine->sampler != NULL;
    }
    return dev_finish(engine->dev, err);
}

void engine_close(struct engine *engine)
{
    engine_gpu_close(engine);
    sampler_close(engine->sampler);
    engine->sampler = NULL;
}
