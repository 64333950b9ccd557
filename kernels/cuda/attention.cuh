// Attention over a paged cache, for both kinds of it (op_attention.cu, op_mla.cu).
#pragma once

#include "kernels/cuda/attend.cuh"
#include "kernels/cuda/launch.h"

struct attend_run {
    enum dtype dtype; // of the cache
    int n_seqs;
    int64_t kv_len; // about: decides how far keys are split
    int dqk, dv;
};

// Fills in block_shift, splits and part of the arguments.
const char *attention_run(
        const struct cuda_on *on, const struct attend_args *args, const struct attend_run *run);
