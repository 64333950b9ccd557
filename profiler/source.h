/*
 * source - the measuring seam: "how long does this op take?" A table of functions, so that trial, the
 * tests and a replayed recording know nothing of how times come about.
 */
#ifndef PROFILER_SOURCE_H
#define PROFILER_SOURCE_H

#include "core/arena.h"
#include "core/ranks.h"
#include "core/spec/op.h"

enum {
    SOURCE_MOST = 1024
};

/* What one round of sampling gave. */
struct batch {
    double us[SOURCE_MOST]; /* good samples */
    int n;
    double hit_us[SOURCE_MOST]; /* samples during which the thread lost its CPU */
    int n_hit;
    bool disturbed; /* the clock was slow or the CPU was stolen: all of it is doubtful */
};

enum source_answer {
    SOURCE_OK,
    SOURCE_SKIP,
    SOURCE_FAIL
}; /* FAIL fills err */

struct source {
    void *self;
    /* Prepares and warms up. SKIP: this op cannot be measured here (memory, not recorded). */
    enum source_answer (*begin)(void *self, const struct op *op, struct err *err);
    /* About n samples. false = no more to be had. */
    bool (*sample)(void *self, int n, struct batch *out);
    void (*end)(void *self);
    void (*close)(void *self);
    bool cold; /* operands in memory, not in cache */
};

/* Which ranks of the job measure: rank first + m * devices + l is the l-th one of machine m. An op with busy b
 * is executed by the first b ranks of every machine; a group over several machines has equal parts on each. */
struct source_layout {
    int first, machines, devices;
    bool gpu;                          /* its devices are GPUs, one for each rank */
    struct algorithm_book *algorithms; /* of the GPU of this rank (kernels/dev.h), or NULL */
};

/* Measures on these machines. Collective over all ranks of the job, those of other machines too. Rank 0 gets
 * a source; the others call source_host_serve, which returns when rank 0 closes. */
struct host;
MUST_CHECK struct host *source_host_open(
        struct ranks *ranks, const struct source_layout *layout, struct err *err);
void source_host_close(struct host *host);
struct source source_host(struct host *host);
MUST_CHECK bool source_host_serve(struct host *host, struct err *err);
/* Bytes through which operands are rotated on each of `busy` ranks, to find them cold. */
int64_t source_cold_bytes(int busy);

/* Plays back a recording; record.h writes one. */
MUST_CHECK bool source_replay(
        struct source *out, const char *path, struct arena *arena, struct err *err);

#endif
