#include "runtime/pipe.h"

#include <sched.h>
#include <string.h>

#include "core/clock.h"

enum tag {
    TAG_HEAD = 1,
    TAG_BODY,
    TAG_ROWS,
    TAG_RESULT
};

static void finish(const struct pipe *pipe, struct pipe_out *out)
{
    for (int i = 0; i < out->n_requests; i++)
        coll_wait(pipe->place->replica_coll, &out->requests[i]);
    out->n_requests = 0;
}

static void post(const struct pipe *pipe, struct pipe_out *out, const void *data, int64_t bytes,
        int to, enum tag tag)
{
    coll_isend(pipe->place->replica_coll, data, bytes, to, tag, &out->requests[out->n_requests++]);
}

bool pipe_open(struct pipe *pipe, const struct place *place, struct arena *arena, struct err *err)
{
    int n_ranks = coll_size(place->replica_coll);

    *pipe = (struct pipe){.place = place};
    for (int turn = 0; turn < 2; turn++) {
        pipe->rows[turn].requests = ARENA_NEW(arena, struct coll_request, n_ranks);
        pipe->result[turn].requests = ARENA_NEW(arena, struct coll_request, 1);
        pipe->tokens[turn] = ARENA_NEW(arena, int32_t, place->replica_plan->max_seqs + 1);
    }
    if (!place->leader)
        return true;
    pipe->n_batches = place->replica_plan->in_flight + (place->job_coll != NULL);
    pipe->batches = ARENA_NEW(arena, struct batch, pipe->n_batches);
    pipe->batch_out = ARENA_NEW(arena, struct pipe_out, pipe->n_batches);
    for (int i = 0; i < pipe->n_batches; i++) {
        if (!batch_alloc(&pipe->batches[i], place, err))
            return false;
        pipe->batch_out[i].requests = ARENA_NEW(arena, struct coll_request, 2 * (int64_t)n_ranks);
    }
    return true;
}

void pipe_close(struct pipe *pipe)
{
    for (int turn = 0; turn < 2; turn++) {
        finish(pipe, &pipe->rows[turn]);
        finish(pipe, &pipe->result[turn]);
    }
    for (int i = 0; pipe->batches && i < pipe->n_batches; i++) {
        finish(pipe, &pipe->batch_out[i]);
        batch_free(&pipe->batches[i]);
    }
}

struct batch *pipe_batch(struct pipe *pipe, int slot)
{
    finish(pipe, &pipe->batch_out[slot]);
    return &pipe->batches[slot];
}

void pipe_send_batch(struct pipe *pipe, int slot)
{
    struct batch *batch = &pipe->batches[slot];
    struct pipe_out *out = &pipe->batch_out[slot];

    for (int to = 1; to < coll_size(pipe->place->replica_coll); to++) {
        post(pipe, out, batch->head, sizeof *batch->head, to, TAG_HEAD);
        if (batch->head->body_bytes > 0)
            post(pipe, out, batch->head + 1, batch->head->body_bytes, to, TAG_BODY);
    }
}

void pipe_recv_batch(struct pipe *pipe, struct batch *batch)
{
    struct coll *coll = pipe->place->replica_coll;

    /* MPI may wait without yielding; whoever has work to do may need this CPU. */
    while (!coll_probe(coll, 0, TAG_HEAD))
        sched_yield();
    coll_recv(coll, batch->head, sizeof *batch->head, 0, TAG_HEAD);
    if (batch->head->body_bytes > 0)
        coll_recv(coll, batch->head + 1, batch->head->body_bytes, 0, TAG_BODY);
    batch_locate(batch);
}

/* The pools that group `theirs` of another stage shares with this rank's group, and their rows here. */
struct overlap {
    int64_t row, rows;
};

static struct overlap find_overlap(
        const struct place *place, const struct engine *engine, int theirs, int their_pools)
{
    int first = theirs * their_pools, end = first + their_pools;
    int from = first > place->first_pool ? first - place->first_pool : 0;
    int to = end - place->first_pool < place->group_pools ? end - place->first_pool
                                                          : place->group_pools;
    int64_t row = engine->pool_row[from];

    return (struct overlap){row, engine->pool_row[to] - row};
}

/* Groups of `stage` that share pools with this rank's group. */
static struct slice groups_facing(const struct place *place, const struct plan_stage *stage)
{
    int pools = plan_stage_pools(place->replica_plan, stage);
    int end = place->first_pool + place->group_pools;

