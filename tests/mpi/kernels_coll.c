/*
 * Groups of ranks exchange what they promise. Started alone, the program starts itself as n ranks, once
 * through shared memory and once by MPI alone. usage: kernels_coll N
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/ranks.h"
#include "kernels/coll.h"

// NOLINTBEGIN(bugprone-implicit-widening-of-multiplication-result,bugprone-suspicious-memory-comparison,bugprone-integer-division): sizes are small, bits are what is compared, values are whole

#define CHECK(what)                                                                           \
    do {                                                                                      \
        if (!(what)) {                                                                        \
            fprintf(stderr, "rank %d of %d, line %d: %s\n", coll_rank(coll), coll_size(coll), \
                    __LINE__, #what);                                                         \
            exit(1);                                                                          \
        }                                                                                     \
    } while (0)

static const int64_t counts[] = {0, 1, 7, 1000, 5000, 70000, 300001};
#define N_COUNTS 7

/* What rank r contributes at i: no two sums of these round alike in another order. */
static float value(int rank, int64_t i)
{
    return (float)((rank * 7919 + i * 104729) % 1000003) / 977.0f - 400.0f;
}

static float tree(int first, int n, int64_t i)
{
    return n == 1 ? value(first, i) : tree(first, n / 2, i) + tree(first + n / 2, n / 2, i);
}

static float *room(int64_t n)
{
    float *x = malloc(sizeof(float) * (size_t)(n + 1));
    if (!x)
        exit(3);
    return x;
}

static double in_order(int n, int64_t i)
{
    double sum = 0;
    for (int rank = 0; rank < n; rank++)
        sum += (double)value(rank, i);
    return sum;
}

static void all_reduce(struct coll *coll)
{
    int n = coll_size(coll), me = coll_rank(coll);
    bool power = (n & (n - 1)) == 0;
    float *x = room(300001);
    for (int c = 0; c < N_COUNTS; c++) {
        for (int64_t i = 0; i < counts[c]; i++)
            x[i] = value(me, i);
        coll_all_reduce(coll, x, counts[c]);
        for (int64_t i = 0; i < counts[c]; i++) {
            double sum = in_order(n, i);
            CHECK((double)x[i] - sum < 1e-3 && sum - (double)x[i] < 1e-3);
            float expected = power ? tree(0, n, i) : x[i];
            CHECK(memcmp(&x[i], &expected, sizeof(float)) == 0);
        }
    }
    free(x);
}

static void gather_and_scatter(struct coll *coll)
{
    int n = coll_size(coll), me = coll_rank(coll);
    for (int c = 0; c < N_COUNTS; c++) {
        int64_t count = counts[c];
        float *one = room(count), *all = room(count * n);
        for (int64_t i = 0; i < count; i++)
            one[i] = value(me, i);
        coll_all_gather(coll, one, all, count * 4);
        for (int64_t i = 0; i < count * n; i++) {
            float expected = value((int)(i / count), i % count);
            CHECK(memcmp(&all[i], &expected, sizeof(float)) == 0);
        }
        /* Rank r sends value(r, i) + destination: sums of whole numbers, exact in any order. */
        for (int64_t i = 0; i < count * n; i++)
            all[i] = (float)(me + i % count % 1000 + 10 * (i / count));
        coll_reduce_scatter(coll, all, one, count);
        for (int64_t i = 0; i < count; i++) {
            float expected = (float)(n * (n - 1) / 2 + n * (i % 1000) + 10 * n * me);
            CHECK(memcmp(&one[i], &expected, sizeof(float)) == 0);
        }
        free(one);
        free(all);
    }
}

static void broadcast(struct coll *coll)
{
    float *x = room(300001);
    for (int root = 0; root < coll_size(coll); root++) {
        for (int c = 0; c < N_COUNTS; c++) {
            for (int64_t i = 0; i < counts[c]; i++)
                x[i] = coll_rank(coll) == root ? value(root + c, i) : 0;
            coll_broadcast(coll, x, counts[c] * 4, root);
            for (int64_t i = 0; i < counts[c]; i++) {
                float expected = value(root + c, i);
                CHECK(memcmp(&x[i], &expected, sizeof(float)) == 0);
            }
        }
    }
    free(x);
}

/* Bytes from one rank to another in a round: none, few, and more than any buffer. */
static int64_t pair_bytes(int from, int to, int round)
{
    int64_t n = (from * 5 + to * 3 + round) % 4;
    return n == 0 ? 0 : n == 1 ? 13 : n == 2 ? 4096 : 1000001;
}

