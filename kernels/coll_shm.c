#include "kernels/coll_shm.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* Half of a second-level cache, so that a rank finds in its cache what it wrote and what it adds to. */
#define SLOT_BYTES (INT64_C(256) << 10)
/* Looks before the CPU is offered to others: about the time of one op. */
#define SPINS 4000
/* Sums go through arrays of this many floats on the stack. */
#define PIECE      512
#define COPY_BYTES (INT64_C(2) << 10)
/* Above this, each rank adds its share for all when there are more than two. */
#define SHARE_BYTES (INT64_C(16) << 10)

struct segment {
    _Alignas(64) _Atomic uint64_t arrived;
    _Alignas(64) int64_t rounds[2]; /* of all_to_all, per slot */
    _Alignas(4096) char slot[2][SLOT_BYTES];
};

struct shm {
    int size, rank, spins;
    uint64_t epoch;   /* synchronisations so far, the same on every rank */
    int slot;         /* in use */
    uint64_t used[2]; /* epoch at which the slot was last read */
    struct segment **segments;
};

int64_t shm_segment_bytes(void)
{
    return (int64_t)sizeof(struct segment);
}

struct shm *shm_create(void *const *segments, int size, int rank, bool crowded, struct err *err)
{
    struct shm *shm = calloc(1, sizeof(*shm));
    // NOLINTNEXTLINE(bugprone-sizeof-expression): an array of pointers it is
    struct segment **copy = calloc((size_t)size, sizeof(*copy));
    if (!shm || !copy) {
        free(shm);
        free(copy);
        err_set(err, ERR_ENV, "no memory for a group of %d ranks", size);
        return NULL;
    }
    for (int i = 0; i < size; i++)
        copy[i] = segments[i];
    *shm = (struct shm){.size = size, .rank = rank, .spins = crowded ? 0 : SPINS, .segments = copy};
    return shm;
}

void shm_destroy(struct shm *shm)
{
    if (shm)
        free(shm->segments);
    free(shm);
}

static void wait_for(const struct shm *shm, int rank, uint64_t epoch)
{
    for (int i = 0;
            atomic_load_explicit(&shm->segments[rank]->arrived, memory_order_acquire) < epoch;
            i++) {
        if (i >= shm->spins) {
            sched_yield();
            continue;
        }
#if defined(__x86_64__)
        __builtin_ia32_pause();
#endif
    }
}

static void wait_for_all(const struct shm *shm, uint64_t epoch)
{
    for (int rank = 0; rank < shm->size; rank++)
        wait_for(shm, rank, epoch);
}

static void publish(struct shm *shm)
{
    shm->epoch++;
    shm->used[shm->slot] = shm->epoch;
    atomic_store_explicit(&shm->segments[shm->rank]->arrived, shm->epoch, memory_order_release);
}

/* The other slot, once everybody has come past the operation that read it last. */
static void *begin(struct shm *shm)
{
    shm->slot = 1 - shm->slot;
    if (shm->used[shm->slot] > 0)
        wait_for_all(shm, shm->used[shm->slot] + 1);
    return shm->segments[shm->rank]->slot[shm->slot];
}

/* Pieces of 2 KiB: from 4 KiB on glibc copies with `rep movsb`, which takes ten times longer on AMD where the two
 * addresses differ little in their last twelve bits. Nothing to send may come as no array at all. */
static void copy(void *out, const void *in, int64_t bytes)
{
    for (int64_t at = 0; at < bytes; at += COPY_BYTES)
        memcpy((char *)out + at, (const char *)in + at,
                (size_t)(bytes - at < COPY_BYTES ? bytes - at : COPY_BYTES));
}

static const void *slot_of(const struct shm *shm, int rank)
{
    return shm->segments[rank]->slot[shm->slot];
}

void shm_barrier(struct shm *shm)
{
    begin(shm);
    publish(shm);
    wait_for_all(shm, shm->epoch);
}

static void add(float *restrict out, const float *restrict x, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        out[i] += x[i];
}

/* out = sum over ranks of floats [at, at + n) of their slots. */
static void sum_piece(const struct shm *shm, float *out, int64_t at, int64_t n)
{
    float part[SHM_MAX_RANKS / 2][PIECE];
    bool tree = (shm->size & (shm->size - 1)) == 0;
    int parts = tree ? shm->size / 2 : 1, each = tree ? 2 : shm->size;
    for (int i = 0; i < parts; i++) {
        memcpy(part[i], (const float *)slot_of(shm, i * each) + at, sizeof(float) * (size_t)n);
        for (int rank = i * each + 1; rank < (i + 1) * each; rank++)
            add(part[i], (const float *)slot_of(shm, rank) + at, n);
    }
    for (int span = 1; span < parts; span *= 2)
        for (int i = 0; i + span < parts; i += 2 * span)
            add(part[i], part[i + span], n);
    memcpy(out, part[0], sizeof(float) * (size_t)n);
}

static void sum(const struct shm *shm, float *out, int64_t at, int64_t n)
{
    for (int64_t i = 0; i < n; i += PIECE)
        sum_piece(shm, out + i, at + i, n - i < PIECE ? n - i : PIECE);
}

