/*
 * Rows travel to their experts and back. The tp ranks of a group all have its rows, so each sends out its share
 * of them (graph_dispatch_rows), once to every rank of the expert's group: `parts` ranks hold a part of each
 * expert's columns. Home again, the parts of a row are added in a binary tree, which gives the bits of one
 * rank on deterministic devices, and combined in order of choice.
 */
#include <string.h>

#include "runtime/engine_moe.h"

static void meter_bytes(struct engine *engine, enum op_kind kind, int64_t nominal_bytes)
{
    struct op op = engine_op(engine, kind, DTYPE_F32);

    if (kind == OP_ALL_TO_ALL)
        op.degree = coll_size(engine->place->stage_coll);
    op.nodes = kind == OP_ALL_TO_ALL ? graph_nodes(&engine->place->split, op.degree) : 0;
    op.dim[0] = nominal_bytes;
    if (nominal_bytes > 0)
        meter_op(engine->meter, &op);
    else
        meter_mark(engine->meter); /* others had rows, this group has none */
}

static void exchange(struct engine *engine, int64_t nominal_bytes, const void *in,
        const int64_t *send, void *out, const int64_t *recv)
{
    coll_all_to_all(engine->place->stage_coll, in, send, out, recv);
    meter_bytes(engine, OP_ALL_TO_ALL, nominal_bytes);
}

/* Where each (source, expert) run of rows lies among the arrived and among the sorted. */
struct regroup {
    const struct engine *engine;
    const int32_t *counts; /* [source][local] */
    const int32_t *offsets;
    int sources;
    int64_t local;
    char *arrived, *sorted;
    bool back;
};

static void regroup_part(void *arg, int part, int parts)
{
    const struct regroup *r = arg;
    int64_t row_bytes = r->engine->model->hidden * (int64_t)sizeof(float), from = 0;
    int run = 0;

    for (int source = 0; source < r->sources; source++) {
        for (int64_t e = 0; e < r->local; e++, run++) {
            int64_t n = r->counts[source * r->local + e], to = r->offsets[e];
            char *arrived = r->arrived + from * row_bytes;

            from += n;
            if (run % parts != part)
                continue;
            for (int s = 0; s < source; s++)
                to += r->counts[s * r->local + e];
            if (r->back)
                memcpy(arrived, r->sorted + to * row_bytes, (size_t)(n * row_bytes));
            else
                memcpy(r->sorted + to * row_bytes, arrived, (size_t)(n * row_bytes));
        }
    }
}

static void do_regroup(struct engine *engine, struct regroup *r, int64_t nominal_bytes)
{
    dev_parallel(engine->dev, regroup_part, r);
    meter_bytes(engine, OP_COPY, nominal_bytes);
}

/* What goes where in a layer: expert group e is ranks [e * parts, (e + 1) * parts) of the stage. */
struct traffic {
    int ranks, parts;
    int64_t experts, local, row_bytes;
    int32_t *home,
            *here; /* where each expert's rows begin: among those sent, among those received */
    int32_t *sent, *received; /* rows by [rank][local expert] */
    int64_t *send, *recv;     /* bytes by rank */
};

static struct traffic traffic_of(struct engine *engine)
{
    const struct place *place = engine->place;
    struct traffic t = {
            .ranks = coll_size(place->stage_coll),
            .parts = place->expert_tp,
            .experts = place->split.ep * graph_expert_slots(engine->model, &place->split),
            .local = graph_expert_slots(engine->model, &place->split),
            .row_bytes = engine->model->hidden * (int64_t)sizeof(float),
            .home = engine->work[WORK_OFFSETS],
            .sent = engine->work[WORK_COUNTS],
            .send = engine->moe_bytes,
    };

    t.here = t.home + t.experts + 1;
    t.received = t.sent + t.ranks * t.local;
    t.recv = t.send + t.ranks;
    return t;
}

/* Tells every rank how many rows it gets for each of its experts; fills the bytes that will travel. */
static void exchange_counts(struct engine *engine, struct traffic *t, int64_t rows)
{
    for (int r = 0; r < t->ranks; r++) {
        const int32_t *begin = t->home + r / t->parts * t->local;

        for (int64_t e = 0; e < t->local; e++)
            t->sent[r * t->local + e] = rows > 0 ? begin[e + 1] - begin[e] : 0;
        t->send[r] = t->recv[r] = t->local * (int64_t)sizeof *t->sent;
    }
    exchange(engine, t->ranks * t->send[0], t->sent, t->send, t->received, t->recv);
    for (int r = 0; r < t->ranks; r++) {
        t->send[r] = t->recv[r] = 0;
        for (int64_t e = 0; e < t->local; e++) {
            t->send[r] += t->sent[r * t->local + e] * t->row_bytes;
            t->recv[r] += t->received[r * t->local + e] * t->row_bytes;
        }
    }
    t->here[0] = 0;
    for (int64_t e = 0; e < t->local; e++) {
        t->here[e + 1] = t->here[e];
        for (int r = 0; r < t->ranks; r++)
            t->here[e + 1] += t->received[r * t->local + e];
    }
}

