/*
 * rope - frequencies and scales of the rotary position embedding, plain and stretched.
 *
 * Formulas: transformers/modeling_rope_utils.py; YaRN from arXiv:2309.00071, its mscale from DeepSeek-V2's
 * modeling_deepseek.py. Computed in double and rounded once.
 */
#ifndef MODELS_ROPE_H
#define MODELS_ROPE_H

#include "models/model.h"

/* Rotated dimensions of a head: all of them, with MLA the rope part. */
int64_t rope_dims(const struct model *model);
/* [rope_dims / 2] radians per position. */
void rope_frequencies(float *out, const struct model *model);
/* What cosines and sines are multiplied by. */
double rope_scale(const struct model *model);
/* What products of queries and keys are multiplied by before the softmax. */
double rope_attention_scale(const struct model *model);

#endif
