#include "profiler/coll_case.h"

#include <stdlib.h>
#include <string.h>

int coll_case_degree(const struct op *op)
{
    return op->kind == OP_SEND_RECV ? 2 : op->degree;
}

static int64_t in_bytes(const struct op *op)
{
    return op->kind == OP_REDUCE_SCATTER ? op->dim[0] * op->degree : op->dim[0];
}

static int64_t out_bytes(const struct op *op)
{
    return op->kind == OP_ALL_GATHER ? op->dim[0] * op->degree : op->dim[0];
}

static size_t room(int64_t bytes)
{
    return ((size_t)bytes + 127) / 64 * 64;
}

int64_t coll_case_bytes(const struct op *op)
{
    return (int64_t)(room(in_bytes(op)) + room(out_bytes(op)));
}

bool coll_case_open(struct coll_case *c, const struct op *op, struct coll *group, struct err *err)
{
    char text[160];
    int n = coll_size(group);

    *c = (struct coll_case){.op = *op, .group = group};
    c->in = aligned_alloc(64, room(in_bytes(op)));
    c->out = aligned_alloc(64, room(out_bytes(op)));
    c->counts = calloc((size_t)n, sizeof *c->counts);
    if (!c->in || !c->out || !c->counts) {
        coll_case_close(c);
        return err_set(err, ERR_ENV, "no memory for the buffers of %s", op_show(text, op));
    }
    memset(c->in, 0, room(in_bytes(op)));
    memset(c->out, 0, room(out_bytes(op)));
    /* Equal parts: a remainder of a few bytes is not sent. */
    for (int i = 0; i < n; i++)
        c->counts[i] = op->dim[0] / n;
    return true;
}

void coll_case_close(struct coll_case *c)
{
    free(c->in);
    free(c->out);
    free(c->counts);
    *c = (struct coll_case){0};
}

void coll_case_touch(struct coll_case *c)
{
    float *values = (float *)(void *)c->in;
    int64_t n = in_bytes(&c->op) / 4;
    for (int64_t i = 0; i < n; i++)
        values[i] = (float)(i & 255) * 0.5f;
}

void coll_case_run(struct coll_case *c)
{
    const int64_t bytes = c->op.dim[0];

    switch (c->op.kind) {
    case OP_ALL_REDUCE:
        coll_all_reduce(c->group, (float *)(void *)c->in, bytes / 4);
        break;
    case OP_ALL_GATHER:
        coll_all_gather(c->group, c->in, c->out, bytes);
        break;
    case OP_REDUCE_SCATTER:
        coll_reduce_scatter(c->group, (float *)(void *)c->in, (float *)(void *)c->out, bytes / 4);
        break;
    case OP_ALL_TO_ALL:
        coll_all_to_all(c->group, c->in, c->counts, c->out, c->counts);
        break;
    case OP_SEND_RECV:
        if (coll_rank(c->group) == 0) {
            struct coll_request request = {0};
            coll_isend(c->group, c->in, bytes, 1, 0, &request);
            coll_wait(c->group, &request);
        } else {
            coll_recv(c->group, c->out, bytes, 0, 0);
        }
        break;
    case OP_BROADCAST:
        coll_broadcast(c->group, c->in, bytes, 0);
        break;
    case OP_GEMM:
    case OP_LM_HEAD:
    case OP_ATTENTION_PREFILL:
    case OP_ATTENTION_DECODE:
    case OP_RMSNORM:
    case OP_ROPE:
    case OP_ACTIVATION:
    case OP_ROUTER:
    case OP_PERMUTE:
    case OP_EXPERT_GEMM:
    case OP_COMBINE:
    case OP_EMBEDDING:
    case OP_SAMPLE:
    case OP_COPY:
    case OP_MLA_PREFILL:
    case OP_MLA_DECODE:
    case OP_MLA_ROPE:
    case OP_MOE:
    case OP_MLA_MODULE_PREFILL:
    case OP_MLA_MODULE_DECODE:
    case OP_KIND_COUNT:
        break;
    }
}
