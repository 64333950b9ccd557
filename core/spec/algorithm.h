/*
 * algorithm - which of a library's algorithms was the fastest for a product on a device. Found by timing, and kept so
 * that it is timed once: the bytes are the library's own and mean something to the same version of it alone.
 */
#ifndef CORE_SPEC_ALGORITHM_H
#define CORE_SPEC_ALGORITHM_H

#include "core/arena.h"
#include "core/spec/op.h"

enum {
    ALGORITHM_BYTES = 64
};

/* What is computed beside the product. */
enum algorithm_form {
    FORM_PLAIN,
    FORM_BIAS,
    FORM_SCALED,       /* f8: the library multiplies by the scales */
    FORM_SCALED_AFTER, /* f8: a kernel of our own does, over the finished product */
    FORM_COUNT
};
extern const char *const algorithm_form_names[]; /* NULL-terminated */

/* Everything that decides the algorithm: y[m, ldy] = x[m, ldx] w[n, k]^T. */
struct algorithm_shape {
    int64_t m, n, k, ldx, ldy;
    int32_t dtype; /* enum dtype, of w */
    int32_t form;  /* enum algorithm_form */
};

/* Where it holds. */
struct algorithm_site {
    char device[64];  /* "NVIDIA H200" */
    char library[32]; /* "cuBLASLt 13.1.0" */
    int32_t driver;   /* as the driver counts, 13010 */
};

struct algorithm {
    struct algorithm_shape shape;
    unsigned char bytes[ALGORITHM_BYTES];
    double us; /* of one execution, when it was chosen */
};

/* Algorithms of one or more sites. n_known: how many were there when it was read; those behind are new. */
struct algorithm_entry {
    struct algorithm_site site;
    struct algorithm algorithm;
};
struct algorithm_book {
    struct algorithm_entry *items;
    int64_t n, n_known, cap;
    struct arena *arena;
};

static inline bool algorithm_same_shape(
        const struct algorithm_shape *a, const struct algorithm_shape *b)
{
    return a->m == b->m && a->n == b->n && a->k == b->k && a->ldx == b->ldx && a->ldy == b->ldy
           && a->dtype == b->dtype && a->form == b->form;
}

bool algorithm_same_site(const struct algorithm_site *a, const struct algorithm_site *b);
/* Adds it, or takes the place of what was chosen before for the same site and shape. */
void algorithm_note(struct algorithm_book *book, const struct algorithm_site *site,
        const struct algorithm *algorithm);

#endif
