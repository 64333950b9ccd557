/*
 * pipe - what travels between the ranks of a replica: batches from the leader, rows from stage to stage,
 * tokens from the last stage to the leader. All in order, so nothing carries a number to match.
 *
 * Sending never waits for the receiver to be ready: each kind has buffers that take turns, and only a
 * buffer whose last message is still on its way is waited for.
 */
#ifndef RUNTIME_PIPE_H
#define RUNTIME_PIPE_H

#include "runtime/batch.h"
#include "runtime/engine.h"

struct pipe_out {
    struct coll_request *requests;
    int n_requests;
};

struct pipe {
    const struct place *place;
    struct pipe_out rows[2], result[2];
    int rows_turn, result_turn;
    int32_t *tokens[2]; /* results on their way */
    /* leader: one batch per micro-batch in flight, and one for caches */
    struct batch *batches;
    struct pipe_out *batch_out;
    int n_batches;
};

MUST_CHECK bool pipe_open(
        struct pipe *pipe, const struct place *place, struct arena *arena, struct err *err);
/* Waits until all that was sent has been taken. */
void pipe_close(struct pipe *pipe);

/* Leader: a batch whose message is not on its way any more; fill it, then send it to all ranks. */
struct batch *pipe_batch(struct pipe *pipe, int slot);
void pipe_send_batch(struct pipe *pipe, int slot);
/* Other ranks. Blocks. */
void pipe_recv_batch(struct pipe *pipe, struct batch *batch);

/* To the stage behind, rows of the engine's step. */
void pipe_send_rows(struct pipe *pipe, struct engine *engine);
/* From the stage before, into WORK_X. Returns when they began to arrive, in clock_now_ns terms: the time
 * before is idle, the time after is transfer. */
int64_t pipe_recv_rows(struct pipe *pipe, struct engine *engine);

/* Last stage, first rank of each tensor group: n tokens. */
void pipe_send_result(struct pipe *pipe, const int32_t *tokens, int n);
/* Leader: is the result of group `group` there? Takes it: n is known from the batch. */
bool pipe_result_there(const struct pipe *pipe, int group);
void pipe_recv_result(struct pipe *pipe, int group, int32_t *tokens, int n);

#endif
