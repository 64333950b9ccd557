#include "planner/imported.h"

#include <math.h>
#include <stdlib.h>

#include "planner/coll_lines.h"
#include "planner/grid.h"
#include "planner/grid_axes.h"

/* How much wider than its parts a figure is that stands for another op. */
#define WIDEN_DERIVED 0.10

enum {
    ROWS_EACH = 2,
    SKEW_AXIS = 3 /* of expert layers, planner/grid_axes.c */
};

struct imported_costs {
    struct grids *grids;
    struct coll_lines *exchanges;
    struct imported_ceilings ceilings;
};

bool imported_takes(const struct op *op)
{
    return op->busy == 0 && (grid_axes_of(op->kind)->n > 0 || op_is_collective(op->kind));
}

/* Types of the same width, nearest first: where a table lacks one, the next stands in. */
static const enum dtype like[DTYPE_COUNT][2] = {
        [DTYPE_F32] = {DTYPE_F32, DTYPE_F32},
        [DTYPE_BF16] = {DTYPE_F16, DTYPE_F16},
        [DTYPE_F16] = {DTYPE_BF16, DTYPE_BF16},
        [DTYPE_F8] = {DTYPE_F8_BLOCK, DTYPE_I8},
        [DTYPE_F8_BLOCK] = {DTYPE_F8, DTYPE_I8},
        [DTYPE_I8] = {DTYPE_F8, DTYPE_F8_BLOCK},
        [DTYPE_INT4] = {DTYPE_MXFP4, DTYPE_MXFP4},
        [DTYPE_MXFP4] = {DTYPE_INT4, DTYPE_INT4},
};

/* The types and those that may stand in for them. */
static unsigned with_like(unsigned dtypes)
{
    unsigned all = dtypes;
    for (int d = 0; d < DTYPE_COUNT; d++)
        if ((dtypes >> d & 1) != 0)
            all |= 1U << like[d][0] | 1U << like[d][1];
    return all;
}

void imported_wanted(unsigned out[OP_KIND_COUNT], const struct model *model, unsigned weight_dtypes)
{
    bool latent = model->mla.kv_rank > 0;
    for (int k = 0; k < OP_KIND_COUNT; k++)
        out[k] = ~0U;
    out[OP_GEMM] = out[OP_LM_HEAD] = with_like(weight_dtypes | 1U << DTYPE_BF16);
    /* The type of the cache is an axis of attention's tables. */
    out[latent ? OP_ATTENTION_PREFILL : OP_MLA_MODULE_PREFILL] = 0;
    out[latent ? OP_ATTENTION_DECODE : OP_MLA_MODULE_DECODE] = 0;
    out[OP_MOE] = out[OP_EXPERT_GEMM] = model->moe.n > 0 ? with_like(weight_dtypes) : 0;
}

static void learn_ceilings(struct imported_ceilings *out, const struct profile *profile)
{
    *out = (struct imported_ceilings){.launch_us = HUGE_VAL};
    for (int64_t i = 0; i < profile->n; i++) {
        const struct profile_point *point = &profile->points[i];
        const struct op *op = &point->op;
        if (!imported_takes(op) || op_is_collective(op->kind) || !(point->cost_us > 0))
            continue;
        out->launch_us = fmin(out->launch_us, point->cost_us);
        if (op->kind != OP_GEMM || (op->dtype != DTYPE_BF16 && op->dtype != DTYPE_F16))
            continue;
        out->flops = fmax(out->flops, op_flop(op) / point->cost_us * 1e6);
        out->bytes_per_s = fmax(out->bytes_per_s, op_bytes(op) / point->cost_us * 1e6);
    }
    if (isinf(out->launch_us))
        out->launch_us = 0;
}

struct imported_costs *imported_open(const struct profile *profile)
{
    bool any = false;
    for (int64_t i = 0; i < profile->n && !any; i++)
        any = imported_takes(&profile->points[i].op);
    struct imported_costs *imported = any ? calloc(1, sizeof *imported) : NULL;
    if (imported == NULL)
        return NULL;
    imported->grids = grids_open(profile);
    imported->exchanges = coll_lines_open(profile);
    learn_ceilings(&imported->ceilings, profile);
    return imported;
}

void imported_close(struct imported_costs *imported)
{
    if (imported == NULL)
        return;
    grids_close(imported->grids);
    coll_lines_close(imported->exchanges);
    free(imported);
}

bool imported_have(const struct imported_costs *imported, enum op_kind kind)
{
    return imported != NULL && grids_have(imported->grids, kind);
}

struct imported_ceilings imported_ceilings(const struct imported_costs *imported)
{
    return imported != NULL ? imported->ceilings : (struct imported_ceilings){0};
}

static void derive(struct cost *cost)
{
    cost->lo_us *= 1 - WIDEN_DERIVED;
    cost->hi_us *= 1 + WIDEN_DERIVED;
    if (cost->source != COST_ESTIMATED)
        cost->source = COST_DERIVED;
}

/* The op itself; where its type is not in the tables, as the next one of the same width; else as whatever type its
 * family has. */
