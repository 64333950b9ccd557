/*
 * weights_scales - f8 tensors: which tensor holds the scales of which, and how far each scale reaches. The shape
 * alone tells, because names differ from one tool that quantises to the next.
 */
#include "models/safetensors.h"
#include "models/weights_state.h"

enum {
    BLOCK = 128
};

static int64_t blocks(int64_t n)
{
    return (n + BLOCK - 1) / BLOCK;
}

/* Folded as weights_copy does: all dimensions but the last are rows. */
static void matrix_of(int64_t *rows, int64_t *cols, const struct tensor *t)
{
    int64_t n = safetensors_elements(t->dim, t->n_dims);

    *cols = t->n_dims > 0 ? t->dim[t->n_dims - 1] : 1;
    *rows = *cols > 0 ? n / *cols : 0;
}

/* false for a shape that says nothing. */
static bool reach_of(struct f8_scales *out, const struct tensor *scales, int64_t rows, int64_t cols)
{
    int64_t n = safetensors_elements(scales->dim, scales->n_dims);

    if (n == 1) {
        *out = (struct f8_scales){*scales, rows, cols, 1};
        return true;
    }
    if (n == rows && (scales->n_dims == 1 || scales->dim[scales->n_dims - 1] == 1)) {
        *out = (struct f8_scales){*scales, 1, cols, 1};
        return true;
    }
    *out = (struct f8_scales){*scales, BLOCK, BLOCK, blocks(cols)};
    return scales->n_dims == 2 && scales->dim[0] == blocks(rows) && scales->dim[1] == blocks(cols);
}

static const struct named *scales_of(struct weights *w, const struct named *t)
{
    const struct named *found = weights_named(w, arena_printf(&w->arena, "%s_scale_inv", t->name));

    return found ? found : weights_named(w, arena_printf(&w->arena, "%s_scale", t->name));
}

static bool attach(struct weights *w, struct named *t, struct err *err)
{
    const struct named *found = scales_of(w, t);
    char shape[96];
    int64_t rows, cols;

    matrix_of(&rows, &cols, &t->tensor);
    if (!found)
        return err_set(err, ERR_INPUT,
                "%s/%s: tensor %s is F8_E4M3, but neither %s_scale_inv nor %s_scale is there: the "
                "checkpoint is not complete",
                w->dir, t->file, t->name, t->name, t->name);
    if (found->tensor.dtype == DTYPE_F8)
        return err_set(err, ERR_INPUT, "%s/%s: scales %s are F8_E4M3, expected F32, BF16 or F16",
                w->dir, found->file, found->name);
    if (reach_of(&t->scales, &found->tensor, rows, cols))
        return true;
    return err_set(err, ERR_INPUT,
            "%s/%s: scales %s are %s, expected one, one for each of %lld rows, or [%lld, %lld] for "
            "blocks of 128 x 128",
            w->dir, found->file, found->name,
            weights_show_shape(shape, found->tensor.dim, found->tensor.n_dims), (long long)rows,
            (long long)blocks(rows), (long long)blocks(cols));
}

bool weights_find_scales(struct weights *w, struct err *err)
{
    for (int64_t i = 0; i < w->n; i++)
        if (w->tensors[i].tensor.dtype == DTYPE_F8 && !attach(w, &w->tensors[i], err))
            return false;
    return true;
}

bool weights_is_scale(const struct weights *w, const char *name)
{
    static const struct {
        const char *end, *of;
    } names[] = {{"_scale_inv", ""}, {"_scale", ""}, {".input_scale", ".weight"}};
    char base[256];
    size_t n = strlen(name);

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        size_t end = strlen(names[i].end);
        if (n <= end || n - end + 8 > sizeof(base) || strcmp(name + n - end, names[i].end) != 0)
            continue;
        memcpy(base, name, n - end);
        memcpy(base + n - end, names[i].of, strlen(names[i].of) + 1);
        const struct named *of = weights_named(w, base);
        if (of && of->tensor.dtype == DTYPE_F8)
            return true;
    }
    return false;
}

void weights_widen_f8(float *out, const struct named *t, int64_t first, int64_t n)
{
    const struct f8_scales *s = &t->scales;
    const uint8_t *data = t->tensor.data;
    int64_t rows, cols;

    matrix_of(&rows, &cols, &t->tensor);
    for (int64_t at = first, end = first + n; at < end;) {
        int64_t row = at / cols, col = at % cols, stop = (col / s->cols + 1) * s->cols;
        int64_t run = (stop < cols ? stop : cols) - col;
        float scale = weights_stored(
                s->values.data, s->values.dtype, row / s->rows * s->ld + col / s->cols);
        run = run < end - at ? run : end - at;
        for (int64_t i = 0; i < run; i++)
            out[at - first + i] = f8_widen(data[at + i]) * scale;
        at += run;
    }
}
