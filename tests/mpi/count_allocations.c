#include "tests/mpi/count_allocations.h"

#include <stdatomic.h>
#include <stdlib.h>

/* Sanitizers have their own allocators. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define COUNTS_ALLOCATIONS 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define COUNTS_ALLOCATIONS 0
#endif
#endif
#ifndef COUNTS_ALLOCATIONS
#define COUNTS_ALLOCATIONS 1
#endif

static atomic_bool counting;
static atomic_llong n_allocations;

#if COUNTS_ALLOCATIONS
// NOLINTBEGIN: names of the C library and the linker, which are theirs to choose
extern void *__libc_malloc(size_t bytes);
extern void *__libc_calloc(size_t n, size_t each);
extern void *__libc_realloc(void *memory, size_t bytes);
extern char __executable_start, etext;
__attribute__((noinline)) void *malloc(size_t bytes);
__attribute__((noinline)) void *calloc(size_t n, size_t each);
__attribute__((noinline)) void *realloc(void *memory, size_t bytes);

static void count(const void *caller)
{
    const char *at = caller;

    if (atomic_load_explicit(&counting, memory_order_relaxed) && at >= &__executable_start
            && at < &etext)
        atomic_fetch_add(&n_allocations, 1);
}

void *malloc(size_t bytes)
{
    count(__builtin_return_address(0));
    return __libc_malloc(bytes);
}

void *calloc(size_t n, size_t each)
{
    count(__builtin_return_address(0));
    return __libc_calloc(n, each);
}

void *realloc(void *memory, size_t bytes)
{
    count(__builtin_return_address(0));
    return __libc_realloc(memory, bytes);
}
// NOLINTEND
#endif

bool count_allocations_built(void)
{
    return COUNTS_ALLOCATIONS;
}

void count_allocations(bool on)
{
    atomic_store(&counting, on);
}

int64_t count_allocations_take(void)
{
    return atomic_exchange(&n_allocations, 0);
}

bool count_allocations_works(void)
{
    void *volatile memory = NULL;

    count_allocations(true);
    memory = malloc(1);
    count_allocations(false);
    free(memory);
    return !COUNTS_ALLOCATIONS || count_allocations_take() == 1;
}