/* The rows of each expert group, once for each of its ranks; from the back, so that none is overwritten. */
static void repeat_rows(const struct traffic *t, char *rows)
{
    int64_t end = 0, to = 0;

    for (int r = 0; r < t->ranks; r += t->parts)
        end += t->send[r];
    to = end * t->parts;
    for (int r = t->ranks - 1; r >= 0; r--) {
        to -= t->send[r];
        memmove(rows + to, rows + end - t->send[r], (size_t)t->send[r]);
        if (r % t->parts == 0)
            end -= t->send[r];
    }
}

static void add_floats(float *to, const float *from, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        to[i] += from[i];
}

/* The inverse: the parts that a group's ranks computed of the same rows become their sum. */
static void add_parts(const struct traffic *t, char *rows)
{
    int64_t from = 0, to = 0;

    for (int r = 0; r < t->ranks; r += t->parts) {
        int64_t bytes = t->send[r];
        char *first = rows + from;

        for (int span = 1; span < t->parts; span *= 2)
            for (int p = 0; p + span < t->parts; p += 2 * span)
                add_floats((float *)(void *)(first + p * bytes),
                        (const float *)(const void *)(first + (p + span) * bytes),
                        bytes / (int64_t)sizeof(float));
        memmove(rows + to, first, (size_t)bytes);
        from += bytes * t->parts;
        to += bytes;
    }
}

/* The ranks of a group have the sums of one share each; all need all of them. Adding zeros changes nothing.
 * partial: the other rows hold this rank's part of a sum already. */
static void share_out(struct engine *engine, struct slice mine, bool partial)
{
    int64_t hidden = engine->model->hidden, rows = engine->step.rows;
    float *out = engine->work[WORK_R];
    size_t before = (size_t)(mine.begin * hidden), behind = (size_t)((rows - mine.end) * hidden);

    if (engine->place->split.tp == 1)
        return;
    if (!partial) {
        memset(out, 0, before * sizeof *out);
        memset(out + mine.end * hidden, 0, behind * sizeof *out);
    }
    engine_all_reduce(engine, engine->place->tp_coll, out, rows * hidden);
}

void moe_spread(struct engine *engine, const struct layer_weights *layer)
{
    const struct model *model = engine->model;
    const struct place *place = engine->place;
    struct traffic t = traffic_of(engine);
    void **work = engine->work;
    struct slice mine = graph_dispatch_rows(engine->step.rows, place->split.tp, place->tp_rank);
    struct slice experts = {0, t.experts};
    int64_t rows = mine.end - mine.begin, pairs = rows * model->moe.top_k;
    int64_t sent_bytes = pairs * t.parts * t.row_bytes;
    int64_t brought = (engine->step.group_rows * model->moe.top_k * t.local + t.experts - 1)
                      / t.experts * t.row_bytes;
    struct regroup regroup = {engine, t.received, t.here, t.ranks, t.local, work[WORK_ROWS_IN],
            work[WORK_ROWS_SORTED], false};

    moe_router(engine, layer, mine);
    bool shared = moe_shared(engine, layer);
    moe_permute(engine, mine, experts, t.home);
    exchange_counts(engine, &t, rows);
    if (t.parts > 1) {
        repeat_rows(&t, work[WORK_ROWS]);
        meter_bytes(engine, OP_COPY, sent_bytes);
    }
    exchange(engine, sent_bytes, work[WORK_ROWS], t.send, work[WORK_ROWS_IN], t.recv);
    do_regroup(engine, &regroup, brought);
    moe_experts(engine, layer, engine->step.group_rows, t.here, work[WORK_ROWS_SORTED],
            work[WORK_ROWS_IN]);
    regroup.arrived = work[WORK_ROWS_SORTED];
    regroup.sorted = work[WORK_ROWS_IN];
    regroup.back = true;
    do_regroup(engine, &regroup, brought);
    exchange(engine, brought, work[WORK_ROWS_SORTED], t.recv, work[WORK_ROWS], t.send);
    if (t.parts > 1) {
        add_parts(&t, work[WORK_ROWS]);
        meter_bytes(engine, OP_COPY, sent_bytes);
    }
    moe_combine(engine, rows, t.experts,
            &(struct combine_args){.rows = work[WORK_ROWS],
                    .pair = work[WORK_PAIR],
                    .n_rows = pairs,
                    .weight = work[WORK_EXPERT_WEIGHT],
                    .out = (float *)work[WORK_R] + mine.begin * model->hidden,
                    .add = shared});
    share_out(engine, mine, shared && !place->split.deterministic);
}