static void all_to_all(struct coll *coll)
{
    int n = coll_size(coll), me = coll_rank(coll);
    unsigned char *out = malloc((size_t)n * 1000001 + 1), *in = malloc((size_t)n * 1000001 + 1);
    for (int round = 0; out && in && round < 8; round++) {
        int64_t sends[64], recvs[64], sent = 0, received = 0;
        for (int rank = 0; rank < n; rank++) {
            sends[rank] = pair_bytes(me, rank, round);
            recvs[rank] = pair_bytes(rank, me, round);
            for (int64_t i = 0; i < sends[rank]; i++)
                out[sent++] = (unsigned char)(i + me * 31 + rank * 17 + round);
        }
        coll_all_to_all(coll, out, sends, in, recvs);
        for (int rank = 0; rank < n; rank++)
            for (int64_t i = 0; i < recvs[rank]; i++)
                CHECK(in[received++] == (unsigned char)(i + rank * 31 + me * 17 + round));
    }
    free(out);
    free(in);
}

/* Round the ring, sent by all before anybody receives; the second message is probed for by its tag. */
static void point_to_point(struct coll *coll)
{
    int n = coll_size(coll), me = coll_rank(coll), to = (me + 1) % n, from = (me + n - 1) % n;
    struct coll_request large = {0}, small = {0}, empty = {0};
    float *out = room(600000), *in = room(600000), word = (float)me, got = -1;
    for (int64_t i = 0; i < 600000; i++)
        out[i] = value(me, i);
    CHECK(coll_test(coll, &empty));
    coll_isend(coll, out, 600000 * 4, to, 1, &large);
    coll_isend(coll, &word, 4, to, 2, &small);
    while (!coll_probe(coll, from, 2)) {
    }
    coll_recv(coll, &got, 4, from, 2);
    coll_recv(coll, in, 600000 * 4, from, 1);
    CHECK((int)got == from);
    for (int64_t i = 0; i < 600000; i++) {
        float expected = value(from, i);
        CHECK(memcmp(&in[i], &expected, sizeof(float)) == 0);
    }
    while (!coll_test(coll, &small)) {
    }
    coll_wait(coll, &large);
    coll_wait(coll, &large);
    CHECK(!coll_probe(coll, from, 1));
    coll_barrier(coll);
    free(out);
    free(in);
}

static void whole(const int *members, int n, int key)
{
    struct err err = {0};
    struct coll *coll =
            coll_open(members, n, &(struct coll_options){.key = key, .deterministic = true}, &err);
    if (!coll) {
        fprintf(stderr, "%s\n", err.text);
        exit(err.kind);
    }
    CHECK(coll_size(coll) == n);
    for (int round = 0; round < 2; round++) {
        all_reduce(coll);
        gather_and_scatter(coll);
        broadcast(coll);
        all_to_all(coll);
        point_to_point(coll);
        coll_barrier(coll);
    }
    coll_close(coll);
}

static int inside(int argc, char **argv)
{
    struct err err = {0};
    struct ranks *ranks = ranks_open(&argc, &argv, &err);
    if (!ranks) {
        fprintf(stderr, "%s\n", err.text);
        return err.kind;
    }
    int n = ranks_count(ranks), me = ranks_rank(ranks), all[64], backwards[2] = {n - 1, 0};
    for (int i = 0; i < n; i++)
        all[i] = i;
    whole(all, n, 1);
    if (me == 0 || me == n - 1)
        whole(backwards, 2, 2);
    whole(&all[me], 1, 3);
    ranks_close(ranks);
    return 0;
}

int main(int argc, char **argv)
{
    if (ranks_launched())
        return inside(argc, argv);
    int n = argc > 1 ? (int)strtol(argv[1], NULL, 10) : 2, failures = 0;
    for (int way = 0; way < 2; way++) {
        char *command[] = {argv[0], NULL};
        struct err err = {0};
        int status = -1;
        setenv("SHARDWRIGHT_COLL", way ? "mpi" : "auto", 1);
        if (!ranks_launch(n, command, &status, &err) || status != 0) {
            fprintf(stderr, "%d ranks, %s: status %d; %s\n", n, getenv("SHARDWRIGHT_COLL"), status,
                    err.text);
            failures++;
        }
    }
    return failures > 0;
}
// NOLINTEND(bugprone-implicit-widening-of-multiplication-result,bugprone-suspicious-memory-comparison,bugprone-integer-division)