static bool cost_of(struct cost *out, struct imported_costs *imported, const struct op *op)
{
    struct op other = *op;
    if (grids_name(imported->grids, op))
        return grids_cost(out, imported->grids, op);
    for (int i = 0; i < 2; i++) {
        other.dtype = like[op->dtype][i];
        if (!grids_name(imported->grids, &other) || !grids_cost(out, imported->grids, &other))
            continue;
        derive(out);
        return true;
    }
    return grids_cost(out, imported->grids, op);
}

/*
 * Experts of a rank under even routing. Tables measure the fullest rank, so that once every expert has rows (ROWS_EACH
 * of them at least) an even routing takes no longer than a skewed one; some rows that are called even are not, as
 * where routing in groups undid it (docs/method.md, "Imported costs").
 */
static bool even_experts(struct cost *out, struct imported_costs *imported, const struct op *op)
{
    const int64_t *skews = NULL;
    if (!cost_of(out, imported, op))
        return false;
    if (op->dim[3] >= op->dim[4] || op->dim[0] * op->dim[5] < ROWS_EACH * op->dim[4])
        return true;
    struct op skewed = *op;
    int n = grids_values(&skews, imported->grids, op, SKEW_AXIS);
    for (int i = 0; i < 2 && n == 0; i++) {
        skewed.dtype = like[op->dtype][i];
        n = grids_values(&skews, imported->grids, &skewed, SKEW_AXIS);
    }
    for (int i = 0; i < n; i++) {
        struct cost cost;
        skewed.dim[6] = skews[i];
        if (skews[i] == 0 || !cost_of(&cost, imported, &skewed) || cost.us >= out->us)
            continue;
        *out = cost;
        derive(out);
    }
    return true;
}

/* q queries behind cached keys: what the prompt takes more than its cached part alone. */
static bool prefill_behind(struct cost *out, struct imported_costs *imported, const struct op *op)
{
    struct op whole = *op;
    struct op cached = *op;
    struct op alone = *op;
    struct cost all;
    struct cost before;
    struct cost least;
    whole.dim[0] = op->dim[1];
    cached.dim[0] = cached.dim[1] = op->dim[1] - op->dim[0];
    alone.dim[1] = op->dim[0];
    if (!cost_of(&all, imported, &whole) || !cost_of(&before, imported, &cached)
            || !cost_of(&least, imported, &alone))
        return false;
    double us = fmax(all.us - before.us + imported->ceilings.launch_us, least.us);
    double off = fmax(all.hi_us / all.us, least.hi_us / least.us);
    *out = (struct cost){us, us / off, us * off, COST_DERIVED, 0};
    if (all.source == COST_ESTIMATED || before.source == COST_ESTIMATED)
        out->source = COST_ESTIMATED;
    derive(out);
    return true;
}

static bool quicker_reduce(struct cost *out, struct imported_costs *imported, const struct op *op)
{
    struct op own = *op;
    struct cost other;
    own.dim[1] = 1;
    bool library = coll_lines_cost(out, imported->exchanges, op);
    bool engine = coll_lines_cost(&other, imported->exchanges, &own);
    if (engine && (!library || other.us < out->us))
        *out = other;
    return library || engine;
}

static bool product(struct cost *out, struct imported_costs *imported, const struct op *op,
        int64_t n, int64_t k)
{
    struct op gemm = {.kind = OP_GEMM, .dtype = op->dtype, .degree = op->degree};
    gemm.dim[0] = op->dim[0];
    gemm.dim[1] = n;
    gemm.dim[2] = k;
    if (!cost_of(out, imported, &gemm))
        return false;
    derive(out);
    return true;
}

bool imported_cost(struct cost *out, struct imported_costs *imported, const struct op *asked)
{
    if (imported == NULL)
        return false;
    struct op op = *asked;
    op.busy = 0;
    if (op.kind == OP_LM_HEAD && !grids_have(imported->grids, OP_LM_HEAD))
        return product(out, imported, &op, op.dim[1], op.dim[2]);
    if (op.kind == OP_ROUTER)
        return product(out, imported, &op, op.dim[2], op.dim[1]);
    /* A key of a table asks for its own row; a step, for what the engine would call. */
    if (op.kind == OP_ALL_REDUCE && op.dim[1] == 0 && asked->busy != 0)
        return quicker_reduce(out, imported, &op);
    if (op_is_collective(op.kind))
        return coll_lines_cost(out, imported->exchanges, &op);
    bool behind = op.kind == OP_ATTENTION_PREFILL || op.kind == OP_MLA_MODULE_PREFILL;
    if (behind && op.dim[1] > op.dim[0] && !grids_have_cached(imported->grids, &op))
        return prefill_behind(out, imported, &op);
    /* As above: a step asks for what even routing takes, a key of a table for its own row. */
    if (op.kind == OP_MOE && op.dim[6] == 0 && asked->busy != 0)
        return even_experts(out, imported, &op);
    return cost_of(out, imported, &op);
}
