/*
 * What ranks promise, on several of them. Started alone, the program starts itself as n ranks once for
 * each case and looks at the exit status: usage: core_ranks N
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/ranks.h"

#define CHECK(what)                                                                        \
    do {                                                                                   \
        if (!(what)) {                                                                     \
            fprintf(stderr, "rank %d, line %d: %s\n", ranks_rank(ranks), __LINE__, #what); \
            ranks_abort(ranks, 1);                                                         \
        }                                                                                  \
    } while (0)

static int ring(struct ranks *ranks)
{
    int me = ranks_rank(ranks), n = ranks_count(ranks);
    /* a ring of messages too large to be buffered, and empty ones behind */
    int64_t bytes = 3 << 20;
    char *out = malloc((size_t)bytes), *in = malloc((size_t)bytes);
    memset(out, 'a' + me, (size_t)bytes);
    int to = (me + 1) % n, from = (me + n - 1) % n;
    if (me == 0) {
        ranks_send(ranks, out, bytes, to, 5);
        ranks_recv(ranks, in, bytes, from, 5);
    } else {
        ranks_recv(ranks, in, bytes, from, 5);
        ranks_send(ranks, out, bytes, to, 5);
    }
    CHECK(in[0] == 'a' + from && in[bytes - 1] == 'a' + from);
    if (me == 0)
        ranks_send(ranks, NULL, 0, 1, 0);
    if (me == 1)
        ranks_recv(ranks, NULL, 0, 0, 0);
    ranks_barrier(ranks);
    free(out);
    free(in);
    return 0;
}

static int exchange(struct ranks *ranks)
{
    int me = ranks_rank(ranks), n = ranks_count(ranks);
    int value = me == n - 1 ? 99 : 0;
    ranks_broadcast(ranks, &value, sizeof value, n - 1);
    CHECK(value == 99);
    int64_t mine[2] = {me, (int64_t)me * me}, all[64][2] = {{0}};
    ranks_gather(ranks, mine, sizeof mine, me == 0 ? all : NULL, 0);
    for (int i = 0; me == 0 && i < n; i++)
        CHECK(all[i][0] == i && all[i][1] == (int64_t)i * i);
    CHECK(ranks_max(ranks, me == 1 ? 7.5 : -me) == 7.5);
    return ring(ranks);
}

static int agree(struct ranks *ranks)
{
    int me = ranks_rank(ranks), n = ranks_count(ranks);
    struct err err = {0};
    CHECK(ranks_agree(ranks, true, &err));
    CHECK(err.kind == ERR_NONE);
    if (me == n - 1)
        err_set(&err, ERR_NO, "the last one");
    else if (me == 1)
        err_set(&err, ERR_ENV, "it has no disk");
    bool ok = ranks_agree(ranks, err.kind == ERR_NONE, &err);
    CHECK(!ok);
    char expected[160];
    snprintf(expected, sizeof expected, "rank 1 on %s: %s", ranks_host_name(ranks, 1),
            n > 2 ? "it has no disk" : "the last one");
    CHECK(strcmp(err.text, expected) == 0);
    return me == 0 ? (int)err.kind : 0;
}

static int abort_all(struct ranks *ranks)
{
    if (ranks_rank(ranks) == 1)
        ranks_abort(ranks, 75);
    ranks_barrier(ranks); /* never returns */
    return 0;
}

static const struct {
    const char *name;
    int (*run)(struct ranks *ranks);
    int status, status_of_two;
} cases[] = {{"exchange", exchange, 0, 0}, {"agree", agree, ERR_ENV, ERR_NO},
        {"abort", abort_all, 75, 75}};

static int inside(int argc, char **argv)
{
    struct err err = {0};
    struct ranks *ranks = ranks_open(&argc, &argv, &err);
    if (ranks == NULL) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    int status = 1;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (strcmp(cases[i].name, argv[argc - 1]) == 0)
            status = cases[i].run(ranks);
    }
    ranks_close(ranks);
    return status;
}

int main(int argc, char **argv)
{
    if (ranks_launched())
        return inside(argc, argv);
    if (strcmp(ranks_mpi_version(), "none") == 0) {
        fprintf(stderr, "skipped: this build has no MPI\n");
        return 77;
    }
    int n = argc > 1 ? (int)strtol(argv[1], NULL, 10) : 2, failures = 0;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *name = strdup(cases[i].name), *command[] = {argv[0], name, NULL};
        struct err err = {0};
        int status = -1, expected = n > 2 ? cases[i].status : cases[i].status_of_two;
        if (!ranks_launch(n, command, &status, &err) || status != expected) {
            fprintf(stderr, "%s with %d ranks: status %d, expected %d; %s\n", name, n, status,
                    expected, err.text);
            failures++;
        }
        free(name);
    }
    return failures > 0;
}
