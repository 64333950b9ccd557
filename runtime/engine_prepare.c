/* What this rank does of a batch: the items of its group's pools, their rows, slots and block tables. */
#include <string.h>

#include "runtime/engine_gpu.h"

/* Slots in the cache of the item's rows. */
static void fill_slots(int32_t *slots, int32_t *positions, const struct batch_item *item,
        const int32_t *blocks, int block_tokens)
{
    for (int t = 0; t < item->n_tokens; t++) {
        int64_t at = item->start + t;

        positions[t] = (int32_t)at;
        slots[t] = blocks[at / block_tokens] * block_tokens + (int32_t)(at % block_tokens);
    }
}

/* The part of the batch that this group steps: its pools are neighbours, and so are their items. */
struct share {
    int first, end, n_decode; /* items; decodes among them */
    int64_t token, block;     /* where theirs begin in the batch */
};

static struct share find_share(const struct place *place, const struct batch *batch)
{
    struct share share = {0};

    for (int i = 0; i < batch->head->n_items; i++) {
        const struct batch_item *item = &batch->items[i];

        if (item->pool < place->first_pool) {
            share.first = i + 1;
            share.token += item->n_tokens;
            share.block += item->n_blocks;
        } else if (item->pool < place->first_pool + place->group_pools) {
            share.end = i + 1;
            share.n_decode += item->decode;
        }
    }
    return share;
}

/* Pools that share a cache have their blocks one after the other. The batch itself may still be on its way
 * to other ranks, so it is not changed. */
static const int32_t *local_blocks(
        struct engine *engine, const struct batch_item *item, const int32_t *blocks, int64_t at)
{
    int64_t pool = item->pool - engine->place->first_pool;
    int32_t base = (int32_t)(pool * engine->place->replica_plan->kv_blocks);

    if (base == 0)
        return blocks;
    for (int i = 0; i < item->n_blocks; i++)
        engine->blocks[at + i] = blocks[i] + base;
    return engine->blocks + at;
}

static void add_item(
        struct engine *engine, const struct batch_item *item, const int32_t *blocks, int place)
{
    struct engine_step *step = &engine->step;
    int64_t most = engine->place->max_rows;
    int32_t *positions = engine->inputs + most, *slots = positions + most;

    fill_slots(
            slots + step->rows, positions + step->rows, item, blocks, engine->cache.block_tokens);
    engine->seqs[place] = (struct attention_seq){
            .row = step->rows,
            .q_len = item->n_tokens,
            .kv_len = item->start + item->n_tokens,
            .blocks = blocks,
    };
    step->rows += item->n_tokens;
    if (item->samples)
        engine->last_rows[step->n_logits++] = (int32_t)step->rows - 1;
    step->decode_kv_tokens += item->decode ? item->start + 1 : 0;
    step->prefill_rows += item->decode ? 0 : item->n_tokens;
}

void engine_prepare(struct engine *engine, const struct batch *batch)
{
    const struct place *place = engine->place;
    struct engine_step *step = &engine->step;
    struct share share = find_share(place, batch);
    const int32_t *block = batch->blocks + share.block;
    int decode = 0, prefill = share.n_decode, pool = 0;

    *step = (struct engine_step){
            .group_rows = batch->head->n_tokens,
            .items = batch->items + share.first,
            .n_items = share.end > share.first ? share.end - share.first : 0,
            .n_decode = share.n_decode,
    };
    engine->pool_row[0] = 0;
    for (int i = 0; i < step->n_items; i++) {
        const struct batch_item *item = &step->items[i];

        while (pool < item->pool - place->first_pool)
            engine->pool_row[++pool] = step->rows;
        add_item(engine, item, local_blocks(engine, item, block, block - batch->blocks),
                item->decode ? decode++ : prefill++);
        block += item->n_blocks;
    }
    while (pool < place->group_pools)
        engine->pool_row[++pool] = step->rows;
    memcpy(engine->inputs, batch->tokens + share.token, sizeof *batch->tokens * (size_t)step->rows);
    if (engine->gpu)
        engine_gpu_send(engine);
}
