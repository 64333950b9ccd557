#include "runtime/handover.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>

enum {
    TAG_NOTE = 1,
    TAG_CACHE = 16, /* and the request's number modulo CACHE_TAGS: MPI promises tags up to 32767 */
    CACHE_TAGS = 30000
};

/* What a rank of one replica and a rank of another both hold. */
struct part {
    int layer, end_layer;
    int64_t head, end_head; /* latent attention: one row for all heads, 0 to 1 */
};

/* tp ranks p and d of their groups. False: nothing, or another rank that holds the same sends it. */
static bool find_part(struct part *out, const struct model *model, const struct plan_stage *prefill,
        int p, const struct plan_stage *decode, int d)
{
    bool latent = model->mla.kv_rank > 0;
    int copies = graph_kv_copies(model, prefill->tp);
    struct slice a = {0, 1}, b = {0, 1};

    if (!latent) {
        a = graph_kv_heads(model, prefill->tp, p);
        b = graph_kv_heads(model, decode->tp, d);
    }
    *out = (struct part){
            .layer = prefill->first_layer > decode->first_layer ? prefill->first_layer
                                                                : decode->first_layer,
            .end_layer =
                    prefill->end_layer < decode->end_layer ? prefill->end_layer : decode->end_layer,
            .head = a.begin > b.begin ? a.begin : b.begin,
            .end_head = a.end < b.end ? a.end : b.end,
    };
    return out->layer < out->end_layer && out->head < out->end_head && p % copies == d % copies;
}

/* Bytes of one KV head, or latent row, of a block in one of k and v. */
static int64_t head_bytes(const struct handover *h)
{
    const struct model *model = h->model;
    int64_t elems =
            model->mla.kv_rank > 0 ? model->mla.kv_rank + model->mla.rope_dim : model->head_dim;

    return (int64_t)(elems * h->place->plan->block_tokens
                     * dtype_bytes((enum dtype)h->place->plan->kv_dtype));
}

static int64_t part_bytes(const struct handover *h, const struct part *part, int n_blocks)
{
    int64_t sides = h->model->mla.kv_rank > 0 ? 1 : 2;

    return sides * (part->end_layer - part->layer) * (part->end_head - part->head) * n_blocks
           * head_bytes(h);
}

int handover_blocks(const struct handover *h, int64_t request)
{
    int64_t tokens = h->place->plan->block_tokens;

    return (int)((h->requests->items[request].prompt_len + tokens - 1) / tokens);
}

/* Between the blocks of this rank's cache and a message: layers, in each k and v, in each the blocks. */
static void copy_part(const struct handover *h, const struct part *part, const int32_t *blocks,
        int n_blocks, char *message, bool pack)
{
    bool latent = h->model->mla.kv_rank > 0;
    struct slice mine = {0, 1};
    int64_t each = head_bytes(h), bytes = (part->end_head - part->head) * each;

    if (!latent)
        mine = graph_kv_heads(h->model, h->place->split.tp, h->place->tp_rank);
    for (int l = part->layer; l < part->end_layer; l++) {
        const struct kv_layer *layer = &h->cache->layers[l - h->place->piece.first_layer];

        for (int side = 0; side < (latent ? 1 : 2); side++)
            for (int b = 0; b < n_blocks; b++, message += bytes) {
                int64_t at = blocks[b] * (mine.end - mine.begin) + part->head - mine.begin;
                char *cache = (char *)(side == 0 ? layer->k : layer->v) + at * each;

                memcpy(pack ? message : cache, pack ? cache : message, (size_t)bytes);
            }
    }
}

static void finish(const struct handover *h, struct handover_out *out)
{
    for (int i = 0; i < out->n_requests; i++)
        while (!coll_test(h->place->job_coll, &out->requests[i]))
            sched_yield();
    out->n_requests = 0;
}

