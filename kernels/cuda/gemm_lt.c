/*
 * The library is opened by name when the first product needs it, so that the module loads without it.
 */
#include "kernels/cuda/gemm_lt.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/scale.h"

static _Thread_local char text[256];

const char *gemm_failed(const char *what, cublasStatus_t status)
{
    snprintf(text, sizeof text, "cuBLASLt: %s failed with status %d", what, (int)status);
    return text;
}

static const char *load(struct library *lt)
{
    static const char *const names[] = {"libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so"};
    const char *asked = getenv("SHARDWRIGHT_CUBLASLT_LIBRARY");
    if (asked != NULL)
        lt->handle = dlopen(asked, RTLD_NOW | RTLD_LOCAL);
    for (int i = 0; asked == NULL && lt->handle == NULL && i < 3; i++)
        lt->handle = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
    if (lt->handle == NULL)
        return "libcublasLt.so was not found: install cuBLAS (libcublas) of the CUDA toolkit";
    void *found = NULL;
#define FIND(name)                                    \
    found = dlsym(lt->handle, "cublasLt" #name);      \
    if (found == NULL)                                \
        return "libcublasLt.so lacks cublasLt" #name; \
    memcpy(&lt->name, &found, sizeof found);
    FUNCTIONS(FIND)
#undef FIND
    return NULL;
}

static const char *prepare(struct cuda_gemm *gemm)
{
    const char *why = load(&gemm->lt);
    if (why != NULL)
        return why;
    size_t version = gemm->lt.GetVersion();
    snprintf(gemm->version, sizeof gemm->version, "cuBLASLt %zu.%zu.%zu", version / 10000,
            version / 100 % 100, version % 100);
    LT_TRY(gemm, Create, &gemm->handle);
    if (cudaEventCreate(&gemm->begin) != cudaSuccess || cudaEventCreate(&gemm->end) != cudaSuccess)
        return "the events that time algorithms could not be made";
    if (cudaMalloc(&gemm->workspace, WORKSPACE_BYTES) != cudaSuccess)
        return "not enough GPU memory for the 32 MiB workspace of cuBLASLt";
    return NULL;
}

struct cuda_gemm *cuda_gemm_open(const char **why)
{
    struct cuda_gemm *gemm = calloc(1, sizeof *gemm);
    *why = gemm == NULL ? "not enough memory" : prepare(gemm);
    if (*why == NULL)
        return gemm;
    cuda_gemm_close(gemm);
    return NULL;
}

void cuda_gemm_close(struct cuda_gemm *gemm)
{
    if (gemm == NULL)
        return;
    if (gemm->handle != NULL)
        gemm->lt.Destroy(gemm->handle);
    cudaFree(gemm->workspace);
    if (gemm->begin != NULL)
        cudaEventDestroy(gemm->begin);
    if (gemm->end != NULL)
        cudaEventDestroy(gemm->end);
    if (gemm->lt.handle != NULL)
        dlclose(gemm->lt.handle);
    free(gemm);
}

const char *cuda_gemm_version(const struct cuda_gemm *gemm)
{
    return gemm->version;
}

/* The activations in the type of the weights; `on` has the room. */
static const char *convert(
        struct gemm_request *r, const struct cuda_on *on, const struct gemm_args *args)
{
    const struct algorithm_shape *s = &r->shape;
    bool f8 = scale_wanted((enum dtype)s->dtype);
    if (s->dtype == DTYPE_F32)
        return NULL;
    void *narrow = on->room(on->self, CUDA_ROOM_NARROW, (f8 ? 1 : 2) * s->m * s->k);
    int64_t columns = s->dtype == DTYPE_F8_BLOCK ? SCALE_BLOCK : s->k;
    float *scale = NULL;
    if (f8)
        scale = on->room(on->self, CUDA_ROOM_SCALES, 4 * s->m * ((s->k + columns - 1) / columns));
    if (narrow == NULL || (f8 && scale == NULL))
        return "not enough GPU memory for the activations in the type of the weights";
    if (f8)
        cuda_to_f8(on, &(struct cuda_f8){narrow, scale, columns}, args->x, s->m, s->k, args->ldx);
    else
        cuda_to_bf16(on, narrow, args->x, s->m, s->k, args->ldx);
    r->x = narrow;
    r->x_scale = scale;
    return NULL;
}

/* One that was told may be of no use here: then it is chosen as if nobody had said anything. */
static const char *multiply(bool *done, struct cuda_gemm *gemm, const struct gemm_request *r)
{
    struct gemm_product p = {0};
    struct known *known = gemm_find(gemm, &r->shape);
    const char *why = gemm_describe(gemm, &p, r);
    if (why == NULL && known != NULL)
        why = gemm_start(gemm, &p, r, &known->algorithm);
    *done = why == NULL && known != NULL;
    if (known != NULL && known->told && !*done) {
        known = NULL;
        why = NULL;
    }
    if (why == NULL && known == NULL) {
        why = gemm_choose(&known, gemm, &p, r);
        if (why == NULL && !known->refused) {
            why = gemm_start(gemm, &p, r, &known->algorithm);
            *done = why == NULL;
        }
    }
    gemm_forget(gemm, &p);
    return why;
}

/* *done tells whether the library took it. An older library may not even know the attributes of f8. */
static const char *attempt(bool *done, struct cuda_gemm *gemm, const struct cuda_on *on,
        struct gemm_request *r, enum algorithm_form form)
{
    r->shape.form = (int32_t)form;
    const struct known *known = gemm_find(gemm, &r->shape);
    *done = false;
    if (known != NULL && known->refused)
        return NULL;
    const char *why = convert(r, on, r->args);
    if (why == NULL)
        why = multiply(done, gemm, r);
    if (why == NULL || form < FORM_SCALED)
        return why;
    gemm_refuse(gemm, &r->shape);
    return NULL;
}

static const char *run_f8(
        bool *done, struct cuda_gemm *gemm, const struct cuda_on *on, struct gemm_request *r)
{
    const struct gemm_args *args = r->args;
    struct cuda_finish finish = {
            args->y, args->ldy, r->shape.m, r->shape.n, NULL, NULL, args->bias};
    const char *why = attempt(done, gemm, on, r, FORM_SCALED);
    if (why == NULL && !*done && r->shape.dtype == DTYPE_F8) {
        why = attempt(done, gemm, on, r, FORM_SCALED_AFTER);
        finish.x_scale = r->x_scale;
        finish.w_scale = args->w_scale;
    }
    if (*done && (finish.bias != NULL || finish.w_scale != NULL))
        cuda_gemm_finish(on, &finish);
    return why;
}

static bool aligned(const void *p)
{
    return (uintptr_t)p % 16 == 0;
}

const char *cuda_gemm_run(struct cuda_gemm *gemm, const struct cuda_on *on, const struct op *op,
        const struct gemm_args *args)
{
    bool f8 = scale_wanted(op->dtype), done = false;
    struct gemm_request r = {.args = args, .x = args->x, .stream = (cudaStream_t)on->stream};
    r.shape = (struct algorithm_shape){.m = op->dim[0],
            .n = op->dim[1],
            .k = op->dim[2],
            .ldx = op->dtype == DTYPE_F32 ? args->ldx : op->dim[2],
            .ldy = args->ldy,
            .dtype = (int32_t)op->dtype};
    const char *why = NULL;
    if (aligned(args->w) && aligned(args->y) && (op->dtype != DTYPE_F32 || aligned(args->x)))
        why = f8 ? run_f8(&done, gemm, on, &r)
                 : attempt(&done, gemm, on, &r, args->bias == NULL ? FORM_PLAIN : FORM_BIAS);
    if (why == NULL && !done)
        cuda_gemm_own(on, op, args);
    return why;
}
