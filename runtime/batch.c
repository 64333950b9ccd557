#include "runtime/batch.h"

#include <stdlib.h>
#include <string.h>

static int64_t min_i64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

int64_t batch_most_blocks(const struct place *place)
{
    const struct plan *plan = place->plan;
    const struct plan_replica *replica = place->replica_plan;
    int64_t seq_blocks = (plan->max_len + plan->block_tokens - 1) / plan->block_tokens;

    /* A block that sequences share stands in the list of each. */
    if (plan->prefix_cache)
        return replica->max_seqs * seq_blocks;
    return min_i64(replica->max_seqs * seq_blocks,
            place->n_pools * replica->kv_blocks + replica->max_seqs);
}

bool batch_alloc(struct batch *batch, const struct place *place, struct err *err)
{
    const struct plan_replica *replica = place->replica_plan;
    int64_t blocks = batch_most_blocks(place);
    int64_t tokens = (int64_t)place->n_pools * replica->max_tokens;

    *batch = (struct batch){.capacity = (int64_t)sizeof(struct batch_head)
                                        + replica->max_seqs * (int64_t)sizeof(struct batch_item)
                                        + (tokens + blocks) * (int64_t)sizeof(int32_t)};
    batch->memory = calloc(1, (size_t)batch->capacity);
    if (!batch->memory)
        return err_set(err, ERR_ENV, "not enough memory for a batch message of %lld bytes",
                (long long)batch->capacity);
    batch->head = batch->memory;
    return true;
}

void batch_free(struct batch *batch)
{
    free(batch->memory);
    *batch = (struct batch){0};
}

void batch_locate(struct batch *batch)
{
    batch->items = (struct batch_item *)(void *)(batch->head + 1);
    batch->tokens = (int32_t *)(void *)(batch->items + batch->head->n_items);
    batch->blocks = batch->tokens + batch->head->n_tokens;
}

static void close_body(struct batch *batch)
{
    char *end = (char *)(batch->blocks + batch->head->n_blocks);

    batch->head->body_bytes = end - (char *)(batch->head + 1);
}

static int32_t token_at(const struct batch_source *source, int64_t request, int64_t i)
{
    const struct request *r = &source->requests->items[request];

    if (i >= r->prompt_len)
        return source->produced[request][i - r->prompt_len];
    if (source->prompts)
        return source->prompts[request][i];
    return request_token(r, i, source->vocab);
}

static uint64_t item_seed(const struct batch_source *source, int64_t request)
{
    return source->requests->items[request].seed * 0x9e3779b97f4a7c15u + source->sampling_seed;
}

void batch_build(
        struct batch *batch, const struct sched_batch *from, const struct batch_source *source)
{
    struct batch_head *head = batch->head;
    int32_t *token = NULL, *block = NULL;

    *head = (struct batch_head){.id = from->id, .what = BATCH_STEP, .n_items = from->n_items};
    for (int i = 0; i < from->n_items; i++)
        head->n_tokens += from->items[i].n_tokens;
    batch_locate(batch);
    token = batch->tokens;
    block = batch->blocks;
    for (int i = 0; i < from->n_items; i++) {
        const struct sched_item *item = &from->items[i];
        const struct request *request = &source->requests->items[item->request];
        int64_t need = (item->start + item->n_tokens);
        int n_blocks = 0;
        const int32_t *blocks = sched_blocks(source->sched, item->request, &n_blocks);

        batch->items[i] = (struct batch_item){
                .request = item->request,
                .start = item->start,
                .seed = item_seed(source, item->request),
                .pool = item->pool,
                .n_tokens = item->n_tokens,
                .n_blocks = n_blocks,
                .output_index = (int32_t)(need - request->prompt_len),
                .decode = item->decode,
                .samples = item->samples,
        };
        for (int t = 0; t < item->n_tokens; t++)
            *token++ = token_at(source, item->request, item->start + t);
        memcpy(block, blocks, sizeof *block * (size_t)n_blocks);
        block += n_blocks;
        head->n_blocks += n_blocks;
    }
    close_body(batch);
}

/* Decodes of the warm-up share blocks, each at its own slot. */
static void warmup_pool(struct batch *batch, const struct place *place, int pool, bool decode)
{
    const struct plan_replica *replica = place->replica_plan;
    int per_block = place->plan->block_tokens;
    int64_t room = min_i64(replica->kv_blocks * per_block, place->plan->max_len);
    int64_t rows = min_i64(room, replica->max_tokens);
    int items = 1;

    if (decode) {
        items = replica->max_seqs / place->n_pools > 0 ? replica->max_seqs / place->n_pools : 1;
        items = (int)min_i64(items, rows);
        rows = 1;
    }
    for (int i = 0; i < items && batch->head->n_items < replica->max_seqs; i++)
        batch->items[batch->head->n_items++] = (struct batch_item){
                .pool = pool,
                .start = decode ? i % per_block : 0,
                .n_tokens = (int32_t)rows,
                .n_blocks = decode ? 1 : (int32_t)((rows + per_block - 1) / per_block),
                .decode = decode,
                .samples = 1,
                .seed = (uint64_t)i,
        };
}

void batch_build_warmup(struct batch *batch, const struct place *place, bool decode, int64_t vocab)
{
    struct batch_head *head = batch->head;
    int32_t *block = NULL;

    *head = (struct batch_head){.id = -1, .what = BATCH_WARMUP};
    batch->items = (struct batch_item *)(void *)(head + 1);
    for (int pool = 0; pool < place->n_pools; pool++)
        warmup_pool(batch, place, pool, decode);
    for (int i = 0; i < head->n_items; i++) {
        head->n_tokens += batch->items[i].n_tokens;
        head->n_blocks += batch->items[i].n_blocks;
    }
    batch_locate(batch);
    for (int t = 0; t < head->n_tokens; t++)
        batch->tokens[t] = (int32_t)((int64_t)t * 7919 % vocab);
    block = batch->blocks;
    for (int i = 0; i < head->n_items; i++)
        for (int b = 0; b < batch->items[i].n_blocks; b++)
            *block++ = decode ? (int32_t)batch->items[i].seed / place->plan->block_tokens : b;
    close_body(batch);
}

void batch_build_stop(struct batch *batch)
{
    *batch->head = (struct batch_head){.id = -1, .what = BATCH_STOP};
    batch_locate(batch);
}

void batch_build_caches(struct batch *batch, enum batch_what what, int n_items)
{
    *batch->head = (struct batch_head){.id = -1, .what = what, .n_items = n_items};
    batch_locate(batch);
    batch->head->n_items = 0;
    close_body(batch);
}

void batch_add_cache(struct batch *batch, int64_t request, int pool, const int32_t *blocks, int n)
{
    struct batch_head *head = batch->head;

    batch->items[head->n_items++] =
            (struct batch_item){.request = request, .pool = pool, .from = pool, .n_blocks = n};
    if (n > 0)
        memcpy(batch->blocks + head->n_blocks, blocks, sizeof *blocks * (size_t)n);
    head->n_blocks += n;
    close_body(batch);
}

int batch_samples(const struct batch *batch, int first, int n_pools)
{
    int n = 0;

    for (int i = 0; i < batch->head->n_items; i++)
        n += batch->items[i].pool >= first && batch->items[i].pool < first + n_pools
             && batch->items[i].samples;
    return n;
}
