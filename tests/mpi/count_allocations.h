/*
 * count_allocations - how often this program, its modules included, asks for memory between two points in time.
 * Libraries do as they like: only callers inside the program count. Replaces malloc, calloc and realloc.
 */
#ifndef TESTS_MPI_COUNT_ALLOCATIONS_H
#define TESTS_MPI_COUNT_ALLOCATIONS_H

#include <stdbool.h>
#include <stdint.h>

/* False in builds whose sanitizer has an allocator of its own: then the count stays 0. */
bool count_allocations_built(void);
/* Counts one allocation of its own; a counter that counts nothing would pass every test. */
bool count_allocations_works(void);
void count_allocations(bool on);
/* Since it was last asked. */
int64_t count_allocations_take(void);

#endif
