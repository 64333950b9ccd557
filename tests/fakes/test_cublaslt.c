/*
 * kernels/cuda/gemm_*.c against a stand-in for cuBLASLt that computes what the descriptors say. The kernels around the
 * library are plain C here; tests/emulate runs the real ones.
 */
#include <dlfcn.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <cuda_runtime_api.h>

#include "core/half.h"
#include "kernels/cuda/gemm.h"
#include "kernels/ref/ref.h"
#include "kernels/scale.h"
#include "tests/fakes/fake_cublaslt.h"

static struct fake_cublaslt *fake;
static int own; /* products that the library did not get */
static bool capturing;

/* ---- the CUDA runtime ---- */

struct event {
    double ms;
};

cudaError_t cudaEventCreate(cudaEvent_t *out)
{
    *out = calloc(1, sizeof(struct event));
    return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event)
{
    free(event);
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream)
{
    (void)stream;
    ((struct event *)(void *)event)->ms = fake->clock_ms;
    return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
    (void)event;
    return cudaSuccess;
}

cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t begin, cudaEvent_t end)
{
    *ms = (float)(((struct event *)(void *)end)->ms - ((struct event *)(void *)begin)->ms);
    return cudaSuccess;
}

cudaError_t cudaStreamIsCapturing(cudaStream_t stream, enum cudaStreamCaptureStatus *out)
{
    (void)stream;
    *out = capturing ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
    return cudaSuccess;
}

cudaError_t cudaMalloc(void **out, size_t bytes)
{
    (void)bytes;
    *out = malloc(1); /* the workspace, which nobody here touches */
    return cudaSuccess;
}

cudaError_t cudaFree(void *memory)
{
    free(memory);
    return cudaSuccess;
}

/* ---- the kernels ---- */

void cuda_to_bf16(const struct cuda_on *on, void *out, const float *in, int64_t rows, int64_t cols,
        int64_t ld)
{
    (void)on;
    for (int64_t i = 0; i < rows * cols; i++)
        ((uint16_t *)out)[i] = bf16_narrow(in[i / cols * ld + i % cols]);
}

void cuda_to_f8(const struct cuda_on *on, const struct cuda_f8 *to, const float *in, int64_t rows,
        int64_t cols, int64_t ld)
{
    (void)on;
    for (int64_t row = 0; row < rows; row++)
        for (int64_t begin = 0; begin < cols; begin += to->columns) {
            int64_t end = begin + to->columns < cols ? begin + to->columns : cols;
            float most = 0;
            for (int64_t i = begin; i < end; i++)
                most = fmaxf(most, fabsf(in[row * ld + i]));
            to->scale[begin / to->columns * rows + row] = most / F8_MOST;
            for (int64_t i = begin; i < end; i++)
                ((uint8_t *)to->out)[row * cols + i] =
                        f8_narrow(in[row * ld + i] / (most / F8_MOST));
        }
}

void cuda_gemm_finish(const struct cuda_on *on, const struct cuda_finish *f)
{
    (void)on;
    for (int64_t i = 0; i < f->m; i++)
        for (int64_t j = 0; j < f->n; j++) {
            float *y = &f->y[i * f->ldy + j];
            *y *= (f->x_scale ? f->x_scale[i] : 1) * (f->w_scale ? f->w_scale[j] : 1);
            *y += f->bias ? f->bias[j] : 0;
        }
}

void cuda_gemm_own(const struct cuda_on *on, const struct op *op, const struct gemm_args *args)
{
    (void)on;
    own++;
    ref_gemm(op, &(struct op_args){.gemm = *args});
}

/* ---- the tests ---- */

enum {
    M = 7,
    N = 144,
    K = 272,
    LD = 280,
    ROOM = 1 << 20
};

struct fixture {
    struct cuda_gemm *gemm;
    struct cuda_on on;
    _Alignas(16) char room[CUDA_ROOM_COUNT][ROOM];
    _Alignas(16) float x[M * LD], y[M * LD], expected[M * LD], w_scale[2 * N], bias[N];
    _Alignas(16) char w[4 * N * K];
};

static void *room(void *self, enum cuda_room which, int64_t bytes)
{
    struct fixture *f = self;
    return bytes <= ROOM ? f->room[which] : NULL;
}

