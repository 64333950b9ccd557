/*
 * engine_moe - the pieces that both ways through the experts share. Private to the engine.
 */
#ifndef RUNTIME_ENGINE_MOE_H
#define RUNTIME_ENGINE_MOE_H

#include "runtime/engine.h"

/* Rows of WORK_H: their experts and weights into WORK_EXPERT and WORK_EXPERT_WEIGHT, from entry 0 on. */
void moe_router(struct engine *engine, const struct layer_weights *layer, struct slice rows);
/* Those rows in order of experts into WORK_ROWS; offsets[experts + 1] says where each begins. */
void moe_permute(struct engine *engine, struct slice rows, struct slice experts, int32_t *offsets);
/* tokens: rows of the step that reach these experts, spread evenly; the offsets say how many really do. */
void moe_experts(struct engine *engine, const struct layer_weights *layer, int64_t tokens,
        const int32_t *offsets, void *rows, void *out);
/* The weighted sum of each of `rows` tokens. */
void moe_combine(
        struct engine *engine, int64_t rows, int64_t local, const struct combine_args *combine);
/* The shared expert, if there is one: its output into WORK_R, where combining adds to it. On deterministic devices
 * that is the sum over the tensor group, else this rank's part of it. */
bool moe_shared(struct engine *engine, const struct layer_weights *layer);
/* Several attention-dp groups: rows travel to their experts and back. Leaves WORK_R of all rows. */
void moe_spread(struct engine *engine, const struct layer_weights *layer);

#endif
