/*
 * The blocks of a sequence, and which of them other sequences may share.
 *
 * The key of a full block stands for all tokens up to its end: a chain over the prefix hashes that these
 * tokens touch. Equal keys are equal tokens at equal places, so the keys and values are equal too.
 */
#include "core/random.h"
#include "core/sched_state.h"

int64_t sched_blocks_for(const struct sched *s, int64_t tokens)
{
    return ((uint32_t)tokens + (uint32_t)s->limits.block_tokens - 1)
           / (uint32_t)s->limits.block_tokens;
}

static int64_t min_i64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t hash_tokens(const struct sched *s)
{
    return s->requests->hash_tokens > 0 ? s->requests->hash_tokens : 512;
}

/* Full blocks among the first `tokens` of a request whose content its prefix hashes tell. */
static int64_t known_blocks(const struct sched *s, int32_t i, int64_t tokens)
{
    const struct request *r = sched_request(s, i);
    int64_t known = min_i64(r->prompt_len, r->n_prefix_hash * hash_tokens(s));

    return s->limits.prefix_cache ? min_i64(known, tokens) / s->limits.block_tokens : 0;
}

/* Key of block b from that of the one before it (0 for the first). */
static uint64_t next_key(const struct sched *s, int32_t i, int64_t b, uint64_t key)
{
    const struct request *r = sched_request(s, i);
    int64_t block = s->limits.block_tokens, hashed = hash_tokens(s);
    int64_t from = b == 0 ? 0 : (b * block - 1) / hashed + 1;

    for (int64_t h = from; h <= ((b + 1) * block - 1) / hashed; h++)
        key = random_mix(key ^ random_mix((uint64_t)r->prefix_hash[h]));
    key = random_mix(key + (uint64_t)b);
    return key != 0 ? key : 1;
}

int64_t sched_blocks_wanted(
        const struct sched *s, const struct sched_pool *pool, int32_t i, int64_t prefix)
{
    int64_t wanted = sched_blocks_for(s, prefix + 1);
    int64_t known = known_blocks(s, i, prefix - 1);
    uint64_t key = 0;

    if (wanted <= block_pool_free(&pool->blocks))
        return wanted; /* enough even when nothing is shared */
    for (int64_t b = 0; b < known; b++) {
        key = next_key(s, i, b, key);
        int32_t block = block_pool_find(&pool->blocks, key);

        if (block < 0)
            break;
        wanted -= block_pool_in_use(&pool->blocks, block);
    }
    return wanted;
}

static int32_t *table_of(const struct sched *s, const struct sched_seq *seq)
{
    return s->tables + seq->slot * s->table_blocks;
}

/* Takes over what the cache has of the prefix; the last token is left to compute. */
static void share_blocks(struct sched *s, struct sched_pool *pool, int32_t i)
{
    struct sched_seq *seq = &s->seqs[i];
    int64_t known = known_blocks(s, i, seq->prefix - 1);

    seq->published = 0;
    seq->chain = 0;
    while (seq->published < known) {
        uint64_t key = next_key(s, i, seq->published, seq->chain);
        int32_t block = block_pool_find(&pool->blocks, key);

        if (block < 0)
            break;
        block_pool_share(&pool->blocks, block);
        table_of(s, seq)[seq->n_blocks++] = block;
        seq->published++;
        seq->chain = key;
    }
    seq->capacity = seq->computed = seq->n_blocks * s->limits.block_tokens;
    if (!seq->begun) {
        seq->reused = seq->computed;
        s->stats.reused_tokens += seq->computed;
    }
}

/* Puts i into the list of its pool's admitted sequences; new ones rank last as a rule. */
static void link_by_rank(struct sched *s, struct sched_pool *pool, int32_t i)
{
    int32_t older = pool->youngest, younger = -1;

    while (older >= 0 && sched_precedes(s, i, older)) {
        younger = older;
        older = s->seqs[older].older;
    }
    s->seqs[i].older = older;
    s->seqs[i].younger = younger;
    if (older < 0)
        pool->oldest = i;
    else
        s->seqs[older].younger = i;
    if (younger < 0)
        pool->youngest = i;
    else
        s->seqs[younger].older = i;
}

void sched_enter(struct sched *s, int p, int32_t i)
{
    struct sched_seq *seq = &s->seqs[i];
    struct sched_pool *pool = &s->pools[p];
    bool brought = s->limits.role == SCHED_DECODE && !seq->begun;

    seq->pool = p;
    seq->slot = s->free_slots[--s->n_free_slots];
    seq->computed = 0;
    seq->prefix = (int32_t)sched_request(s, i)->prompt_len + (brought ? 0 : seq->produced);
    pool->n_active++;
    link_by_rank(s, pool, i);
    if (brought)
        seq->computed = seq->prefix;
    else
        share_blocks(s, pool, i);
    sched_take_blocks(s, pool, seq, sched_blocks_for(s, seq->prefix));
    seq->begun = true;
}

void sched_take_blocks(struct sched *s, struct sched_pool *pool, struct sched_seq *seq, int64_t n)
{
    int32_t *table = table_of(s, seq);

    while (seq->n_blocks < n)
        table[seq->n_blocks++] = block_pool_take(&pool->blocks);
    seq->capacity = seq->n_blocks * s->limits.block_tokens;
}

void sched_publish(struct sched *s, int32_t i)
{
    struct sched_seq *seq = &s->seqs[i];
    int64_t known = known_blocks(s, i, seq->computed);

    for (; seq->published < known; seq->published++) {
        seq->chain = next_key(s, i, seq->published, seq->chain);
        block_pool_publish(
                &s->pools[seq->pool].blocks, table_of(s, seq)[seq->published], seq->chain);
    }
}

void sched_release(struct sched *s, int32_t i)
{
    struct sched_seq *seq = &s->seqs[i];
    struct sched_pool *pool = &s->pools[seq->pool];
    const int32_t *table = table_of(s, seq);

    while (seq->n_blocks > 0) /* from the end: what many may share is evicted last */
        block_pool_release(&pool->blocks, table[--seq->n_blocks]);
    seq->capacity = 0;
    if (seq->older < 0)
        pool->oldest = seq->younger;
    else
        s->seqs[seq->older].younger = seq->younger;
    if (seq->younger < 0)
        pool->youngest = seq->older;
    else
        s->seqs[seq->younger].older = seq->older;
    s->free_slots[s->n_free_slots++] = seq->slot;
    seq->slot = -1;
    pool->n_active--;
}
