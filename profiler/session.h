/*
 * session - a source as a job of ranks uses it: rank 0 asks, the others follow. A replayed recording needs
 * rank 0 only.
 */
#ifndef PROFILER_SESSION_H
#define PROFILER_SESSION_H

#include "profiler/profiler.h"
#include "profiler/source.h"

struct session {
    struct ranks *ranks;
    struct host *host;    /* NULL when replaying */
    struct source source; /* on rank 0 */
    bool open;
};

/* Collective, as are all of these. */
MUST_CHECK bool session_open(struct session *session, const struct profile_request *request,
        struct ranks *ranks, struct arena *arena, struct err *err);
const struct source *session_source(const struct session *session); /* rank 0 */
/* On the other ranks: returns when rank 0 closes. */
MUST_CHECK bool session_follow(struct session *session, struct err *err);
void session_close(struct session *session);
/* Memory that measuring an op takes on one rank. */
int64_t session_case_bytes(const struct op *op);

#endif
