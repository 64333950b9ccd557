#include "runtime/engine_gpu.h"

#include <stdlib.h>
#include <string.h>

#include "core/log.h"
#include "kernels/coll_nccl.h"

#define MOST_GRAPHS 64
/* NCCL's own patience with a member that is late. */
#define NCCL_TIMEOUT_S 120

/* What decides the launches of a decode step. */
struct launch_shape {
    int64_t rows, n_logits, kv_log2;
};

struct step_graph {
    struct launch_shape shape;
    int64_t uses;
    struct dev_graph *graph; /* NULL until it was recorded */
};

struct engine_gpu {
    int32_t *inputs;       /* [3 T] as WORK_INPUTS */
    char *message, *there; /* sequences | sampled rows | block tables, on the host and on the GPU */
    int64_t seqs_bytes, rows_bytes, message_bytes;
    struct step_graph graphs[MOST_GRAPHS];
    int n_graphs, next_graph;
    bool graphs_off;
    char *host[WORK_COUNT]; /* copies of work buffers */
    int64_t host_bytes[WORK_COUNT];
    float *sum; /* rows on their way through the host */
    struct coll *nccl;
    bool asked_nccl;
};

static int64_t aligned(int64_t bytes)
{
    return (bytes + 15) / 16 * 16;
}

bool engine_gpu_open(struct engine *engine, struct arena *arena, struct err *err)
{
    const struct place *place = engine->place;
    int64_t seqs = place->replica_plan->max_seqs;
    struct engine_gpu *gpu = ARENA_NEW(arena, struct engine_gpu, 1);

    engine->gpu = gpu;
    gpu->inputs = ARENA_NEW(arena, int32_t, 3 * (int64_t)place->max_rows);
    gpu->seqs_bytes = aligned(seqs * (int64_t)sizeof(struct attention_seq));
    gpu->rows_bytes = aligned(seqs * 4);
    gpu->message_bytes = gpu->seqs_bytes + gpu->rows_bytes + 4 * batch_most_blocks(place);
    gpu->message = arena_alloc(arena, gpu->message_bytes);
    gpu->there = dev_alloc(engine->dev, gpu->message_bytes, err);
    gpu->sum = ARENA_NEW(arena, float, place->max_rows * engine->model->hidden);
    gpu->graphs_off = getenv("SHARDWRIGHT_NO_GRAPHS") != NULL;
    engine->inputs = gpu->inputs;
    engine->op_seqs = (struct attention_seq *)(void *)gpu->there;
    engine->op_last_rows = (int32_t *)(void *)(gpu->there + gpu->seqs_bytes);
    return gpu->there != NULL || err_context(err, "block tables");
}

void engine_gpu_close(struct engine *engine)
{
    struct engine_gpu *gpu = engine->gpu;

    if (!gpu)
        return;
    for (int i = 0; i < gpu->n_graphs; i++)
        dev_forget(engine->dev, gpu->graphs[i].graph);
    for (int i = 0; i < WORK_COUNT; i++)
        free(gpu->host[i]);
    if (gpu->nccl)
        coll_close(gpu->nccl);
    engine->gpu = NULL;
}

void engine_gpu_send(struct engine *engine)
{
    const struct engine_step *step = &engine->step;
    struct engine_gpu *gpu = engine->gpu;
    struct attention_seq *seqs = (struct attention_seq *)(void *)gpu->message;
    int block_tokens = engine->cache.block_tokens;
    int64_t at = gpu->seqs_bytes + gpu->rows_bytes;

    for (int i = 0; i < step->n_items; i++) {
        int64_t bytes = 4 * ((engine->seqs[i].kv_len + block_tokens - 1) / block_tokens);

        seqs[i] = engine->seqs[i];
        memcpy(gpu->message + at, engine->seqs[i].blocks, (size_t)bytes);
        seqs[i].blocks = (const int32_t *)(const void *)(gpu->there + at);
        at += bytes;
    }
    memcpy(gpu->message + gpu->seqs_bytes, engine->last_rows, 4 * (size_t)step->n_logits);
    dev_write(engine->dev, gpu->there, gpu->message, at);
    for (int64_t part = 0; part < 3; part++)
        dev_write(engine->dev,
                (int32_t *)engine->work[WORK_INPUTS] + part * engine->place->max_rows,
                gpu->inputs + part * engine->place->max_rows, 4 * step->rows);
}

/* Decodes alone, and nothing that the host does in between. */
static bool can_replay(const struct engine *engine)
{
    const struct engine_step *step = &engine->step;
    bool exchanges = coll_size(engine->place->stage_coll) > 1;

    return !engine->gpu->graphs_off && !engine->timed && !engine->slots && !exchanges
           && step->n_decode > 0 && step->n_decode == step->n_items;
}

static struct launch_shape shape_of(const struct engine_step *step)
{
    struct launch_shape shape = {.rows = step->rows, .n_logits = step->n_logits};

    while ((step->n_decode << shape.kv_log2) < step->decode_kv_tokens)
        shape.kv_log2++;
    return shape;
}

/* The entry of a shape; a new one takes the place of the oldest when all are in use. */
static struct step_graph *find_graph(struct engine *engine, const struct launch_shape *shape)
{
    struct engine_gpu *gpu = engine->gpu;