static void open_gemm(struct fixture *f)
{
    const char *why = NULL;
    f->gemm = cuda_gemm_open(&why);
    if (f->gemm == NULL)
        fail_msg("%s", why);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    *fake = (struct fake_cublaslt){.ms = {0, 3, 2, 1, 4}};
    own = 0;
    capturing = false;
    f->on = (struct cuda_on){.room = room, .self = f};
    for (int i = 0; i < M * LD; i++)
        f->x[i] = sinf((float)i) * (float)(1 + i % 300);
    for (int i = 0; i < 2 * N; i++)
        f->w_scale[i] = 0.01f * (float)(1 + i % 5);
    for (int i = 0; i < N; i++)
        f->bias[i] = (float)i;
    open_gemm(f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    cuda_gemm_close(f->gemm);
    assert_int_equal(fake->open, 0);
    free(f);
    return 0;
}

static struct gemm_args args_of(struct fixture *f, enum dtype dtype, bool bias)
{
    for (int i = 0; i < N * K; i++) {
        float value = cosf((float)i);
        if (dtype == DTYPE_F32)
            ((float *)(void *)f->w)[i] = value;
        else if (dtype == DTYPE_BF16)
            ((uint16_t *)(void *)f->w)[i] = bf16_narrow(value);
        else
            f->w[i] = (char)f8_narrow(400 * value);
    }
    return (struct gemm_args){.x = f->x,
            .ldx = LD,
            .w = f->w,
            .w_scale = scale_wanted(dtype) ? f->w_scale : NULL,
            .bias = bias ? f->bias : NULL,
            .y = f->y,
            .ldy = LD};
}

/* |y - reference| / |reference| */
static double error_of(struct fixture *f, const struct op *op, const struct gemm_args *args)
{
    struct op_args reference = {.gemm = *args};
    double off = 0, square = 0;
    reference.gemm.y = f->expected;
    ref_gemm(op, &reference);
    for (int i = 0; i < M; i++)
        for (int j = 0; j < op->dim[1]; j++) {
            double want = (double)f->expected[i * LD + j];
            off += pow((double)f->y[i * LD + j] - want, 2);
            square += want * want;
        }
    return sqrt(off / square);
}

static double run(struct fixture *f, enum dtype dtype, bool bias)
{
    struct op op = {OP_GEMM, dtype, 1, 1, {M, N, K}};
    struct gemm_args args = args_of(f, dtype, bias);
    memset(f->y, 0xff, sizeof f->y);
    const char *why = cuda_gemm_run(f->gemm, &f->on, &op, &args);
    if (why != NULL)
        fail_msg("%s", why);
    return error_of(f, &op, &args);
}

static void products_are_those_of_the_reference(void **state)
{
    static const struct {
        enum dtype dtype;
        double most;
    } cases[] = {{DTYPE_F32, 1e-5}, {DTYPE_BF16, 1e-2}, {DTYPE_F8, 5e-2}, {DTYPE_F8_BLOCK, 5e-2}};
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int bias = 0; bias < 2; bias++)
            assert_true(run(f, cases[i].dtype, bias) <= cases[i].most);
    assert_int_equal(own, 0);
}

static void the_fastest_algorithm_is_kept(void **state)
{
    struct fixture *f = *state;
    struct algorithm found;
    run(f, DTYPE_BF16, false);
    assert_int_equal(fake->last, 3);
    assert_int_equal(fake->asked, 1);
    int started = fake->started;
    run(f, DTYPE_BF16, false);
    assert_int_equal(fake->asked, 1);
    assert_int_equal(fake->started, started + 1);
    assert_true(cuda_gemm_timed(f->gemm, 0, &found));
    assert_int_equal(found.shape.m, M);
    assert_int_equal(found.shape.form, FORM_PLAIN);
    assert_true(fabs(found.us - 1000) < 1e-6);
    assert_false(cuda_gemm_timed(f->gemm, 1, &found));
    run(f, DTYPE_BF16, true); /* another form is another choice */
    assert_int_equal(fake->asked, 2);
    assert_true(cuda_gemm_timed(f->gemm, 1, &found));
    assert_int_equal(found.shape.form, FORM_BIAS);
}

static void one_that_was_told_is_not_timed(void **state)
{
    struct fixture *f = *state;
    struct algorithm found;
    run(f, DTYPE_F8, false);
    assert_true(cuda_gemm_timed(f->gemm, 0, &found));
    cuda_gemm_close(f->gemm);
    open_gemm(f);
    fake->asked = fake->started = 0;
    cuda_gemm_prefer(f->gemm, &found);
    assert_true(run(f, DTYPE_F8, false) <= 5e-2);
    assert_int_equal(fake->asked, 0);
    assert_int_equal(fake->started, 1);
    assert_int_equal(fake->last, 3);
    assert_false(cuda_gemm_timed(f->gemm, 0, &found)); /* nothing new to store */
}

