/*
 * The fastest of the algorithms that cuBLASLt's heuristic names for a shape is kept: asking takes longer than a small
 * product, and its first answer is not always the best. One that was told is used without timing.
 */
#include <math.h>
#include <string.h>

#include "kernels/cuda/gemm_lt.h"

#define CANDIDATES 8
#define TRIES      3
#define ALIGNMENT  16 /* of every operand (gemm_lt.c) */

_Static_assert(sizeof(cublasLtMatmulAlgo_t) <= ALGORITHM_BYTES, "an algorithm can be kept");

/* Milliseconds of TRIES products, the first left out; infinite when it cannot run. */
static float time_algorithm(struct cuda_gemm *gemm, const struct gemm_product *p,
        const struct gemm_request *r, const cublasLtMatmulAlgo_t *algorithm)
{
    float ms = 0;
    bool ok = gemm_start(gemm, p, r, algorithm) == NULL
              && cudaEventRecord(gemm->begin, r->stream) == cudaSuccess;
    for (int i = 0; ok && i < TRIES; i++)
        ok = gemm_start(gemm, p, r, algorithm) == NULL;
    ok = ok && cudaEventRecord(gemm->end, r->stream) == cudaSuccess
         && cudaEventSynchronize(gemm->end) == cudaSuccess
         && cudaEventElapsedTime(&ms, gemm->begin, gemm->end) == cudaSuccess;
    return ok ? ms : INFINITY;
}

/* While the stream records a graph nothing can be timed. */
static bool can_time(cudaStream_t stream)
{
    enum cudaStreamCaptureStatus status = cudaStreamCaptureStatusActive;
    return cudaStreamIsCapturing(stream, &status) == cudaSuccess
           && status == cudaStreamCaptureStatusNone;
}

static void fastest(struct known *slot, struct cuda_gemm *gemm, const struct gemm_product *p,
        const struct gemm_request *r, const cublasLtMatmulHeuristicResult_t *found, int n)
{
    float least = INFINITY;
    int best = 0;
    for (int i = 0; can_time(r->stream) && i < n; i++) {
        float ms = time_algorithm(gemm, p, r, &found[i].algo);
        if (ms < least) {
            least = ms;
            best = i;
        }
    }
    slot->algorithm = found[best].algo;
    slot->us = (double)least * 1000 / TRIES;
}

struct known *gemm_find(struct cuda_gemm *gemm, const struct algorithm_shape *shape)
{
    for (int i = 0; i < gemm->n_known; i++)
        if (algorithm_same_shape(&gemm->known[i].shape, shape))
            return &gemm->known[i];
    return NULL;
}

/* The slot of a shape, emptied. */
static struct known *slot_of(struct cuda_gemm *gemm, const struct algorithm_shape *shape)
{
    struct known *slot = gemm_find(gemm, shape);
    if (slot == NULL)
        slot = &gemm->known[gemm->n_known < MOST_SHAPES ? gemm->n_known++ : 0];
    *slot = (struct known){.shape = *shape, .us = (double)INFINITY};
    return slot;
}

void gemm_refuse(struct cuda_gemm *gemm, const struct algorithm_shape *shape)
{
    slot_of(gemm, shape)->refused = true;
}

static const char *ask(cublasLtMatmulHeuristicResult_t *found, int *n, struct cuda_gemm *gemm,
        const struct gemm_product *p, cublasLtMatmulPreference_t preference)
{
    static const cublasLtMatmulPreferenceAttributes_t operands[] = {
            CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
            CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES};
    uint64_t bytes = WORKSPACE_BYTES;
    uint32_t alignment = ALIGNMENT;
    int wanted = *n;
    LT_TRY(gemm, MatmulPreferenceSetAttribute, preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
            &bytes, sizeof bytes);
    for (size_t i = 0; i < sizeof operands / sizeof *operands; i++)
        LT_TRY(gemm, MatmulPreferenceSetAttribute, preference, operands[i], &alignment,
                sizeof alignment);
    *n = 0;
    cublasStatus_t status = gemm->lt.MatmulAlgoGetHeuristic(
            gemm->handle, p->desc, p->w, p->x, p->y, p->y, preference, wanted, found, n);
    if (status == CUBLAS_STATUS_NOT_SUPPORTED)
        *n = 0; /* its way to say that there is none */
    else if (status != CUBLAS_STATUS_SUCCESS)
        return gemm_failed("MatmulAlgoGetHeuristic", status);
    return NULL;
}

const char *gemm_choose(struct known **out, struct cuda_gemm *gemm, const struct gemm_product *p,
        const struct gemm_request *r)
{
    cublasLtMatmulHeuristicResult_t found[CANDIDATES];
    cublasLtMatmulPreference_t preference = NULL;
    int n = can_time(r->stream) ? CANDIDATES : 1;
    LT_TRY(gemm, MatmulPreferenceCreate, &preference);
    const char *why = ask(found, &n, gemm, p, preference);
    gemm->lt.MatmulPreferenceDestroy(preference);
    if (why != NULL)
        return why;
    *out = slot_of(gemm, &r->shape);
    (*out)->refused = n == 0;
    if (n > 0)
        fastest(*out, gemm, p, r, found, n);
    return NULL;
}

void cuda_gemm_prefer(struct cuda_gemm *gemm, const struct algorithm *algorithm)
{
    if (gemm_find(gemm, &algorithm->shape) != NULL || gemm->n_known == MOST_SHAPES)
        return;
    struct known *slot = slot_of(gemm, &algorithm->shape);
    memcpy(&slot->algorithm, algorithm->bytes, sizeof slot->algorithm);
    slot->told = true;
    slot->us = algorithm->us;
}

bool cuda_gemm_timed(const struct cuda_gemm *gemm, int i, struct algorithm *out)
{
    for (int at = 0; at < gemm->n_known; at++) {
        const struct known *known = &gemm->known[at];
        if (known->refused || known->told || !isfinite(known->us) || i-- > 0)
            continue;
        memset(out, 0, sizeof *out);
        out->shape = known->shape;
        memcpy(out->bytes, &known->algorithm, sizeof known->algorithm);
        out->us = known->us;
        return true;
    }
    return false;
}