/* Bytes that this rank sends of a cache of so many blocks, to all ranks of a replica together. */
static int64_t sent_bytes(const struct handover *h, int replica, int n_blocks, int *n_ranks)
{
    const struct plan_replica *to = &h->place->plan->replicas[replica];
    struct part part;
    int64_t bytes = 0;

    *n_ranks = 0;
    for (int s = 0; s < to->n_stages; s++)
        for (int d = 0; d < to->stages[s].tp; d++)
            if (find_part(&part, h->model, h->place->stage_plan, h->place->tp_rank, &to->stages[s],
                        d)) {
                bytes += part_bytes(h, &part, n_blocks);
                *n_ranks += 1;
            }
    return bytes;
}

static bool alloc_outs(
        struct handover *h, int64_t bytes, int n_ranks, struct arena *arena, struct err *err)
{
    for (int i = 0; i < HANDOVER_BUFFERS; i++) {
        h->out[i].memory = malloc((size_t)bytes + 1);
        h->notes[i].memory = calloc(1, sizeof(struct handover_note));
        h->out[i].requests = ARENA_NEW(arena, struct coll_request, n_ranks + 1);
        h->notes[i].requests = ARENA_NEW(arena, struct coll_request, 1);
        if (!h->out[i].memory || !h->notes[i].memory)
            return err_set(err, ERR_ENV, "not enough memory for %d caches of %lld bytes on the way",
                    HANDOVER_BUFFERS, (long long)bytes);
    }
    return true;
}

/* The longest prompt that this replica sends or takes. */
static int most_blocks(const struct handover *h, const int *route)
{
    int most = 0;

    for (int64_t i = 0; i < h->requests->n; i++)
        if (route[i] == h->place->replica && h->to[i] >= 0 && handover_blocks(h, i) > most)
            most = handover_blocks(h, i);
    return most;
}

static bool open_sender(struct handover *h, struct arena *arena, struct err *err)
{
    const struct plan *plan = h->place->plan;
    int blocks = most_blocks(h, h->from), most_ranks = 0;
    int64_t most = 0;

    for (int r = 0; r < plan->n_replicas; r++) {
        int n_ranks = 0;
        int64_t bytes =
                plan->replicas[r].role == ROLE_DECODE ? sent_bytes(h, r, blocks, &n_ranks) : 0;

        most = bytes > most ? bytes : most;
        most_ranks = n_ranks > most_ranks ? n_ranks : most_ranks;
    }
    return alloc_outs(h, most, most_ranks, arena, err);
}

static bool open_taker(struct handover *h, struct arena *arena, struct err *err)
{
    const struct plan *plan = h->place->plan;
    struct part all = {h->place->piece.first_layer, h->place->piece.end_layer, 0, 1};

    if (h->model->mla.kv_rank == 0)
        all.end_head = h->model->kv_heads;
    int64_t bytes = part_bytes(h, &all, most_blocks(h, h->to));
    h->in = malloc((size_t)bytes + 1);
    h->leads = ARENA_NEW(arena, int, plan->n_replicas);
    for (int r = 0; r < plan->n_replicas; r++)
        if (plan->replicas[r].role == ROLE_PREFILL)
            h->leads[h->n_leads++] = plan->replicas[r].stages[0].ranks[0];
    return h->in
           || err_set(err, ERR_ENV, "not enough memory for a cache of %lld bytes that comes",
                   (long long)bytes);
}

bool handover_open(struct handover *h, struct arena *arena, struct err *err)
{
    switch ((enum replica_role)h->place->replica_plan->role) {
    case ROLE_MIXED:
        break;
    case ROLE_PREFILL:
        return open_sender(h, arena, err);
    case ROLE_DECODE:
        return open_taker(h, arena, err);
    }
    return true;
}

void handover_close(struct handover *h)
{
    for (int i = 0; i < HANDOVER_BUFFERS; i++) {
        finish(h, &h->out[i]);
        finish(h, &h->notes[i]);
        free(h->out[i].memory);
        free(h->notes[i].memory);
    }
    free(h->in);
    *h = (struct handover){0};
}

