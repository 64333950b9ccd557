#include "runtime/kvcache.h"

#include <string.h>

struct span {
    char *at;
    int64_t bytes;
};

static void touch(void *arg, int part, int parts)
{
    const struct span *span = arg;
    struct slice mine = {span->bytes / parts * part,
            part == parts - 1 ? span->bytes : span->bytes / parts * (part + 1)};

    memset(span->at + mine.begin, 0, (size_t)(mine.end - mine.begin));
}

bool kvcache_alloc(struct kvcache *out, const struct place *place, const struct model *model,
        struct dev *dev, struct arena *arena, struct err *err)
{
    int64_t n = place->piece.end_layer - place->piece.first_layer;
    int block_tokens = place->plan->block_tokens;
    int64_t all = graph_kv_block_bytes(model, &place->split, place->piece, block_tokens)
                  * place->kv_blocks;
    bool latent = model->mla.kv_rank > 0; /* one row for keys and values */
    int64_t each = all / (latent ? n : 2 * n);

    *out = (struct kvcache){
            .layers = ARENA_NEW(arena, struct kv_layer, n), .block_tokens = block_tokens};
    for (int64_t i = 0; i < n; i++) {
        struct kv_layer *layer = &out->layers[i];

        layer->dtype = place->split.kv_dtype;
        layer->block_tokens = block_tokens;
        layer->k = dev_alloc(dev, each, err);
        layer->v = layer->k && !latent ? dev_alloc(dev, each, err) : NULL;
        if (!layer->k || (!layer->v && !latent))
            return err_context(err, "KV cache of layer %d (%lld blocks)",
                    place->piece.first_layer + (int)i, (long long)place->kv_blocks);
        out->bytes += latent ? each : 2 * each;
        if (dev_remote(dev))
            continue; /* nothing is paid at first use */
        dev_parallel(dev, touch, &(struct span){layer->k, each});
        if (layer->v)
            dev_parallel(dev, touch, &(struct span){layer->v, each});
    }
    return true;
}