/* Each rank adds one share and puts it where nobody else reads before the second synchronisation. */
static void reduce_by_shares(struct shm *shm, float *data, int64_t n)
{
    int64_t from = n * shm->rank / shm->size, to = n * (shm->rank + 1) / shm->size;
    float *mine = (float *)(void *)shm->segments[shm->rank]->slot[shm->slot];
    sum(shm, mine + from, from, to - from);
    publish(shm);
    wait_for_all(shm, shm->epoch);
    for (int rank = 0; rank < shm->size; rank++) {
        from = n * rank / shm->size;
        to = n * (rank + 1) / shm->size;
        copy(data + from, (const float *)slot_of(shm, rank) + from, 4 * (to - from));
    }
}

void shm_all_reduce(struct shm *shm, float *data, int64_t count)
{
    const int64_t most = SLOT_BYTES / 4;
    for (int64_t at = 0; at < count; at += most) {
        int64_t n = count - at < most ? count - at : most;
        copy(begin(shm), data + at, 4 * n);
        publish(shm);
        wait_for_all(shm, shm->epoch);
        /* Of two the sum is the same either way round: no need to read what was just written. */
        if (shm->size == 2)
            add(data + at, slot_of(shm, 1 - shm->rank), n);
        else if (n * 4 > SHARE_BYTES)
            reduce_by_shares(shm, data + at, n);
        else
            sum(shm, data + at, 0, n);
    }
}

void shm_all_gather(struct shm *shm, const void *in, void *out, int64_t bytes)
{
    for (int64_t at = 0; at < bytes; at += SLOT_BYTES) {
        int64_t n = bytes - at < SLOT_BYTES ? bytes - at : SLOT_BYTES;
        copy(begin(shm), (const char *)in + at, n);
        publish(shm);
        for (int rank = 0; rank < shm->size; rank++) {
            wait_for(shm, rank, shm->epoch);
            copy((char *)out + rank * bytes + at, slot_of(shm, rank), n);
        }
    }
}

void shm_reduce_scatter(struct shm *shm, const float *in, float *out, int64_t count)
{
    const int64_t most = SLOT_BYTES / 4 / shm->size;
    for (int64_t at = 0; at < count; at += most) {
        int64_t n = count - at < most ? count - at : most;
        float *slot = begin(shm);
        for (int rank = 0; rank < shm->size; rank++)
            copy(slot + rank * n, in + rank * count + at, 4 * n);
        publish(shm);
        wait_for_all(shm, shm->epoch);
        sum(shm, out + at, shm->rank * n, n);
    }
}

void shm_broadcast(struct shm *shm, void *data, int64_t bytes, int root)
{
    for (int64_t at = 0; at < bytes; at += SLOT_BYTES) {
        int64_t n = bytes - at < SLOT_BYTES ? bytes - at : SLOT_BYTES;
        void *slot = begin(shm);
        if (shm->rank == root) {
            copy(slot, (char *)data + at, n);
        } else {
            wait_for(shm, root, shm->epoch + 1);
            copy((char *)data + at, slot_of(shm, root), n);
        }
        publish(shm);
    }
}

/* The part of bytes that goes in a round, for regions of `region` bytes. */
static int64_t in_round(int64_t bytes, int64_t region, int64_t round)
{
    int64_t left = bytes - round * region;
    return left < 0 ? 0 : left < region ? left : region;
}

static int64_t at_most(int64_t bytes, int64_t most)
{
    return bytes > most ? 0 : bytes;
}

/* One region of the slot per destination; as many rounds as the longest message of any pair takes, which
 * all learn in the first one. */
void shm_all_to_all(struct shm *shm, const void *in, const int64_t *send_bytes, void *out,
        const int64_t *recv_bytes, int64_t most)
{
    int64_t region = SLOT_BYTES / shm->size / 64 * 64, rounds = 1;
    for (int rank = 0; rank < shm->size; rank++)
        if (rank != shm->rank && (at_most(send_bytes[rank], most) + region - 1) / region > rounds)
            rounds = (at_most(send_bytes[rank], most) + region - 1) / region;
    for (int64_t round = 0; round < rounds; round++) {
        char *slot = begin(shm);
        const char *from = in;
        for (int rank = 0; rank < shm->size; from += send_bytes[rank++])
            if (rank != shm->rank)
                copy(slot + rank * region, from + round * region,
                        in_round(at_most(send_bytes[rank], most), region, round));
        shm->segments[shm->rank]->rounds[shm->slot] = rounds;
        publish(shm);
        char *to = out;
        for (int rank = 0; rank < shm->size; to += recv_bytes[rank++]) {
            if (rank == shm->rank)
                continue;
            wait_for(shm, rank, shm->epoch);
            if (round == 0 && shm->segments[rank]->rounds[shm->slot] > rounds)
                rounds = shm->segments[rank]->rounds[shm->slot];
            copy(to + round * region, (const char *)slot_of(shm, rank) + shm->rank * region,
                    in_round(at_most(recv_bytes[rank], most), region, round));
        }
    }
    int64_t sent = 0, received = 0;
    for (int rank = 0; rank < shm->rank; rank++) {
        sent += send_bytes[rank];
        received += recv_bytes[rank];
    }
    copy((char *)out + received, (const char *)in + sent, send_bytes[shm->rank]);
}
