/*
 * arena - memory with one lifetime. Zero-initialise to open; arena_free releases all of it.
 *
 * Allocation returns zeroed memory, aligned to 16 bytes, or ends the process with status 3.
 */
#ifndef CORE_ARENA_H
#define CORE_ARENA_H

#include <stddef.h>
#include <stdint.h>

#include "core/err.h"

struct arena {
    struct arena_block *head;
};

void *arena_alloc(struct arena *arena, int64_t bytes);
char *arena_strdup(struct arena *arena, const char *text);
char *arena_strndup(struct arena *arena, const char *text, int64_t len);
char *arena_printf(struct arena *arena, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Copies old_count elements of elem_bytes into room for new_count; the old room stays until arena_free. */
void *arena_grow(struct arena *arena, const void *old, int64_t old_count, int64_t new_count,
        int64_t elem_bytes);
void arena_free(struct arena *arena);

#define ARENA_NEW(arena, type, n) ((type *)arena_alloc((arena), (int64_t)sizeof(type) * (n)))

#endif
