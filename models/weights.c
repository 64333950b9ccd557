/*
 * weights - an open checkpoint: files mapped read-only, tensors sorted by name and compared with what the
 * model must have; or no files at all and values made when they are copied.
 */
#include "models/weights.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "models/weights_state.h"

int weights_by_name(const void *a, const void *b)
{
    return strcmp(((const struct named *)a)->name, ((const struct named *)b)->name);
}

static int spec_by_name(const void *a, const void *b)
{
    return strcmp(((const struct tensor_spec *)a)->name, ((const struct tensor_spec *)b)->name);
}

static bool starts_with(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0;
}

/* Tensors that published checkpoints hold besides the decoder: rotary tables, a tied head once more,
 * multi-token-prediction layers, vision towers. */
static bool may_be_ignored(const char *name, const struct model *model)
{
    int layer = 0;

    if (strstr(name, ".rotary_emb.inv_freq"))
        return true;
    if (model->tied_embeddings && strcmp(name, "lm_head.weight") == 0)
        return true;
    if (model->family == FAMILY_LLAMA4)
        return starts_with(name, "vision_model.") || starts_with(name, "multi_modal_projector.");
    if (!starts_with(name, "model.layers."))
        return false;
    for (const char *p = name + 13; *p >= '0' && *p <= '9' && layer < 10000; p++)
        layer = layer * 10 + (*p - '0');
    return layer >= model->n_layers && layer < model->n_layers + model->n_mtp;
}

const char *weights_show_shape(char *buf, const int64_t *dim, int n_dims)
{
    int at = snprintf(buf, 96, "[");
    for (int i = 0; i < n_dims; i++)
        at += snprintf(buf + at, 96 - (size_t)at, "%s%lld", i > 0 ? ", " : "", (long long)dim[i]);
    snprintf(buf + at, 96 - (size_t)at, "]");
    return buf;
}

static bool same_shape(const struct weights *w, const struct named *have,
        const struct tensor_spec *spec, struct err *err)
{
    const struct tensor *t = &have->tensor;
    bool same = t->n_dims == spec->n_dims;
    char has[96], wants[96];

    for (int i = 0; same && i < spec->n_dims; i++)
        same = t->dim[i] == spec->dim[i];
    if (same)
        return true;
    return err_set(err, ERR_INPUT,
            "%s/%s: tensor %s is %s, the model's is %s: config.json and weights do not belong "
            "together",
            w->dir, have->file, have->name, weights_show_shape(has, t->dim, t->n_dims),
            weights_show_shape(wants, spec->dim, spec->n_dims));
}

static bool may_stay(const struct weights *w, const char *name, const struct model *model)
{
    return may_be_ignored(name, model) || weights_is_scale(w, name);
}

static bool foreign(
        const struct weights *w, const struct named *t, const struct model *model, struct err *err)
{
    return err_set(err, ERR_INPUT, "%s/%s: tensor %s does not belong to %s (%s)", w->dir, t->file,
            t->name, model->name, model_family_names[model->family]);
}

static bool complete(struct weights *w, const struct model *model, struct err *err)
{
    struct tensor_spec *specs;
    int64_t n, i = 0;

    if (!weights_specs(&specs, &n, model, &w->arena, err))
        return false;
    qsort(specs, (size_t)n, sizeof(*specs), spec_by_name);
    for (int64_t s = 0; s < n; s++) {
        while (i < w->n && strcmp(w->tensors[i].name, specs[s].name) < 0) {
            if (!may_stay(w, w->tensors[i].name, model))
                return foreign(w, &w->tensors[i], model, err);
            i++;
        }
        if (i == w->n || strcmp(w->tensors[i].name, specs[s].name) != 0)
            return err_set(err, ERR_INPUT, "%s: tensor %s of %s is missing", w->dir, specs[s].name,
                    model->name);
        if (!same_shape(w, &w->tensors[i], &specs[s], err))
            return false;
        i++;
    }
    for (; i < w->n; i++)
        if (!may_stay(w, w->tensors[i].name, model))
            return foreign(w, &w->tensors[i], model, err);
    return true;
}

static struct weights *new_weights(struct err *err)
{
    struct weights *w = calloc(1, sizeof(*w));
    if (!w)
        err_set(err, ERR_ENV, "no memory to open a checkpoint");
    return w;
}

struct weights *weights_open(const struct model *model, const char *dir, struct err *err)
{
    struct weights *w = new_weights(err);

    if (!w)
        return NULL;
    w->dir = arena_strdup(&w->arena, dir);
    if (!weights_map(w, err) || !weights_find_scales(w, err) || !complete(w, model, err)) {
        weights_close(w);
        return NULL;
    }
    return w;
}

struct weights *weights_open_random(
        const struct model *model, uint64_t seed, enum dtype dtype, struct err *err)
{
    struct tensor_spec *specs;
    struct weights *w = new_weights(err);

    if (!w)
        return NULL;
    w->dir = "random";
    w->random = true;
    if ((!weights_dtype(dtype) && !err_set(err, ERR_INPUT, "random weights are f32, bf16 or f16"))
            || !weights_specs(&specs, &w->n, model, &w->arena, err)) {
        weights_close(w);
        return NULL;
    }
    w->tensors = ARENA_NEW(&w->arena, struct named, w->n);
    for (int64_t i = 0; i < w->n; i++) {
        struct named *t = &w->tensors[i];
        t->name = specs[i].name;
        t->file = "random";
        t->tensor.dtype = dtype;
        t->tensor.n_dims = specs[i].n_dims;
        memcpy(t->tensor.dim, specs[i].dim, sizeof(t->tensor.dim));
        t->random = random_tensor(&specs[i], model, seed);
    }
    qsort(w->tensors, (size_t)w->n, sizeof(*w->tensors), weights_by_name);
    return w;
}

void weights_close(struct weights *weights)
{
    if (!weights)
        return;
    for (int i = 0; i < weights->n_mappings; i++)
        if (weights->mappings[i].base)
            munmap(weights->mappings[i].base, (size_t)weights->mappings[i].bytes);
    arena_free(&weights->arena);
    free(weights);
}

const struct named *weights_named(const struct weights *weights, const char *name)
{
    const struct named key = {.name = name};
    if (weights->n == 0)
        return NULL;
    return bsearch(&key, weights->tensors, (size_t)weights->n, sizeof(key), weights_by_name);
}

const struct tensor *weights_find(const struct weights *weights, const char *name)
{
    const struct named *t = weights_named(weights, name);
    return t ? &t->tensor : NULL;
}
