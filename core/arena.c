#include "core/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ALIGNMENT   16
#define BLOCK_BYTES INT64_C(65536)

/* Under address sanitizer every allocation is its own block, so that overruns are caught. */
#if defined(__SANITIZE_ADDRESS__)
#define ONE_BLOCK_EACH true
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ONE_BLOCK_EACH true
#endif
#endif
#ifndef ONE_BLOCK_EACH
#define ONE_BLOCK_EACH false
#endif

struct arena_block {
    struct arena_block *next;
    int64_t used, size;
    /* the bytes follow, aligned because this head is a multiple of 16 long */
    _Alignas(ALIGNMENT) unsigned char bytes[];
};

_Noreturn static void out_of_memory(int64_t bytes)
{
    fprintf(stderr, "shardwright: out of memory: %lld more bytes were wanted for metadata\n",
            (long long)bytes);
    exit(ERR_ENV);
}

static struct arena_block *add_block(struct arena *arena, int64_t size)
{
    struct arena_block *block = calloc(1, sizeof *block + (size_t)size);
    if (block == NULL)
        out_of_memory(size);
    block->size = size;
    if (arena->head != NULL && size > BLOCK_BYTES) {
        block->next = arena->head->next; /* keep filling the current block */
        arena->head->next = block;
    } else {
        block->next = arena->head;
        arena->head = block;
    }
    return block;
}

void *arena_alloc(struct arena *arena, int64_t bytes)
{
    if (bytes < 0 || bytes > INT64_MAX / 2)
        out_of_memory(bytes);
    int64_t wanted = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if (ONE_BLOCK_EACH || wanted > BLOCK_BYTES) {
        int64_t size = ONE_BLOCK_EACH ? bytes : wanted;
        struct arena_block *block = add_block(arena, size);
        block->used = size;
        return block->bytes;
    }
    struct arena_block *block = arena->head;
    if (block == NULL || block->size - block->used < wanted)
        block = add_block(arena, BLOCK_BYTES);
    void *memory = block->bytes + block->used;
    block->used += wanted;
    return memory;
}

char *arena_strndup(struct arena *arena, const char *text, int64_t len)
{
    char *copy = arena_alloc(arena, len + 1);
    memcpy(copy, text, (size_t)len);
    return copy;
}

char *arena_strdup(struct arena *arena, const char *text)
{
    return arena_strndup(arena, text, (int64_t)strlen(text));
}

char *arena_printf(struct arena *arena, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int len = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    if (len < 0)
        len = 0;
    char *text = arena_alloc(arena, (int64_t)len + 1);
    va_start(args, fmt);
    vsnprintf(text, (size_t)len + 1, fmt, args);
    va_end(args);
    return text;
}

void *arena_grow(struct arena *arena, const void *old, int64_t old_count, int64_t new_count,
        int64_t elem_bytes)
{
    int64_t bytes = 0;
    if (__builtin_mul_overflow(new_count, elem_bytes, &bytes))
        out_of_memory(INT64_MAX);
    void *memory = arena_alloc(arena, bytes);
    if (old != NULL && old_count > 0)
        memcpy(memory, old, (size_t)(old_count * elem_bytes));
    return memory;
}

void arena_free(struct arena *arena)
{
    struct arena_block *block = arena->head;
    while (block != NULL) {
        struct arena_block *next = block->next;
        free(block);
        block = next;
    }
    arena->head = NULL;
}
