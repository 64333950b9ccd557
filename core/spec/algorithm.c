#include "core/spec/algorithm.h"

#include <string.h>

const char *const algorithm_form_names[] = {"plain", "bias", "scaled", "scaled_after", NULL};

_Static_assert(sizeof algorithm_form_names / sizeof *algorithm_form_names == FORM_COUNT + 1,
        "a name for each form");

bool algorithm_same_site(const struct algorithm_site *a, const struct algorithm_site *b)
{
    return a->driver == b->driver && strcmp(a->device, b->device) == 0
           && strcmp(a->library, b->library) == 0;
}

void algorithm_note(struct algorithm_book *book, const struct algorithm_site *site,
        const struct algorithm *algorithm)
{
    const struct algorithm_entry entry = {*site, *algorithm};

    for (int64_t i = 0; i < book->n; i++) {
        struct algorithm_entry *e = &book->items[i];
        if (!algorithm_same_site(&e->site, site)
                || !algorithm_same_shape(&e->algorithm.shape, &algorithm->shape))
            continue;
        if (memcmp(e->algorithm.bytes, algorithm->bytes, ALGORITHM_BYTES) == 0)
            return;
        if (i >= book->n_known) {
            *e = entry;
            return;
        }
    }
    if (book->n == book->cap) {
        int64_t cap = book->cap ? 2 * book->cap : 64;
        book->items = arena_grow(book->arena, book->items, book->n, cap, sizeof *book->items);
        book->cap = cap;
    }
    book->items[book->n++] = entry;
}
