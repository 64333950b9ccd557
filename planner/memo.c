#include "planner/memo.h"

#include <string.h>

#include "core/arena.h"

/* Open addressing, at most half full, a power of two slots. The arena keeps outgrown tables: together
 * they are no larger than the last one. */
struct memo {
    struct arena arena;
    int64_t value_bytes, most, n, n_slots;
    struct memo_key *keys;
    uint64_t *hashes; /* 0 = the slot is free: most comparisons end here */
    char *values;
};

static uint64_t hash_of(const struct memo_key *key)
{
    uint64_t h = 0x9e3779b97f4a7c15u;
    for (int i = 0; i < (int)(sizeof key->at / sizeof *key->at); i++) {
        h ^= (uint64_t)key->at[i];
        h *= 0xff51afd7ed558ccdu;
        h ^= h >> 32;
    }
    return h != 0 ? h : 1;
}

static void make_slots(struct memo *memo, int64_t n_slots)
{
    memo->n_slots = n_slots;
    memo->keys = ARENA_NEW(&memo->arena, struct memo_key, n_slots);
    memo->hashes = ARENA_NEW(&memo->arena, uint64_t, n_slots);
    memo->values = arena_alloc(&memo->arena, n_slots * memo->value_bytes);
}

struct memo *memo_open(int64_t value_bytes, int64_t most)
{
    struct arena arena = {0};
    struct memo *memo = ARENA_NEW(&arena, struct memo, 1);
    memo->arena = arena;
    memo->value_bytes = value_bytes;
    memo->most = most;
    make_slots(memo, 64);
    return memo;
}

void memo_close(struct memo *memo)
{
    if (memo == NULL)
        return;
    struct arena arena = memo->arena; /* the memo itself lies in it */
    arena_free(&arena);
}

static int64_t slot_of(const struct memo *memo, const struct memo_key *key, uint64_t hash)
{
    int64_t at = (int64_t)(hash & (uint64_t)(memo->n_slots - 1));
    while (memo->hashes[at] != 0
            && (memo->hashes[at] != hash || memcmp(&memo->keys[at], key, sizeof *key) != 0))
        at = (at + 1) & (memo->n_slots - 1);
    return at;
}

void *memo_find(const struct memo *memo, const struct memo_key *key)
{
    int64_t at = slot_of(memo, key, hash_of(key));
    return memo->hashes[at] != 0 ? memo->values + at * memo->value_bytes : NULL;
}

static void grow(struct memo *memo)
{
    struct memo old = *memo;
    make_slots(memo, old.n_slots * 2);
    for (int64_t i = 0; i < old.n_slots; i++) {
        if (old.hashes[i] == 0)
            continue;
        int64_t at = slot_of(memo, &old.keys[i], old.hashes[i]);
        memo->hashes[at] = old.hashes[i];
        memo->keys[at] = old.keys[i];
        memcpy(memo->values + at * memo->value_bytes, old.values + i * memo->value_bytes,
                (size_t)memo->value_bytes);
    }
}

void *memo_add(struct memo *memo, const struct memo_key *key)
{
    if (memo->most > 0 && memo->n == memo->most) {
        memset(memo->hashes, 0, sizeof *memo->hashes * (size_t)memo->n_slots);
        memo->n = 0;
    }
    if (memo->n * 2 >= memo->n_slots)
        grow(memo);
    uint64_t hash = hash_of(key);
    int64_t at = slot_of(memo, key, hash);
    memo->hashes[at] = hash;
    memo->keys[at] = *key;
    memo->n++;
    memset(memo->values + at * memo->value_bytes, 0, (size_t)memo->value_bytes);
    return memo->values + at * memo->value_bytes;
}
