/* Headers that lie, by one edit each. */
#include "models/safetensors.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct arena arena;

/* A file's bytes: length, header, then data_bytes of data. claimed < 0 = the true length. */
static char *file_of(const char *header, int64_t claimed, int64_t data_bytes, int64_t *len)
{
    int64_t n = (int64_t)strlen(header);
    char *bytes = arena_alloc(&arena, 8 + n + data_bytes);
    uint64_t says = claimed < 0 ? (uint64_t)n : (uint64_t)claimed;

    for (int i = 0; i < 8; i++)
        bytes[i] = (char)(says >> (8 * i) & 0xff);
    memcpy(bytes + 8, header, (size_t)n);
    *len = 8 + n + data_bytes;
    return bytes;
}

static void a_good_header_is_read_in_any_order(void **state)
{
    (void)state;
    struct err err = {0};
    struct safetensors_entry *entries;
    int64_t n, len;
    char *bytes = file_of("{\"__metadata__\":{\"format\":\"pt\"},"
                          "\"b\":{\"dtype\":\"BF16\",\"shape\":[2,3],\"data_offsets\":[16,28]},"
                          "\"a\":{\"shape\":[4],\"dtype\":\"F32\",\"data_offsets\":[0,16]}}  ",
            -1, 28, &len);

    assert_true(safetensors_read(&entries, &n, bytes, len, "x", &arena, &err));
    assert_int_equal(n, 2);
    assert_string_equal(entries[0].name, "a");
    assert_string_equal(entries[1].name, "b");
    assert_int_equal(entries[1].dim[1], 3);
    assert_int_equal(entries[1].end, len);
    assert_int_equal(entries[1].dtype, DTYPE_BF16);
}

static void lies_are_found(void **state)
{
    (void)state;
#define A "\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]}"
    static const struct {
        const char *header;
        int64_t claimed, data_bytes;
        const char *message;
    } cases[] = {
            {"{" A "}", 1000, 16, "x: the header claims 1000 bytes, the file has"},
            {"{" A "}", INT64_MAX, 16, "x: the header claims 9223372036854775807 bytes"},
            {"{" A "}", 10, 16, "x"},
            {"[1]", -1, 0, "x: the header is not a JSON object"},
            {"{" A "," A "}", -1, 16, "x"},
            {"{" A "}", -1, 15, "x: tensor a ends at byte 16 of the data, the file has only 15"},
            {"{" A "}", -1, 20, "x: 4 bytes after the last tensor belong to none"},
            {"{" A ",\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[12,20]}}", -1, 20,
                    "x: tensors a and b overlap"},
            {"{" A ",\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[20,24]}}", -1, 24,
                    "x: a hole of 4 bytes before tensor b"},
            {"{\"a\":{\"dtype\":\"F32\",\"shape\":[5],\"data_offsets\":[0,16]}}", -1, 16,
                    "x: tensor a takes 16 bytes by its offsets, its shape and dtype need 20"},
            {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904,4],\"data_offsets\":[0,16]}"
             "}",
                    -1, 16, "x: tensor a takes 16 bytes"},
            {"{\"a\":{\"dtype\":\"F32\",\"shape\":[-4],\"data_offsets\":[0,16]}}", -1, 16,
                    "x: tensor a: size 0 of its shape"},
            {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,4],\"data_offsets\":[0,16]}}", -1, 16,
                    "x: tensor a: shape is not a list of at most 4 sizes"},
            {"{\"a\":{\"dtype\":\"F32\",\"shape\":4,\"data_offsets\":[0,16]}}", -1, 16,
                    "x: tensor a: shape"},
            {"{\"a\":{\"dtype\":\"F8_E5M2\",\"shape\":[16],\"data_offsets\":[0,16]}}", -1, 16,
                    "x: tensor a has dtype F8_E5M2, supported are F32, BF16, F16 and F8_E4M3; "
                    "checkpoints that are quantised otherwise are not read"},
            {"{\"a\":{\"shape\":[4],\"data_offsets\":[0,16]}}", -1, 16, "x: tensor a has no dtype"},
            {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[16,0]}}", -1, 16,
                    "x: tensor a: data_offsets are not"},
            {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[-16,0]}}", -1, 16,
                    "x: tensor a: data_offsets are not"},
            {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4]}}", -1, 16,
                    "x: tensor a: data_offsets are not"},
            {"{\"a\":7}", -1, 16, "x: tensor a is not an object"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct err err = {0};
        struct safetensors_entry *entries;
        int64_t n, len;
        char *bytes = file_of(cases[i].header, cases[i].claimed, cases[i].data_bytes, &len);

        if (safetensors_read(&entries, &n, bytes, len, "x", &arena, &err))
            fail_msg("case %d was believed", (int)i);
        assert_int_equal(err.kind, ERR_INPUT);
        if (!strstr(err.text, cases[i].message))
            fail_msg("case %d: \"%s\" lacks \"%s\"", (int)i, err.text, cases[i].message);
    }
}

static void every_truncation_is_found(void **state)
{
    (void)state;
    int64_t n, len;
    struct safetensors_entry *entries;
    char *bytes = file_of("{" A "}", -1, 16, &len);

    for (int64_t cut = 0; cut < len; cut++) {
        struct err err = {0};
        /* A copy of its own, so that the address sanitizer sees a read past the end. */
        char *part = malloc((size_t)cut + 1);
        assert_non_null(part);
        memcpy(part, bytes, (size_t)cut);
        assert_false(safetensors_read(&entries, &n, part, cut, "x", &arena, &err));
        assert_int_equal(err.kind, ERR_INPUT);
        free(part);
    }
}

static int close_arena(void **state)
{
    (void)state;
    arena_free(&arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
            cmocka_unit_test(a_good_header_is_read_in_any_order),
            cmocka_unit_test(lies_are_found),
            cmocka_unit_test(every_truncation_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, close_arena);
}
