#include "core/block_pool.h"

#include <stdlib.h>

bool block_pool_init(struct block_pool *pool, int64_t n_blocks, bool cache)
{
    *pool = (struct block_pool){.n_blocks = n_blocks, .oldest = -1, .newest = -1};
    pool->empty = malloc((size_t)n_blocks * sizeof *pool->empty);
    if (!pool->empty)
        return false;
    pool->n_empty = n_blocks;
    for (int64_t b = 0; b < n_blocks; b++)
        pool->empty[b] = (int32_t)(n_blocks - 1 - b);
    if (!cache)
        return true;
    pool->n_buckets = 16;
    while (pool->n_buckets < n_blocks)
        pool->n_buckets *= 2;
    pool->blocks = calloc((size_t)n_blocks, sizeof *pool->blocks);
    pool->buckets = malloc((size_t)pool->n_buckets * sizeof *pool->buckets);
    if (!pool->blocks || !pool->buckets)
        return false;
    for (int64_t i = 0; i < pool->n_buckets; i++)
        pool->buckets[i] = -1;
    return true;
}

void block_pool_fini(struct block_pool *pool)
{
    free(pool->empty);
    free(pool->blocks);
    free(pool->buckets);
    *pool = (struct block_pool){0};
}

int64_t block_pool_free(const struct block_pool *pool)
{
    return pool->n_empty + pool->n_kept;
}

static int32_t *bucket_of(const struct block_pool *pool, uint64_t key)
{
    return &pool->buckets[key & (uint64_t)(pool->n_buckets - 1)];
}

/* Takes a kept block out of the order of use. */
static void unkeep(struct block_pool *pool, int32_t block)
{
    struct block *b = &pool->blocks[block];

    if (b->prev_used < 0)
        pool->oldest = b->next_used;
    else
        pool->blocks[b->prev_used].next_used = b->next_used;
    if (b->next_used < 0)
        pool->newest = b->prev_used;
    else
        pool->blocks[b->next_used].prev_used = b->prev_used;
    pool->n_kept--;
}

static int32_t evict(struct block_pool *pool)
{
    int32_t block = pool->oldest;
    int32_t *at = bucket_of(pool, pool->blocks[block].key);

    while (*at != block)
        at = &pool->blocks[*at].next_same;
    *at = pool->blocks[block].next_same;
    unkeep(pool, block);
    pool->blocks[block].key = 0;
    pool->evicted++;
    return block;
}

int32_t block_pool_take(struct block_pool *pool)
{
    int32_t block = pool->n_empty > 0 ? pool->empty[--pool->n_empty] : evict(pool);

    if (pool->blocks)
        pool->blocks[block].references = 1;
    return block;
}

void block_pool_release(struct block_pool *pool, int32_t block)
{
    struct block *b = pool->blocks ? &pool->blocks[block] : NULL;

    if (b && --b->references > 0)
        return;
    if (!b || b->key == 0) {
        pool->empty[pool->n_empty++] = block;
        return;
    }
    b->prev_used = pool->newest;
    b->next_used = -1;
    if (pool->newest < 0)
        pool->oldest = block;
    else
        pool->blocks[pool->newest].next_used = block;
    pool->newest = block;
    pool->n_kept++;
}

int32_t block_pool_find(const struct block_pool *pool, uint64_t key)
{
    int32_t block = *bucket_of(pool, key);

    while (block >= 0 && pool->blocks[block].key != key)
        block = pool->blocks[block].next_same;
    return block;
}

void block_pool_share(struct block_pool *pool, int32_t block)
{
    if (pool->blocks[block].references++ == 0)
        unkeep(pool, block);
}

bool block_pool_in_use(const struct block_pool *pool, int32_t block)
{
    return pool->blocks[block].references > 0;
}

void block_pool_publish(struct block_pool *pool, int32_t block, uint64_t key)
{
    struct block *b = &pool->blocks[block];
    int32_t *bucket = bucket_of(pool, key);

    if (b->key != 0 || block_pool_find(pool, key) >= 0)
        return;
    b->key = key;
    b->next_same = *bucket;
    *bucket = block;
}