static void one_that_was_told_in_vain_is_chosen_anew(void **state)
{
    struct fixture *f = *state;
    struct algorithm found, again;
    run(f, DTYPE_BF16, false);
    assert_true(cuda_gemm_timed(f->gemm, 0, &found));
    cuda_gemm_close(f->gemm);
    open_gemm(f);
    fake->broken = 3;
    cuda_gemm_prefer(f->gemm, &found);
    assert_true(run(f, DTYPE_BF16, false) <= 1e-2);
    assert_int_equal(fake->last, 2);
    assert_true(cuda_gemm_timed(f->gemm, 0, &again));
    assert_int_not_equal(again.bytes[0], found.bytes[0]);
}

/* With scales for the tensor alone, those of rows are applied afterwards; those of blocks cannot be. */
static void a_library_without_scales(void **state)
{
    struct fixture *f = *state;
    for (int old = 0; old < 2; old++) {
        own = 0;
        fake->no_scales = !old;
        fake->old = old;
        assert_true(run(f, DTYPE_F8, true) <= 5e-2);
        assert_int_equal(own, 0);
        assert_true(run(f, DTYPE_F8_BLOCK, false) <= 1e-5);
        assert_int_equal(own, 1);
        int asked = fake->asked;
        run(f, DTYPE_F8_BLOCK, false); /* it is not asked twice */
        assert_int_equal(fake->asked, asked);
        cuda_gemm_close(f->gemm);
        open_gemm(f);
    }
}

static void what_the_library_does_not_take_is_computed(void **state)
{
    struct fixture *f = *state;
    struct op op = {OP_GEMM, DTYPE_F8, 1, 1, {M, N, K - 2}};
    struct gemm_args args = args_of(f, DTYPE_F8, false);
    assert_null(cuda_gemm_run(f->gemm, &f->on, &op, &args));
    assert_int_equal(own, 1);
    assert_true(error_of(f, &op, &args) == 0);
    op.dim[2] = K;
    args.y = f->y + 1; /* not at a multiple of 16 bytes */
    assert_null(cuda_gemm_run(f->gemm, &f->on, &op, &args));
    assert_int_equal(own, 2);
}

static void nothing_is_timed_while_a_graph_is_recorded(void **state)
{
    struct fixture *f = *state;
    struct algorithm found;
    capturing = true;
    assert_true(run(f, DTYPE_BF16, false) <= 1e-2);
    assert_int_equal(fake->started, 1);
    assert_false(cuda_gemm_timed(f->gemm, 0, &found));
}

static void a_failure_is_told(void **state)
{
    struct fixture *f = *state;
    struct op op = {OP_GEMM, DTYPE_BF16, 1, 1, {M, N, K}};
    struct gemm_args args = args_of(f, DTYPE_BF16, false);
    run(f, DTYPE_BF16, false);
    fake->broken = 3;
    assert_string_equal(
            cuda_gemm_run(f->gemm, &f->on, &op, &args), "cuBLASLt: Matmul failed with status 15");
    fake->broken = 0;
}

int main(void)
{
    void *handle = dlopen(FAKE, RTLD_NOW | RTLD_LOCAL); /* the same instance that gemm_lt.c opens */
    struct fake_cublaslt *(*find)(void) = NULL;
    void *found = handle == NULL ? NULL : dlsym(handle, "fake_cublaslt_state");
    if (found == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        return 1;
    }
    memcpy(&find, &found, sizeof found);
    fake = find();
    const struct CMUnitTest tests[] = {
            cmocka_unit_test_setup_teardown(products_are_those_of_the_reference, setup, teardown),
            cmocka_unit_test_setup_teardown(the_fastest_algorithm_is_kept, setup, teardown),
            cmocka_unit_test_setup_teardown(one_that_was_told_is_not_timed, setup, teardown),
            cmocka_unit_test_setup_teardown(
                    one_that_was_told_in_vain_is_chosen_anew, setup, teardown),
            cmocka_unit_test_setup_teardown(a_library_without_scales, setup, teardown),
            cmocka_unit_test_setup_teardown(
                    what_the_library_does_not_take_is_computed, setup, teardown),
            cmocka_unit_test_setup_teardown(
                    nothing_is_timed_while_a_graph_is_recorded, setup, teardown),
            cmocka_unit_test_setup_teardown(a_failure_is_told, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
