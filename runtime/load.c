/*
 * The slices are first written down as a list of copies, then the device's threads work it off: the pages
 * are touched by the threads that will read them, and the file is read in parallel.
 */
#include "runtime/load.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "core/log.h"
#include "runtime/load_layers.h"

static bool alloc_layers(
        struct rank_weights *out, const struct load *c, struct dev *dev, struct err *err)
{
    const struct place *place = c->place;
    int n = place->piece.end_layer - place->piece.first_layer;
    int64_t bytes[WEIGHT_COUNT];

    out->layers = ARENA_NEW(c->arena, struct layer_weights, n);
    for (int i = 0; i < n; i++) {
        graph_layer_weights(bytes, c->model, &place->split, place->piece.first_layer + i);
        for (int b = 0; b < WEIGHT_LAYER_COUNT; b++) {
            if (bytes[b] == 0)
                continue;
            out->layers[i].buffer[b] = dev_alloc(dev, bytes[b], err);
            if (!out->layers[i].buffer[b])
                return err_context(err, "weights of layer %d", place->piece.first_layer + i);
            out->bytes += bytes[b];
        }
    }
    return true;
}

static bool alloc_end(
        void **out, int64_t bytes, struct rank_weights *weights, struct dev *dev, struct err *err)
{
    if (bytes == 0)
        return true;
    *out = dev_alloc(dev, bytes, err);
    weights->bytes += bytes;
    return *out ? true : err_context(err, "embedding and head");
}

static bool prepare_ends(struct rank_weights *out, struct load *c, struct dev *dev, struct err *err)
{
    const struct place *place = c->place;
    const struct model *model = c->model;
    int64_t bytes[WEIGHT_COUNT];
    void *norm = NULL;
    struct slice vocab = graph_slice(model->vocab, place->split.tp, place->tp_rank);

    graph_end_weights(bytes, model, &place->split, place->piece);
    if (!alloc_end(&out->embedding, bytes[WEIGHT_EMBEDDING], out, dev, err)
            || !alloc_end(&norm, bytes[WEIGHT_FINAL_NORM], out, dev, err)
            || !alloc_end(&out->lm_head, bytes[WEIGHT_LM_HEAD], out, dev, err))
        return false;
    out->final_norm = norm;
    if (out->embedding)
        load_add(c, out->embedding, "model.embed_tokens.weight",
                (struct slice_2d){0, model->vocab, 0, model->hidden});
    load_add_vector(c, norm, "model.norm.weight", (struct slice){0, model->hidden});
    if (out->lm_head)
        load_add(c, out->lm_head,
                model->tied_embeddings ? "model.embed_tokens.weight" : "lm_head.weight",
                (struct slice_2d){vocab.begin, vocab.end - vocab.begin, 0, model->hidden});
    else if (place->last)
        out->lm_head = (char *)out->embedding
                       + vocab.begin * model->hidden * dtype_bytes(place->split.dtype);
    return true;
}

/* Large copies are cut, so that one matrix does not keep one thread busy while the others are done. Rows of
 * what is written are rows of the tensor, or its columns where it is turned. */
static void cut_copies(struct load *load)
{
    const int64_t most = 4 << 20;
    int64_t n = load->n;

    for (int64_t i = 0; i < n; i++) {
        struct load_copy whole = load->items[i];
        int64_t all = whole.step > 0 ? whole.slice.cols : whole.slice.rows;
        int64_t row_bytes = load_copy_bytes(&whole) / all;
        int64_t rows = most / row_bytes > 0 ? most / row_bytes : 1;

        for (int64_t r = 0; r < all && all > rows; r += rows) {
            struct load_copy part = whole;
            int64_t here = all - r < rows ? all - r : rows;

            part.to += r * row_bytes;
            if (whole.step > 0) {
                part.slice.col += r * whole.step;
                part.slice.cols = here;
            } else {
                part.slice.row += r;
                part.slice.rows = here;
            }
            if (r == 0)
                load->items[i] = part;
            else
                load_push(load, part);
        }
    }
}

struct work {
    struct dev *dev;
    pthread_mutex_t sending; /* a GPU takes one copy at a time */
    const struct load *list;
    const struct weights *from;
    atomic_int_least64_t next;
    atomic_bool failed;
    struct err err; /* of the first thread that failed */
};

static bool copy_slice(struct work *work, const struct load_copy *copy, void *to, struct err *err)
{
    return copy->step > 0 ? weights_copy_turned(
                   to, copy->dtype, work->from, copy->name, copy->slice, copy->step, err)
                          : weights_copy(to, copy->dtype, work->from, copy->name, copy->slice, err);
}

/* Memory that the host cannot write gets a copy of what was made in some that it can. */
static bool copy_through_host(struct work *work, const struct load_copy *copy, struct err *err)
{
    int64_t bytes = load_copy_bytes(copy);
    void *memory = malloc((size_t)bytes + 1);
    bool ok = memory ? copy_slice(work, copy, memory, err)
                     : err_set(err, ERR_ENV, "no memory for a piece of the weights");

    if (ok) {
        pthread_mutex_lock(&work->sending);
        dev_write(work->dev, copy->to, memory, bytes);
        pthread_mutex_unlock(&work->sending);
    }
    free(memory);
    return ok;
}

static void work_off(void *arg, int part, int parts)
{
    struct work *work = arg;
    (void)parts;

    while (!atomic_load(&work->failed)) {
        int64_t i = atomic_fetch_add(&work->next, 1);
        struct err err = {0};

        if (part == 0)
            log_progress("weights", i < work->list->n ? i : work->list->n, work->list->n, -1);
        if (i >= work->list->n)
            return;
        const struct load_copy *copy = &work->list->items[i];
        bool ok = dev_remote(work->dev) ? copy_through_host(work, copy, &err)
                                        : copy_slice(work, copy, copy->to, &err);
        if (!ok && !atomic_exchange(&work->failed, true))
            work->err = err;
    }
}

bool load_weights(struct rank_weights *out, const struct place *place, const struct model *model,
        const struct weights *from, struct dev *dev, struct arena *arena, struct err *err)
{
    struct load load = {.place = place, .model = model, .arena = arena};
    struct work work = {.dev = dev, .list = &load, .from = from};

    *out = (struct rank_weights){0};
    if (!alloc_layers(out, &load, dev, err))
        return false;
    for (int layer = place->piece.first_layer; layer < place->piece.end_layer; layer++)
        load_layer(&load, layer, out->layers[layer - place->piece.first_layer].buffer);
    if (!prepare_ends(out, &load, dev, err))
        return false;
    cut_copies(&load);
    pthread_mutex_init(&work.sending, NULL);
    dev_parallel(dev, work_off, &work);
    pthread_mutex_destroy(&work.sending);
    if (atomic_load(&work.failed)) {
        *err = work.err;
        return false;
    }
    return dev_finish(dev, err);
}
