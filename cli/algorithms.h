/*
 * algorithms - what is known about products on GPUs, between the database on rank 0 and the devices of all ranks.
 */
#ifndef CLI_ALGORITHMS_H
#define CLI_ALGORITHMS_H

#include "core/ranks.h"
#include "db/algorithm_store.h"

/* Collective: every rank gets what the database of rank 0 holds. db: NULL = none, and on other ranks. */
MUST_CHECK bool algorithms_read(struct algorithm_book *book, struct db *db, struct ranks *ranks,
        struct arena *arena, struct err *err);
/* On rank 0: stores what its own devices found. Nothing without a database. */
MUST_CHECK bool algorithms_write(struct db *db, const struct algorithm_book *book, struct err *err);

#endif