    return (struct slice){place->first_pool / pools, (end + pools - 1) / pools};
}

/*
 * A tensor group holds whole rows on each of its ranks. Rank t of a group behind gets the rows of the pools
 * that both serve from rank t modulo the size of the group before, whatever the sizes are.
 */
void pipe_send_rows(struct pipe *pipe, struct engine *engine)
{
    const struct place *place = pipe->place;
    const struct plan_stage *next = &place->replica_plan->stages[place->stage + 1];
    struct pipe_out *out = &pipe->rows[pipe->rows_turn];
    struct slice groups = groups_facing(place, next);
    int64_t hidden = engine->model->hidden;
    float *rows =
            (float *)engine->work[WORK_SEND] + (int64_t)pipe->rows_turn * place->max_rows * hidden;

    if (place->tp_rank >= next->tp || engine->step.rows == 0)
        return;
    finish(pipe, out);
    engine_output(engine, rows);
    for (int g = (int)groups.begin; g < groups.end; g++) {
        struct overlap part =
                find_overlap(place, engine, g, plan_stage_pools(place->replica_plan, next));

        for (int t = place->tp_rank; part.rows > 0 && t < next->tp; t += place->split.tp)
            post(pipe, out, rows + part.row * hidden,
                    graph_boundary_bytes(engine->model, &place->split, part.rows),
                    place_in_replica(place, place->stage + 1, g * next->tp + t), TAG_ROWS);
    }
    pipe->rows_turn ^= 1;
}

int64_t pipe_recv_rows(struct pipe *pipe, struct engine *engine)
{
    const struct place *place = pipe->place;
    const struct plan_stage *before = &place->replica_plan->stages[place->stage - 1];
    struct slice groups = groups_facing(place, before);
    struct op op = engine_op(engine, OP_SEND_RECV, DTYPE_F32);
    int64_t began = -1;

    op.degree = 2;
    for (int g = (int)groups.begin; g < groups.end; g++) {
        struct overlap part =
                find_overlap(place, engine, g, plan_stage_pools(place->replica_plan, before));
        int from = place_in_replica(
                place, place->stage - 1, g * before->tp + place->tp_rank % before->tp);

        if (part.rows == 0)
            continue;
        while (!coll_probe(place->replica_coll, from, TAG_ROWS))
            sched_yield();
        if (began < 0) {
            meter_mark(engine->meter);
            began = engine->meter->mark_ns;
        }
        op.nodes = place_apart(place->plan, place->rank,
                before->ranks[g * before->tp + place->tp_rank % before->tp]);
        op.dim[0] = graph_boundary_bytes(engine->model, &place->split, part.rows);
        coll_recv(
                place->replica_coll, engine_arrivals(engine, part.row), op.dim[0], from, TAG_ROWS);
        engine_arrived(engine, part.row, part.rows);
        meter_op(engine->meter, &op);
    }
    return began < 0 ? clock_now_ns() : began;
}

void pipe_send_result(struct pipe *pipe, const int32_t *tokens, int n)
{
    struct pipe_out *out = &pipe->result[pipe->result_turn];
    int32_t *copy = pipe->tokens[pipe->result_turn];

    finish(pipe, out);
    copy[0] = n; /* there is always a message: the leader waits for one per batch and group */
    memcpy(copy + 1, tokens, sizeof *copy * (size_t)n);
    post(pipe, out, copy, (n + 1) * (int64_t)sizeof *copy, 0, TAG_RESULT);
    pipe->result_turn ^= 1;
}

static int result_from(const struct pipe *pipe, int group)
{
    int last = pipe->place->replica_plan->n_stages - 1;

    return place_in_replica(pipe->place, last, group * pipe->place->replica_plan->stages[last].tp);
}

bool pipe_result_there(const struct pipe *pipe, int group)
{
    return coll_probe(pipe->place->replica_coll, result_from(pipe, group), TAG_RESULT);
}

void pipe_recv_result(struct pipe *pipe, int group, int32_t *tokens, int n)
{
    int32_t *copy = pipe->tokens[0]; /* the leader of several stages sends no results itself */

    coll_recv(pipe->place->replica_coll, copy, (n + 1) * (int64_t)sizeof *copy,
            result_from(pipe, group), TAG_RESULT);
    memcpy(tokens, copy + 1, sizeof *copy * (size_t)n);
}
