/* What was computed once is found again, and a memo does not grow without end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "planner/memo.h"

static void values_are_found_again(void **state)
{
    (void)state;
    struct memo *memo = memo_open(sizeof(int64_t), MEMO_MOST);

    for (int64_t i = 0; i < 5000; i++)
        *(int64_t *)memo_add(memo, &(struct memo_key){{i, -i}}) = 3 * i;
    for (int64_t i = 0; i < 5000; i++) {
        const int64_t *value = memo_find(memo, &(struct memo_key){{i, -i}});
        assert_non_null(value);
        assert_int_equal(*value, 3 * i);
    }
    assert_null(memo_find(memo, &(struct memo_key){{5000, -5000}}));
    memo_close(memo);
}

static void a_full_memo_forgets_and_goes_on(void **state)
{
    (void)state;
    struct memo *memo = memo_open(sizeof(int64_t), MEMO_MOST);

    for (int64_t i = 0; i <= MEMO_MOST; i++) {
        int64_t *value = memo_add(memo, &(struct memo_key){{i}});
        assert_int_equal(*value, 0);
        *value = i + 1;
    }
    assert_null(memo_find(memo, &(struct memo_key){{0}}));
    const int64_t *last = memo_find(memo, &(struct memo_key){{MEMO_MOST}});
    assert_non_null(last);
    assert_int_equal(*last, MEMO_MOST + 1);
    memo_close(memo);
}

static void one_without_a_limit_keeps_all(void **state)
{
    (void)state;
    struct memo *memo = memo_open(sizeof(int64_t), 0);

    for (int64_t i = 0; i <= MEMO_MOST; i++)
        *(int64_t *)memo_add(memo, &(struct memo_key){{i}}) = i + 1;
    for (int64_t i = 0; i <= MEMO_MOST; i++)
        assert_int_equal(*(const int64_t *)memo_find(memo, &(struct memo_key){{i}}), i + 1);
    memo_close(memo);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
            cmocka_unit_test(values_are_found_again),
            cmocka_unit_test(a_full_memo_forgets_and_goes_on),
            cmocka_unit_test(one_without_a_limit_keeps_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
