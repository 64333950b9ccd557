/*
 * graph_legal - which splits a model allows. Each rule is one line of a table walk, so that a forced plan
 * hears the rule that it breaks.
 */
#include "models/graph.h"

enum {
    SCALE_BLOCK =
            128 /* f8_block: columns that share a scale, as DeepSeek-V3's checkpoints have them */
};

struct rule {
    bool applies;
    int64_t n; /* things to split */
    int parts;
    const char *what;
};

static bool split_sane(const struct split *split, struct err *err)
{
    if (split->tp >= 1 && split->ep >= 1 && split->attention_dp >= 1 && split->threads >= 1)
        return true;
    return err_set(err, ERR_NO, "tp=%d ep=%d attention-dp=%d threads=%d: each must be at least 1",
            split->tp, split->ep, split->attention_dp, split->threads);
}

static bool layout_legal(const struct model *model, const struct split *split, struct err *err)
{
    int tp = split->tp, ep = split->ep, groups = split->attention_dp;

    if (model->moe.n == 0 && ep > 1)
        return err_set(err, ERR_NO, "ep=%d needs experts, %s is dense: use ep=1", ep, model->name);
    if (model->moe.n == 0 && groups > 1)
        return err_set(err, ERR_NO,
                "attention-dp=%d needs experts, %s is dense: use data parallelism (dp) instead",
                groups, model->name);
    if (groups > 1 && ep == 1)
        return err_set(err, ERR_NO,
                "attention-dp=%d with ep=1: every row would go to every rank; use ep=%d", groups,
                tp * groups);
    if (tp * groups % ep != 0)
        return err_set(err, ERR_NO,
                "ep=%d with tp=%d attention-dp=%d: the %d ranks of the stage do not divide by it",
                ep, tp, groups, tp * groups);
    return true;
}

static bool kv_legal(const struct model *model, int tp, struct err *err)
{
    if (model->mla.kv_rank > 0 || model->kv_heads % tp == 0 || tp % model->kv_heads == 0)
        return true;
    return err_set(err, ERR_NO,
            "tp=%d: %d KV heads of %s can neither be divided by nor replicated over it", tp,
            model->kv_heads, model->name);
}

static int64_t blocks_of(int64_t columns)
{
    return (columns + SCALE_BLOCK - 1) / SCALE_BLOCK;
}

bool graph_legal(const struct model *model, const struct split *split, struct err *err)
{
    if (!split_sane(split, err) || !layout_legal(model, split, err)
            || !kv_legal(model, split->tp, err))
        return false;

    bool dense = false, fixed = split->deterministic;
    for (int layer = 0; layer < model->n_layers && !dense; layer++)
        dense = !model->layers[layer].moe;
    bool moe = model->moe.n > 0, shared = model->moe.shared_inter > 0;
    int within = split->tp * split->attention_dp / split->ep;
    /* A scale holds for a block of this many columns, and none may be cut. */
    bool blocks = split->dtype == DTYPE_F8_BLOCK;
    const struct rule rules[] = {
            {true, model->heads, split->tp, "attention heads"},
            {dense, model->inter, split->tp, "columns of the MLP (intermediate_size)"},
            {true, model->vocab, split->tp, "vocabulary entries"},
            {shared, model->moe.shared_inter, split->tp, "columns of the shared expert"},
            {moe, model->moe.n, split->ep, "experts"},
            {moe, model->moe.inter, within, "columns of an expert"},
            {blocks && dense, blocks_of(model->inter), split->tp,
                    "blocks of 128 columns of the MLP"},
            {blocks && moe, blocks_of(model->moe.inter), within,
                    "blocks of 128 columns of an expert"},
            {blocks && shared, blocks_of(model->moe.shared_inter), split->tp,
                    "blocks of 128 columns of the shared expert"},
            {fixed, graph_k_chunks(model->heads), split->tp,
                    "deterministic chunks of the attention output"},
            {fixed && dense, graph_k_chunks(model->inter), split->tp,
                    "deterministic chunks of the MLP"},
            {fixed && moe, graph_k_chunks(model->moe.inter), within,
                    "deterministic chunks of an expert"},
            {fixed && shared, graph_k_chunks(model->moe.shared_inter), split->tp,
                    "deterministic chunks of the shared expert"},
    };
    for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++)
        if (rules[i].applies && rules[i].n % rules[i].parts != 0)
            return err_set(err, ERR_NO,
                    "tp=%d ep=%d attention-dp=%d: %lld %s of %s do not divide by %d", split->tp,
                    split->ep, split->attention_dp, (long long)rules[i].n, rules[i].what,
                    model->name, rules[i].parts);
    return true;
}
