/*
 * op_read - the text that op_show writes, back to an op.
 *
 *   gemm bf16 m=8 n=1024 k=3072            all_reduce f32 bytes=4096 ranks=2
 *
 * Kind and type come first; sizes by the names of op_dim_name, in any order. threads (ranks of a collective), busy and
 * nodes may follow; without them threads=1 busy=0. Sizes that only imports have may be left out, others not.
 */
#ifndef CORE_SPEC_OP_READ_H
#define CORE_SPEC_OP_READ_H

#include "core/spec/op.h"

/* Whether the first word is the name of a kind: the text is meant to be an op. */
bool op_read_meant(const char *text);
/* ERR_INPUT without a place: what was found and what was expected. */
MUST_CHECK bool op_read(struct op *out, const char *text, struct err *err);

#endif
