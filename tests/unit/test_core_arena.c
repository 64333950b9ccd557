#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/arena.h"

static void memory_is_zeroed_and_aligned(void **state)
{
    (void)state;
    struct arena arena = {0};
    for (int64_t bytes = 0; bytes < 3000; bytes += 7) {
        unsigned char *p = arena_alloc(&arena, bytes);
        assert_int_equal((uintptr_t)p % 16, 0);
        for (int64_t i = 0; i < bytes; i++)
            assert_int_equal(p[i], 0);
        memset(p, 0xff, (size_t)bytes);
    }
    arena_free(&arena);
    assert_null(arena.head);
}

static void small_ones_survive_large_ones(void **state)
{
    (void)state;
    struct arena arena = {0};
    char *small = arena_strdup(&arena, "small");
    char *large = arena_alloc(&arena, 10 << 20);
    memset(large, 'x', 10 << 20);
    char *after = arena_printf(&arena, "%s-%d", small, 7);
    assert_string_equal(small, "small");
    assert_string_equal(after, "small-7");
    arena_free(&arena);
}

static void growing_copies(void **state)
{
    (void)state;
    struct arena arena = {0};
    int *a = ARENA_NEW(&arena, int, 3);
    for (int i = 0; i < 3; i++)
        a[i] = i + 1;
    int *b = arena_grow(&arena, a, 3, 1000, sizeof *a);
    assert_memory_equal(a, b, 3 * sizeof *a);
    assert_int_equal(b[999], 0);
    assert_non_null(arena_grow(&arena, NULL, 0, 4, 8));
    arena_free(&arena);
}

static void text_with_length(void **state)
{
    (void)state;
    struct arena arena = {0};
    assert_string_equal(arena_strndup(&arena, "abcdef", 3), "abc");
    assert_string_equal(arena_strndup(&arena, "abcdef", 0), "");
    arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
            cmocka_unit_test(memory_is_zeroed_and_aligned),
            cmocka_unit_test(small_ones_survive_large_ones),
            cmocka_unit_test(growing_copies),
            cmocka_unit_test(text_with_length),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
