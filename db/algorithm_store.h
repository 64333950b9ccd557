/*
 * algorithm_store - algorithms of GPU products that were chosen by timing, in and out of the database.
 */
#ifndef DB_ALGORITHM_STORE_H
#define DB_ALGORITHM_STORE_H

#include "core/spec/algorithm.h"
#include "db/db.h"

/* All of them, of all devices; book->n_known tells how many. */
MUST_CHECK bool algorithm_store_read(
        struct algorithm_book *book, struct db *db, struct arena *arena, struct err *err);
/* Those behind n_known; each takes the place of what was stored for its device, driver, library and shape. */
MUST_CHECK bool algorithm_store_write(
        struct db *db, const struct algorithm_book *book, struct err *err);

#endif
