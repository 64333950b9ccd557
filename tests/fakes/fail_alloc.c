/*
 * A malloc that fails once, to be preloaded: FAIL_ALLOC=<n> fails the n-th allocation of a process, counted from 0; its
 * children go on counting. FAIL_ALLOC_COUNT=<file> writes how many there were.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* glibc's own, which the names below hide. */
// NOLINTBEGIN(bugprone-reserved-identifier,readability-identifier-naming): glibc chose the names
void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t n, size_t bytes);
void *__libc_realloc(void *memory, size_t bytes);
// NOLINTEND(bugprone-reserved-identifier,readability-identifier-naming)

static long allocations;

static int fails(void)
{
    static long which = -2;
    if (which == -2) {
        const char *text = getenv("FAIL_ALLOC");
        which = text != NULL ? strtol(text, NULL, 10) : -1;
    }
    if (allocations++ != which)
        return 0;
    errno = ENOMEM;
    return 1;
}

void *malloc(size_t bytes)
{
    return fails() ? NULL : __libc_malloc(bytes);
}

void *calloc(size_t n, size_t bytes)
{
    return fails() ? NULL : __libc_calloc(n, bytes);
}

void *realloc(void *memory, size_t bytes)
{
    return fails() ? NULL : __libc_realloc(memory, bytes);
}

static void __attribute__((destructor)) tell(void)
{
    const char *path = getenv("FAIL_ALLOC_COUNT");
    long all = allocations;
    FILE *file = path != NULL ? fopen(path, "w") : NULL;
    if (file == NULL)
        return;
    fprintf(file, "%ld\n", all);
    fclose(file);
}
