/*
 * source_group - which ranks of a job execute an op together, the groups they form, and how far their
 * machines' clocks are apart.
 */
#ifndef PROFILER_SOURCE_GROUP_H
#define PROFILER_SOURCE_GROUP_H

#include "core/ranks.h"
#include "core/spec/op.h"
#include "kernels/coll.h"
#include "profiler/source.h"

enum {
    SOURCE_GROUPS = 128
};

struct source_groups {
    struct ranks *ranks;
    struct source_layout layout;
    int *members; /* world ranks that take part in the op; groups of its degree stand together */
    int n_members;
    int place; /* this rank's among them; -1 = none */
    struct {
        int degree, local, nodes;
        struct coll *coll; /* NULL where this rank is not in one */
    } open[SOURCE_GROUPS];
    int n_open;
};

MUST_CHECK bool source_groups_init(struct source_groups *groups, struct ranks *ranks,
        const struct source_layout *layout, struct err *err);
void source_groups_fini(struct source_groups *groups);

/* Ranks of each machine that work at once: `busy`, in whole parts of groups, and at least one part. */
int source_local_ranks(const struct op *op);
/* Fills members and place. False: the layout has not the ranks for the op. */
bool source_list_members(struct source_groups *groups, const struct op *op);
/* All members as one group, and this rank's group of the op's degree; NULL where it is in none. Called by all
 * ranks in the same order; groups are kept, because opening is slow. */
MUST_CHECK bool source_together(
        struct coll **out, struct source_groups *groups, const struct op *op, struct err *err);
MUST_CHECK bool source_group(
        struct coll **out, struct source_groups *groups, const struct op *op, struct err *err);
/* Nanoseconds to take off this machine's clock for that of the first member's. Called by all members. */
int64_t source_clock_offset(const struct source_groups *groups, struct coll *together);

#endif
