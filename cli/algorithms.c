#include "cli/algorithms.h"

bool algorithms_read(struct algorithm_book *book, struct db *db, struct ranks *ranks,
        struct arena *arena, struct err *err)
{
    *book = (struct algorithm_book){.arena = arena};
    bool ok = !db || algorithm_store_read(book, db, arena, err);
    if (!ranks_agree(ranks, ok, err))
        return false;
    ranks_broadcast(ranks, &book->n, sizeof book->n, 0);
    if (ranks_rank(ranks) != 0) {
        book->items = ARENA_NEW(arena, struct algorithm_entry, book->n + 1);
        book->n_known = book->n;
        book->cap = book->n + 1;
    }
    if (book->n > 0)
        ranks_broadcast(ranks, book->items, book->n * (int64_t)sizeof *book->items, 0);
    return true;
}

bool algorithms_write(struct db *db, const struct algorithm_book *book, struct err *err)
{
    return !db || algorithm_store_write(db, book, err);
}
