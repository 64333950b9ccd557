#include "core/spec/op_read.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    WORD = 64
};

/* Takes a word off *text; false at the end, or when it does not fit. */
static bool next_word(char word[WORD], const char **text)
{
    const char *at = *text + strspn(*text, " \t");
    size_t len = strcspn(at, " \t");
    if (len == 0 || len >= WORD)
        return false;
    memcpy(word, at, len);
    word[len] = '\0';
    *text = at + len;
    return true;
}

/* Index of the name, or -1. */
static int find_name(const char *const *names, const char *word)
{
    for (int i = 0; names[i] != NULL; i++)
        if (strcmp(names[i], word) == 0)
            return i;
    return -1;
}

bool op_read_meant(const char *text)
{
    char word[WORD];
    return next_word(word, &text) && find_name(op_kind_names, word) >= 0;
}

static bool whole(int64_t *out, const char *text)
{
    char *end;
    *out = strtoll(text, &end, 10);
    return end != text && *end == '\0' && *out >= 0 && *out < INT64_C(1) << 53;
}

/* NAME=NUMBER. Sets bit d of *seen for dimension d. */
static bool read_size(struct op *op, unsigned *seen, char *word, struct err *err)
{
    const char *degree = op_is_collective(op->kind) ? "ranks" : "threads";
    char *equals = strchr(word, '=');
    int64_t value;
    if (equals == NULL || !whole(&value, equals + 1))
        return err_set(err, ERR_INPUT, "\"%s\": expected NAME=NUMBER", word);
    *equals = '\0';
    for (int d = 0; d < OP_DIMS; d++)
        if (*op_dim_name(op->kind, d) != '\0' && strcmp(op_dim_name(op->kind, d), word) == 0) {
            op->dim[d] = value;
            *seen |= 1u << d;
            return true;
        }
    int32_t *to = strcmp(word, degree) == 0    ? &op->degree
                  : strcmp(word, "busy") == 0  ? &op->busy
                  : strcmp(word, "nodes") == 0 ? &op->nodes
                                               : NULL;
    if (to == NULL || value > 1 << 20)
        return err_set(
                err, ERR_INPUT, "%s has no %s=%" PRId64, op_kind_names[op->kind], word, value);
    *to = (int32_t)value;
    return true;
}

bool op_read(struct op *out, const char *text, struct err *err)
{
    char word[WORD];
    unsigned seen = 0;
    int kind = next_word(word, &text) ? find_name(op_kind_names, word) : -1;
    if (kind < 0)
        return err_set(err, ERR_INPUT, "expected a kind of op first, such as gemm or all_reduce");
    int dtype = next_word(word, &text) ? find_name(dtype_names, word) : -1;
    if (dtype < 0)
        return err_set(err, ERR_INPUT, "expected a type after %s, such as bf16 or f32",
                op_kind_names[kind]);
    *out = (struct op){.kind = (enum op_kind)kind,
            .dtype = (enum dtype)dtype,
            .degree = op_is_collective((enum op_kind)kind) ? 0 : 1};
    while (next_word(word, &text))
        if (!read_size(out, &seen, word, err))
            return false;
    if (text[strspn(text, " \t")] != '\0')
        return err_set(err, ERR_INPUT, "a word of %d letters and more", WORD);
    for (int d = 0; d < OP_DIMS; d++)
        if (op_dim_shown(out, d) && !(seen & 1u << d))
            return err_set(
                    err, ERR_INPUT, "%s lacks %s", op_kind_names[kind], op_dim_name(out->kind, d));
    if (out->dim[0] < 1 || out->degree < (op_is_collective(out->kind) ? 2 : 1))
        return err_set(err, ERR_INPUT, "%s: expected %s of 1 and more%s", op_kind_names[kind],
                op_dim_name(out->kind, 0),
                op_is_collective(out->kind) ? ", and ranks of 2 and more" : "");
    return true;
}