void handover_send(struct handover *h, int64_t request, int pool, const int32_t *blocks)
{
    const struct place *place = h->place;
    const struct plan_replica *to = &place->plan->replicas[h->to[request]];
    struct handover_out *out = &h->out[h->out_turn];
    char *at = NULL;
    struct part part;
    int n_blocks = handover_blocks(h, request);

    if (pool < place->first_pool || pool >= place->first_pool + place->group_pools)
        return;
    finish(h, out);
    at = out->memory;
    for (int s = 0; s < to->n_stages; s++)
        for (int d = 0; d < to->stages[s].tp; d++) {
            if (!find_part(&part, h->model, place->stage_plan, place->tp_rank, &to->stages[s], d))
                continue;
            int64_t bytes = part_bytes(h, &part, n_blocks);
            copy_part(h, &part, blocks, n_blocks, at, true);
            coll_isend(place->job_coll, at, bytes, to->stages[s].ranks[d],
                    TAG_CACHE + (int)(request % CACHE_TAGS), &out->requests[out->n_requests++]);
            at += bytes;
        }
    h->out_turn = (h->out_turn + 1) % HANDOVER_BUFFERS;
}

static void take_part(struct handover *h, const struct part *part, int64_t request, int from,
        const int32_t *blocks, struct meter *meter)
{
    int n_blocks = handover_blocks(h, request), tag = TAG_CACHE + (int)(request % CACHE_TAGS);
    struct op op = {.kind = OP_SEND_RECV,
            .dtype = DTYPE_F32,
            .degree = 2,
            .busy = h->place->split.busy,
            .nodes = place_apart(h->place->plan, h->place->rank, from),
            .dim = {part_bytes(h, part, n_blocks)}};

    while (!coll_probe(h->place->job_coll, from, tag))
        sched_yield();
    coll_recv(h->place->job_coll, h->in, op.dim[0], from, tag);
    if (blocks)
        copy_part(h, part, blocks, n_blocks, h->in, false);
    meter_op(meter, &op);
}

void handover_take(
        struct handover *h, int64_t request, int pool, const int32_t *blocks, struct meter *meter)
{
    const struct plan_replica *from = &h->place->plan->replicas[h->from[request]];
    struct part part;

    for (int s = 0; s < from->n_stages; s++) {
        const struct plan_stage *stage = &from->stages[s];
        int group = pool / plan_stage_pools(from, stage);

        for (int p = 0; p < stage->tp; p++)
            if (find_part(&part, h->model, stage, p, h->place->stage_plan, h->place->tp_rank))
                take_part(h, &part, request, stage->ranks[group * stage->tp + p], blocks, meter);
    }
}

void handover_tell(struct handover *h, const struct handover_note *note)
{
    const struct plan_replica *to = &h->place->plan->replicas[h->to[note->request]];
    struct handover_out *out = &h->notes[h->note_turn];

    finish(h, out);
    memcpy(out->memory, note, sizeof *note);
    coll_isend(h->place->job_coll, out->memory, sizeof *note, to->stages[0].ranks[0], TAG_NOTE,
            &out->requests[out->n_requests++]);
    h->note_turn = (h->note_turn + 1) % HANDOVER_BUFFERS;
}

bool handover_there(const struct handover *h)
{
    for (int i = 0; i < h->n_leads; i++)
        if (coll_probe(h->place->job_coll, h->leads[i], TAG_NOTE))
            return true;
    return false;
}

bool handover_hear(struct handover *h, struct handover_note *note)
{
    for (int i = 0; i < h->n_leads; i++)
        if (coll_probe(h->place->job_coll, h->leads[i], TAG_NOTE)) {
            coll_recv(h->place->job_coll, note, sizeof *note, h->leads[i], TAG_NOTE);
            return true;
        }
    return false;
}
