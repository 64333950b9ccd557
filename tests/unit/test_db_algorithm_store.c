#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "db/algorithm_store.h"

static const char path[] = "test_db_algorithm_store.db";
static const struct algorithm_site h200 = {"NVIDIA H200", "cuBLASLt 13.1.0", 13010};

static struct db *must_open(const char *name)
{
    struct err err = {0};
    struct db *db = db_open(name, DB_WRITE, &err);
    if (!db)
        fail_msg("%s", err.text);
    return db;
}

static int setup(void **state)
{
    (void)state;
    unlink(path);
    unlink("test_db_algorithm_store_other.db");
    return 0;
}

static struct algorithm one(int64_t m, enum dtype dtype, unsigned char byte)
{
    return (struct algorithm){
            .shape = {.m = m, .n = 6144, .k = 4096, .ldx = 4096, .ldy = 6144, .dtype = dtype},
            .bytes = {[0] = byte, [63] = 9},
            .us = 12.5};
}

static struct algorithm_book must_read(struct db *db, struct arena *arena)
{
    struct err err = {0};
    struct algorithm_book book;
    if (!algorithm_store_read(&book, db, arena, &err))
        fail_msg("%s", err.text);
    return book;
}

static void what_was_chosen_comes_back(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct err err = {0};
    struct db *db = must_open(path);
    struct algorithm_book book = must_read(db, &arena);
    assert_int_equal(book.n, 0);
    struct algorithm a = one(64, DTYPE_BF16, 1), b = one(64, DTYPE_F8_BLOCK, 2);
    b.shape.form = FORM_SCALED;
    algorithm_note(&book, &h200, &a);
    algorithm_note(&book, &h200, &b);
    assert_true(algorithm_store_write(db, &book, &err));
    db_close(db);
    db = must_open(path);
    book = must_read(db, &arena);
    assert_int_equal(book.n, 2);
    assert_int_equal(book.n_known, 2);
    assert_true(algorithm_same_site(&book.items[1].site, &h200));
    assert_true(algorithm_same_shape(&book.items[1].algorithm.shape, &b.shape));
    assert_memory_equal(book.items[1].algorithm.bytes, b.bytes, sizeof b.bytes);
    assert_true(book.items[1].algorithm.us == 12.5);
    db_close(db);
    arena_free(&arena);
}

static void a_new_choice_takes_the_place_of_the_old_one(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct err err = {0};
    struct db *db = must_open(path);
    for (unsigned char byte = 1; byte < 4; byte++) {
        struct algorithm_book book = must_read(db, &arena);
        struct algorithm a = one(64, DTYPE_BF16, byte);
        algorithm_note(&book, &h200, &a);
        assert_int_equal(book.n - book.n_known, 1);
        assert_true(algorithm_store_write(db, &book, &err));
    }
    struct algorithm_book book = must_read(db, &arena);
    int64_t rows = 0;
    assert_int_equal(book.n, 1);
    assert_int_equal(book.items[0].algorithm.bytes[0], 3);
    assert_true(db_check(db, &rows, &err));
    assert_int_equal(rows, 1);
    db_close(db);
    arena_free(&arena);
}

static void merging_keeps_what_is_here(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct err err = {0};
    struct db *db = must_open(path), *other = must_open("test_db_algorithm_store_other.db");
    for (int i = 0; i < 2; i++) {
        struct algorithm_book book = must_read(i ? other : db, &arena);
        struct algorithm a = one(64, DTYPE_BF16, (unsigned char)(1 + i));
        struct algorithm b = one(100 + i, DTYPE_BF16, 7);
        algorithm_note(&book, &h200, &a);
        algorithm_note(&book, &h200, &b);
        assert_true(algorithm_store_write(i ? other : db, &book, &err));
    }
    struct db_merge_counts added;
    assert_true(db_merge(&added, db, other, &err));
    struct algorithm_book book = must_read(db, &arena);
    assert_int_equal(book.n, 3);
    assert_int_equal(book.items[0].algorithm.bytes[0], 1);
    db_close(other);
    db_close(db);
    arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
            cmocka_unit_test_setup(what_was_chosen_comes_back, setup),
            cmocka_unit_test_setup(a_new_choice_takes_the_place_of_the_old_one, setup),
            cmocka_unit_test_setup(merging_keeps_what_is_here, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
