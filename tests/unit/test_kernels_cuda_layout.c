#include "kernels/cuda/layout.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* What a query sees, by counting. */
static int sees(int64_t pos, int64_t query, int64_t q_len, int64_t kv_len, int64_t window)
{
    int64_t at = kv_len - q_len + query;
    return pos <= at && (window == 0 || pos > at - window);
}

/* NOLINTNEXTLINE(readability-function-cognitive-complexity): every size of five things */
static void keys_of_rows_are_those_that_any_of_them_sees(void **state)
{
    (void)state;
    for (int64_t group = 1; group <= 5; group += 2)
        for (int64_t kv_len = 1; kv_len <= 14; kv_len++)
            for (int64_t q_len = 1; q_len <= kv_len; q_len++)
                for (int64_t window = 0; window <= 6; window++)
                    for (int64_t first = 0; first < q_len * group; first += 3) {
                        int64_t end = first + 4 < q_len * group ? first + 4 : q_len * group;
                        struct layout_keys keys =
                                layout_keys_of(first, end, group, q_len, kv_len, window);
                        int64_t begin = kv_len, last = -1;
                        for (int64_t pos = 0; pos < kv_len; pos++)
                            for (int64_t row = first; row < end; row++)
                                if (sees(pos, row / group, q_len, kv_len, window)) {
                                    begin = pos < begin ? pos : begin;
                                    last = pos;
                                }
                        assert_int_equal(keys.begin, begin);
                        assert_int_equal(keys.end, last + 1);
                    }
}

static void parts_cover_the_keys_once(void **state)
{
    (void)state;
    for (int64_t n = 1; n < 300; n += 7)
        for (int64_t splits = 1; splits <= 9; splits++) {
            struct layout_keys keys = {5, 5 + n};
            int64_t at = keys.begin;
            for (int64_t s = 0; s < splits; s++) {
                struct layout_keys part = layout_part(keys, s, splits, 16);
                if (part.end <= part.begin)
                    continue;
                assert_int_equal(part.begin, at);
                assert_true((part.begin - keys.begin) % 16 == 0);
                at = part.end;
            }
            assert_int_equal(at, keys.end);
        }
}

static void splits_fill_the_device_and_stay_worth_it(void **state)
{
    (void)state;
    assert_int_equal(layout_splits(8, 30000, 64, 132, 4), 66);
    assert_int_equal(layout_splits(512, 2048, 64, 132, 4), 2);
    assert_int_equal(layout_splits(10000, 2048, 64, 132, 4), 1);
    assert_int_equal(layout_splits(1, 100, 64, 132, 4), 1);
    assert_int_equal(layout_splits(1, 1 << 20, 64, 132, 4), LAYOUT_MOST_SPLITS);
    assert_int_equal(layout_splits(0, 1 << 20, 64, 1, 1), 1);
}

static void shifts_are_logarithms_of_powers_of_two(void **state)
{
    (void)state;
    assert_int_equal(layout_shift(1), 0);
    assert_int_equal(layout_shift(16), 4);
    assert_int_equal(layout_shift(24), -1);
}

static void tiles_of_experts_fit_their_table(void **state)
{
    static const int32_t offsets[] = {0, 0, 17, 17, 49, 50, 50};
    int64_t n = 0, rows = 0;
    (void)state;
    for (int32_t e = 0; e < 6; e++)
        for (int64_t t = 0; t < layout_ceil(offsets[e + 1] - offsets[e], 16); t++, n++) {
            struct layout_tile tile = layout_tile_of(e, offsets[e], offsets[e + 1], t, 16);
            assert_int_equal(tile.expert, e);
            assert_int_equal(tile.first, rows);
            assert_true(tile.end > tile.first && tile.end <= offsets[e + 1]);
            rows = tile.end;
        }
    assert_int_equal(rows, 50);
    assert_true(n <= layout_most_tiles(50, 6, 16));
    assert_int_equal(layout_most_tiles(3, 128, 16), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
            cmocka_unit_test(keys_of_rows_are_those_that_any_of_them_sees),
            cmocka_unit_test(parts_cover_the_keys_once),
            cmocka_unit_test(splits_fill_the_device_and_stay_worth_it),
            cmocka_unit_test(shifts_are_logarithms_of_powers_of_two),
            cmocka_unit_test(tiles_of_experts_fit_their_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