    for (int i = 0; i < gpu->n_graphs; i++)
        if (gpu->graphs[i].shape.rows == shape->rows
                && gpu->graphs[i].shape.n_logits == shape->n_logits
                && gpu->graphs[i].shape.kv_log2 == shape->kv_log2)
            return &gpu->graphs[i];
    int at = gpu->n_graphs < MOST_GRAPHS ? gpu->n_graphs++ : gpu->next_graph++ % MOST_GRAPHS;
    dev_forget(engine->dev, gpu->graphs[at].graph);
    gpu->graphs[at] = (struct step_graph){.shape = *shape};
    return &gpu->graphs[at];
}

void engine_gpu_run(struct engine *engine, void (*step)(struct engine *engine))
{
    if (!can_replay(engine)) {
        step(engine);
        return;
    }
    struct launch_shape shape = shape_of(&engine->step);
    struct step_graph *graph = find_graph(engine, &shape);
    if (graph->uses++ == 0) {
        step(engine);
        return;
    }
    if (!graph->graph) {
        dev_record(engine->dev);
        step(engine);
        graph->graph = dev_recorded(engine->dev);
    }
    if (graph->graph)
        dev_replay(engine->dev, graph->graph);
}

/* Members agree on an id, and on whether all of them could join; otherwise none does. */
static struct coll *join(struct engine *engine, struct coll *coll)
{
    struct coll_nccl_group group = {
            .rank = coll_rank(coll), .n = coll_size(coll), .timeout_s = NCCL_TIMEOUT_S};
    struct err err = {0};
    float failed = 0;
    bool drawn = group.rank != 0 || coll_nccl_id(group.id, &err);

    failed = drawn && dev_gpu(engine->dev) ? 0 : 1;
    coll_all_reduce(coll, &failed, 1);
    if (failed > 0) {
        if (group.rank == 0)
            log_line(LOG_WARN, "GPUs exchange through host memory: %s",
                    err.kind == ERR_NONE ? "not all ranks of the group have one" : err.text);
        return NULL;
    }
    coll_broadcast(coll, group.id, sizeof group.id, 0);
    struct coll *nccl = coll_nccl_open(dev_gpu(engine->dev), &group, &err);
    failed = nccl ? 0 : 1;
    coll_all_reduce(coll, &failed, 1);
    if (failed > 0 && nccl) {
        coll_nccl_abort(nccl);
        coll_close(nccl);
        nccl = NULL;
    }
    if (failed > 0 && err.kind != ERR_NONE)
        log_line(LOG_WARN, "GPUs exchange through host memory: %s", err.text);
    return nccl;
}

/* The tensor group's, joined at the first sum, which all its members come to. Deterministic sums have an order that
 * NCCL does not keep. */
static struct coll *nccl_of(struct engine *engine, struct coll *coll)
{
    struct engine_gpu *gpu = engine->gpu;

    if (coll != engine->place->tp_coll || engine->place->split.deterministic)
        return NULL;
    if (!gpu->asked_nccl) {
        gpu->asked_nccl = true;
        gpu->nccl = join(engine, coll);
    }
    return gpu->nccl;
}

void engine_gpu_all_reduce(struct engine *engine, struct coll *coll, float *data, int64_t count)
{
    struct coll *nccl = nccl_of(engine, coll);
    float *sum = engine->gpu->sum;
    int64_t most = engine->place->max_rows * engine->model->hidden;

    if (nccl) {
        coll_all_reduce(nccl, data, count);
        return;
    }
    for (int64_t at = 0; at < count; at += most) {
        int64_t n = count - at < most ? count - at : most;

        dev_read(engine->dev, sum, data + at, n * (int64_t)sizeof *sum);
        coll_all_reduce(coll, sum, n);
        dev_write(engine->dev, data + at, sum, n * (int64_t)sizeof *sum);
    }
}

float *engine_gpu_arrivals(struct engine *engine)
{
    return engine->gpu->sum;
}

static char *host_room(struct engine_gpu *gpu, int buffer, int64_t bytes)
{
    if (bytes >= gpu->host_bytes[buffer]) {
        char *more = realloc(gpu->host[buffer], (size_t)bytes + 64);
        if (!more)
            return NULL;
        gpu->host[buffer] = more;
        gpu->host_bytes[buffer] = bytes + 64;
    }
    return gpu->host[buffer];
}

void engine_gpu_all_gather(struct engine *engine, struct coll *coll, const void *in, int64_t bytes)
{
    struct coll *nccl = nccl_of(engine, coll);
    int64_t all = bytes * coll_size(coll);
    char *host = nccl ? NULL : host_room(engine->gpu, WORK_GATHER, bytes + all);

    if (nccl) {
        coll_all_gather(nccl, in, engine->work[WORK_GATHER], bytes);
    } else if (host) {
        dev_read(engine->dev, host + all, in, bytes);
        coll_all_gather(coll, host + all, host, bytes);
        dev_write(engine->dev, engine->work[WORK_GATHER], host, all);
    }
}

void *engine_gpu_fetch(struct engine *engine, int buffer, int64_t bytes)
{
    char *host = host_room(engine->gpu, buffer, bytes);

    if (host)
        dev_read(engine->dev, host, engine->work[buffer], bytes);
    return host;
}
