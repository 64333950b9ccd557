#include "profiler/session.h"

#include <unistd.h>

#include "kernels/op_table.h"

static const int64_t most_cold = INT64_C(256) << 20;

bool session_open(struct session *session, const struct profile_request *request,
        struct ranks *ranks, struct arena *arena, struct err *err)
{
    bool leads = ranks_rank(ranks) == 0, ok = true;

    *session = (struct session){.ranks = ranks};
    if (request->replay) {
        ok = !leads || source_replay(&session->source, request->replay, arena, err);
        ok = ranks_agree(ranks, ok, err);
    } else {
        session->host = source_host_open(ranks, &request->target->layout, err);
        ok = session->host != NULL;
        if (ok)
            session->source = source_host(session->host);
    }
    session->open = ok;
    return ok;
}

const struct source *session_source(const struct session *session)
{
    return &session->source;
}

bool session_follow(struct session *session, struct err *err)
{
    return !session->host || source_host_serve(session->host, err);
}

void session_close(struct session *session)
{
    if (session->open && ranks_rank(session->ranks) == 0)
        session->source.close(session->source.self);
    source_host_close(session->host);
    *session = (struct session){0};
}

int64_t session_case_bytes(const struct op *op)
{
    return op_is_collective(op->kind) ? 0 : op_case_bytes(op, source_cold_bytes(op->busy));
}

static int64_t cache_bytes(void)
{
#ifdef _SC_LEVEL3_CACHE_SIZE
    long bytes = sysconf(_SC_LEVEL3_CACHE_SIZE);
    if (bytes <= 0)
        bytes = sysconf(_SC_LEVEL2_CACHE_SIZE);
    if (bytes > 0)
        return bytes;
#endif
    return INT64_C(32) << 20;
}

int64_t source_cold_bytes(int busy)
{
    int64_t bytes = 2 * cache_bytes() / (busy > 0 ? busy : 1);
    return bytes < most_cold ? bytes : most_cold;
}
