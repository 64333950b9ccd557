/*
 * weights_copy - a slice of a tensor, converted and packed; f8 tensors times their scales.
 */
#include <string.h>

#include "models/safetensors.h"
#include "models/weights_state.h"

static void convert(void *out, enum dtype to, const char *data, enum dtype from, int64_t n)
{
    if (to == from) {
        memcpy(out, data, (size_t)(n * dtype_bytes(to)));
        return;
    }
    float *wide = out;
    uint16_t *narrow = out;
    if (to == DTYPE_F32)
        for (int64_t i = 0; i < n; i++)
            wide[i] = weights_stored(data, from, i);
    else if (to == DTYPE_BF16)
        for (int64_t i = 0; i < n; i++)
            narrow[i] = bf16_narrow(weights_stored(data, from, i));
    else
        for (int64_t i = 0; i < n; i++)
            narrow[i] = f16_narrow(weights_stored(data, from, i));
}

enum {
    PART = 512 /* elements that are widened at a time */
};

/* The values that a file of the tensor's dtype would hold, as `to`. */
static void make(void *out, enum dtype to, const struct named *t, int64_t first, int64_t n)
{
    enum dtype held = t->tensor.dtype;
    float wide[PART], file[PART];

    if (to == held && to == DTYPE_F32) {
        random_f32(out, &t->random, first, n);
        return;
    }
    if (to == held && to == DTYPE_BF16) {
        random_bf16(out, &t->random, first, n);
        return;
    }
    for (char *at = out; n > 0; at += (int64_t)PART * dtype_bytes(to), first += PART, n -= PART) {
        int64_t m = n < PART ? n : PART;
        random_f32(wide, &t->random, first, m);
        convert(file, held, (const char *)wide, DTYPE_F32, m);
        convert(at, to, (const char *)file, held, m);
    }
}

static void widen(void *out, enum dtype to, const struct named *t, int64_t first, int64_t n)
{
    float wide[PART];

    for (char *at = out; n > 0; at += (int64_t)PART * dtype_bytes(to), first += PART, n -= PART) {
        int64_t m = n < PART ? n : PART;
        weights_widen_f8(wide, t, first, m);
        convert(at, to, (const char *)wide, DTYPE_F32, m);
    }
}

bool weights_dtype(enum dtype dtype)
{
    return dtype == DTYPE_F32 || dtype == DTYPE_BF16 || dtype == DTYPE_F16;
}

/* The tensor, and how many columns its rows have. NULL where the slice does not lie in it. */
static const struct named *find(const struct weights *weights, const char *name, enum dtype dtype,
        struct slice_2d slice, int64_t *columns, struct err *err)
{
    const struct named *t = weights_named(weights, name);

    if (!t) {
        err_set(err, ERR_BUG, "%s: no tensor %s", weights->dir, name);
        return NULL;
    }
    if (!weights_dtype(dtype)) {
        err_set(err, ERR_BUG, "%s: tensor %s asked for as %s, only f32, bf16 and f16 are made",
                weights->dir, name, dtype_names[dtype]);
        return NULL;
    }
    int64_t cols = t->tensor.n_dims > 0 ? t->tensor.dim[t->tensor.n_dims - 1] : 1;
    int64_t rows = safetensors_elements(t->tensor.dim, t->tensor.n_dims) / (cols > 0 ? cols : 1);
    if (slice.row < 0 || slice.rows < 0 || slice.row > rows - slice.rows || slice.col < 0
            || slice.cols < 0 || slice.col > cols - slice.cols) {
        err_set(err, ERR_BUG,
                "%s: tensor %s is %lld x %lld, asked for rows %lld+%lld, columns %lld+%lld",
                weights->dir, name, (long long)rows, (long long)cols, (long long)slice.row,
                (long long)slice.rows, (long long)slice.col, (long long)slice.cols);
        return NULL;
    }
    *columns = cols;
    return t;
}

/* Elements [first, first + n) of a tensor. */
static void take(void *out, enum dtype dtype, const struct weights *weights, const struct named *t,
        int64_t first, int64_t n)
{
    if (weights->random)
        make(out, dtype, t, first, n);
    else if (t->tensor.dtype == DTYPE_F8)
        widen(out, dtype, t, first, n);
    else
        convert(out, dtype, (const char *)t->tensor.data + first * dtype_bytes(t->tensor.dtype),
                t->tensor.dtype, n);
}

bool weights_copy(void *out, enum dtype dtype, const struct weights *weights, const char *name,
        struct slice_2d slice, struct err *err)
{
    int64_t cols = 0, runs = slice.rows, len = slice.cols;
    const struct named *t = find(weights, name, dtype, slice, &cols, err);

    if (!t)
        return false;
    if (slice.cols == cols) { /* whole rows lie together */
        runs = 1;
        len = slice.rows * cols;
    }
    for (int64_t i = 0; i < runs; i++)
        take((char *)out + i * len * dtype_bytes(dtype), dtype, weights, t,
                (slice.row + i) * cols + slice.col, len);
    return true;
}

/* Elements that a row gives at once: as many lines of out stay in the first-level cache while rows fill them. */
#define TURN_RUN 256

bool weights_copy_turned(void *out, enum dtype dtype, const struct weights *weights,
        const char *name, struct slice_2d slice, int64_t step, struct err *err)
{
    struct slice_2d span = slice;
    int64_t cols = 0, each = TURN_RUN / step;
    float wide[TURN_RUN] = {0}, *wide_out = out;
    uint16_t narrow[TURN_RUN] = {0}, *narrow_out = out;

    span.cols = slice.cols > 0 ? (slice.cols - 1) * step + 1 : 0;
    const struct named *t = find(weights, name, dtype, span, &cols, err);
    if (!t)
        return false;
    for (int64_t c = 0; c < slice.cols; c += each) {
        int64_t n = slice.cols - c < each ? slice.cols - c : each;
        for (int64_t r = 0; r < slice.rows; r++) {
            int64_t first = (slice.row + r) * cols + slice.col + c * step;
            if (dtype == DTYPE_F32) {
                take(wide, dtype, weights, t, first, (n - 1) * step + 1);
                for (int64_t i = 0; i < n; i++)
                    wide_out[(c + i) * slice.rows + r] = wide[i * step];
            } else {
                take(narrow, dtype, weights, t, first, (n - 1) * step + 1);
                for (int64_t i = 0; i < n; i++)
                    narrow_out[(c + i) * slice.rows + r] = narrow[i * step];
            }
        }
    }
    return true;
}
