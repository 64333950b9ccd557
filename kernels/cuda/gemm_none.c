/* A build without the headers of cuBLASLt: the module computes products itself. */
#include "kernels/cuda/gemm.h"

#include <stddef.h>

struct cuda_gemm *cuda_gemm_open(const char **why)
{
    *why = "this build has no cuBLASLt: install its headers and build again";
    return NULL;
}

void cuda_gemm_close(struct cuda_gemm *gemm)
{
    (void)gemm;
}

const char *cuda_gemm_version(const struct cuda_gemm *gemm)
{
    (void)gemm;
    return "none";
}

void cuda_gemm_prefer(struct cuda_gemm *gemm, const struct algorithm *algorithm)
{
    (void)gemm;
    (void)algorithm;
}

bool cuda_gemm_timed(const struct cuda_gemm *gemm, int i, struct algorithm *out)
{
    (void)gemm;
    (void)i;
    (void)out;
    return false;
}

const char *cuda_gemm_run(struct cuda_gemm *gemm, const struct cuda_on *on, const struct op *op,
        const struct gemm_args *args)
{
    (void)gemm;
    (void)on;
    (void)op;
    (void)args;
    return "this build has no cuBLASLt";
}
