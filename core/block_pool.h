/*
 * block_pool - the KV blocks of one pool: free, in use, or free but still holding tokens that are known by a
 * key. Private to sched.
 *
 * A block is in use while it has references. One that was published under a key keeps its content when the
 * last reference goes, until it is evicted, least recently used first. Without a cache there are no keys,
 * and taking and releasing are a push and a pop.
 */
#ifndef CORE_BLOCK_POOL_H
#define CORE_BLOCK_POOL_H

#include <stdbool.h>
#include <stdint.h>

struct block {
    uint64_t key; /* 0 = none */
    int32_t references;
    int32_t next_used, prev_used; /* among the free ones that hold a key */
    int32_t next_same;            /* in the same bucket */
};

struct block_pool {
    int32_t *empty; /* stack of free blocks without a key */
    int64_t n_blocks, n_empty, n_kept, evicted;
    struct block *blocks; /* NULL = no cache */
    int32_t *buckets;     /* n_buckets of them, a power of two; -1 = empty */
    int64_t n_buckets;
    int32_t oldest, newest; /* of the kept ones */
};

/* False without memory; fini in either case. */
bool block_pool_init(struct block_pool *pool, int64_t n_blocks, bool cache);
void block_pool_fini(struct block_pool *pool);
/* Blocks that can be taken. */
int64_t block_pool_free(const struct block_pool *pool);
/* A block with one reference; there must be a free one. */
int32_t block_pool_take(struct block_pool *pool);
void block_pool_release(struct block_pool *pool, int32_t block);
/* The block published under the key, or -1. */
int32_t block_pool_find(const struct block_pool *pool, uint64_t key);
/* One reference more to a block that was found. */
void block_pool_share(struct block_pool *pool, int32_t block);
bool block_pool_in_use(const struct block_pool *pool, int32_t block);
/* The block holds what the key stands for. Nothing when another block already does. */
void block_pool_publish(struct block_pool *pool, int32_t block, uint64_t key);

#endif
