/*
 * coll_case - a collective with its buffers, on the first `busy` ranks of the job in groups of the op's
 * degree. What op_case is for compute ops.
 */
#ifndef PROFILER_COLL_CASE_H
#define PROFILER_COLL_CASE_H

#include "core/spec/op.h"
#include "kernels/coll.h"

struct coll_case {
    struct op op;
    struct coll *group; /* borrowed */
    char *in, *out;
    int64_t *counts; /* all_to_all */
};

/* Ranks of one group: the degree, or 2 for send_recv, whatever its degree says. */
int coll_case_degree(const struct op *op);
/* Bytes of both buffers. */
int64_t coll_case_bytes(const struct op *op);
MUST_CHECK bool coll_case_open(
        struct coll_case *c, const struct op *op, struct coll *group, struct err *err);
void coll_case_close(struct coll_case *c);
/* Writes what will be sent, so that it lies in this core's cache as after a compute op. */
void coll_case_touch(struct coll_case *c);
void coll_case_run(struct coll_case *c);

#endif
