#include "cli/opt.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const char *const dtypes[] = {"f32", "bf16", NULL};

struct options {
    bool json, quiet;
    int ranks;
    int64_t seed;
    double alpha;
    const char *out;
    const char *const *runs;
    int n_runs;
    int dtype;
    unsigned types;
    int64_t shard;
    double budget;
};

#define AT(f) offsetof(struct options, f)
static const struct opt table[] = {
        {"json", 0, OPT_FLAG, AT(json), .help = "json"},
        {"quiet", 'q', OPT_FLAG, AT(quiet), .help = "quiet"},
        {"ranks", 'n', OPT_INT, AT(ranks), .min = 1, .max = 64, .def = "2", .help = "ranks"},
        {"seed", 0, OPT_I64, AT(seed), .help = "seed"},
        {"alpha", 0, OPT_DOUBLE, AT(alpha), .min = 0, .max = 1, .def = "0.05", .help = "alpha"},
        {"out", 'o', OPT_STRING, AT(out), .value = "FILE", .help = "where to"},
        {"run", 0, OPT_STRINGS, AT(runs), AT(n_runs), .help = "runs"},
        {"dtype", 0, OPT_ENUM, AT(dtype), .names = dtypes, .def = "bf16", .help = "dtype"},
        {"types", 0, OPT_ENUMS, AT(types), .names = dtypes, .def = "bf16", .help = "types"},
        {"shard-size", 0, OPT_BYTES, AT(shard), .min = 1024, .max = 1e12, .help = "shard"},
        {"budget", 0, OPT_SECONDS, AT(budget), .min = 1, .max = 3600, .def = "2min",
                .help = "time"},
        {NULL},
};

struct parsed {
    struct options options;
    struct opt_line line;
    struct arena arena;
    struct err err;
    bool ok;
};

/* Parses a line of words separated by single blanks. */
static void parse_with(struct parsed *p, const struct opt *rows, const char *text, bool stop)
{
    *p = (struct parsed){.line = {.stop_at_operand = stop, .help = "prog --help"}};
    char *copy = arena_strdup(&p->arena, text);
    char **argv = ARENA_NEW(&p->arena, char *, 32);
    for (char *word = strtok(copy, " "); word; word = strtok(NULL, " "))
        argv[p->line.argc++] = word;
    p->line.argv = argv;
    struct opt_set set = {rows, &p->options};
    p->ok = opt_defaults(&set, &p->arena, &p->err)
            && opt_parse(&set, 1, &p->line, &p->arena, &p->err);
}

static void parse(struct parsed *p, const char *text)
{
    parse_with(p, table, text, false);
}

static void every_form_of_a_value_is_taken(void **state)
{
    (void)state;
    const char *const lines[] = {
            "--out file", "--out=file", "-o file", "-ofile", "-o=file", "-qofile"};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        struct parsed p;
        parse(&p, lines[i]);
        assert_true(p.ok);
        assert_string_equal(p.options.out, "file");
        assert_int_equal(p.line.argc, 0);
        arena_free(&p.arena);
    }
}

static void defaults_stand_until_replaced(void **state)
{
    (void)state;
    struct parsed p;
    parse(&p, "");
    assert_true(p.ok);
    assert_int_equal(p.options.ranks, 2);
    assert_int_equal(p.options.dtype, 1);
    assert_true(p.options.budget > 119.999 && p.options.budget < 120.001);
    assert_null(p.options.out);
    arena_free(&p.arena);
    parse(&p, "--ranks 3 --dtype f32 --budget 90s --shard-size 5GB --seed -7 --alpha=0.5");
    assert_true(p.ok);
    assert_int_equal(p.options.ranks, 3);
    assert_int_equal(p.options.dtype, 0);
    assert_int_equal(p.options.shard, 5000000000);
    assert_int_equal(p.options.seed, -7);
    assert_true(p.options.alpha > 0.4999 && p.options.alpha < 0.5001);
    assert_true(p.options.budget > 89.999 && p.options.budget < 90.001);
    arena_free(&p.arena);
}

static void operands_keep_their_order(void **state)
{
    (void)state;
    struct parsed p;
    parse(&p, "a --json b -o - - -- --seed -q");
    assert_true(p.ok);
    assert_int_equal(p.line.argc, 5);
    const char *const want[] = {"a", "b", "-", "--seed", "-q"};
    for (int i = 0; i < 5; i++)
        assert_string_equal(p.line.argv[i], want[i]);
    assert_string_equal(p.options.out, "-");
    assert_false(p.options.quiet);
    arena_free(&p.arena);
}

static void a_repeatable_option_collects(void **state)
{
    (void)state;
    struct parsed p;
    parse(&p, "--run 1 --run=2 --run 3 --json --json");
    assert_true(p.ok);
    assert_int_equal(p.options.n_runs, 3);
    assert_string_equal(p.options.runs[0], "1");
    assert_string_equal(p.options.runs[2], "3");
    arena_free(&p.arena);
}

static void a_value_may_begin_with_dashes_after_an_equals_sign(void **state)
{
    (void)state;
    struct parsed p;
    parse(&p, "--out=--json");
    assert_true(p.ok);
    assert_string_equal(p.options.out, "--json");
    assert_false(p.options.json);
    arena_free(&p.arena);
}

static void stops_at_the_command(void **state)
{
    (void)state;
    struct parsed p;
    parse_with(&p, table, "-q plan --unknown x", true);
    assert_true(p.ok);
    assert_true(p.options.quiet);
    assert_int_equal(p.line.argc, 3);
    assert_string_equal(p.line.argv[1], "--unknown");
    arena_free(&p.arena);
}

static void bad_lines_say_what_and_what_next(void **state)
{
    (void)state;
    static const struct {
        const char *line, *message;
    } cases[] = {
            {"--sede 3", "unknown option --sede; did you mean --seed? (see prog --help)"},
            {"--zzzzzzzz", "unknown option --zzzzzzzz (see prog --help)"},
            {"-x", "unknown option -x in \"-x\" (see prog --help)"},
            {"--json=1", "--json takes no value, found \"1\""},
            {"--out", "--out needs a value: --out FILE (see prog --help)"},
            {"--out --json",
                    "--out needs a value, found \"--json\"; a value that begins with dashes is "
                    "written --out=VALUE"},
            {"--seed 1 --seed 2", "--seed was given twice, the second time as \"2\""},
            {"--dtype bf61",
                    "--dtype: found \"bf61\", expected one of f32, bf16; did you mean \"bf16\"?"},
            {"--dtype 99", "--dtype: found \"99\", expected one of f32, bf16"},
            {"--ranks 0", "--ranks: found 0, expected a whole number from 1 to 64"},
            {"--ranks 9999999999",
                    "--ranks: found 9999999999, expected a whole number from 1 to 64"},
            {"--alpha 2", "--alpha: found 2, expected a number from 0 to 1"},
            {"--alpha nan", NULL},
            {"--ranks x", NULL},
            {"--budget 90", NULL},
            {"--budget 0.5s", "--budget: found 0.5s, expected a duration from 1.00 s to 60.0 min"},
            {"--shard-size 12", NULL},
            {"--shard-size -5GB", NULL},
            {"--seed 99999999999999999999", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct parsed p;
        parse(&p, cases[i].line);
        assert_false(p.ok);
        assert_int_equal(p.err.kind, ERR_INPUT);
        if (cases[i].message)
            assert_string_equal(p.err.text, cases[i].message);
        else
            assert_true(strlen(p.err.text) > 20);
        arena_free(&p.arena);
    }
}

static void a_required_option_is_missed(void **state)
{
    (void)state;
    static const struct opt rows[] = {
            {"out", 'o', OPT_STRING, AT(out), .value = "FILE", .required = true,
                    .help = "where to"},
            {NULL},
    };
    struct parsed p;
    parse_with(&p, rows, "x", false);
    assert_false(p.ok);
    assert_string_equal(p.err.text, "--out FILE is missing: where to (see prog --help)");
    arena_free(&p.arena);
    parse_with(&p, rows, "-o x", false);
    assert_true(p.ok);
    arena_free(&p.arena);
}

static void a_default_that_does_not_parse_is_our_bug(void **state)
{
    (void)state;
    static const struct opt rows[] = {
            {"ranks", 0, OPT_INT, AT(ranks), .min = 1, .max = 4, .def = "7", .help = "ranks"},
            {NULL},
    };
    struct parsed p;
    parse_with(&p, rows, "", false);
    assert_false(p.ok);
    assert_int_equal(p.err.kind, ERR_BUG);
    arena_free(&p.arena);
}

static void a_set_takes_names_with_commas(void **unused)
{
    (void)unused;
    static const struct {
        const char *line;
        unsigned set;
    } good[] = {{"", 2}, {"--types f32", 1}, {"--types=bf16,f32", 3}, {"--types f32,f32", 1}};
    static const char *const bad[] = {
            "--types f32,", "--types ,f32", "--types f16", "--types f32;bf16"};
    struct parsed p;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        parse_with(&p, table, good[i].line, false);
        assert_true(p.ok);
        assert_int_equal(p.options.types, good[i].set);
        arena_free(&p.arena);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        parse_with(&p, table, bad[i], false);
        assert_false(p.ok);
        assert_non_null(strstr(p.err.text, "expected one of f32, bf16"));
        arena_free(&p.arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
            cmocka_unit_test(every_form_of_a_value_is_taken),
            cmocka_unit_test(defaults_stand_until_replaced),
            cmocka_unit_test(operands_keep_their_order),
            cmocka_unit_test(a_repeatable_option_collects),
            cmocka_unit_test(a_value_may_begin_with_dashes_after_an_equals_sign),
            cmocka_unit_test(stops_at_the_command),
            cmocka_unit_test(bad_lines_say_what_and_what_next),
            cmocka_unit_test(a_required_option_is_missed),
            cmocka_unit_test(a_set_takes_names_with_commas),
            cmocka_unit_test(a_default_that_does_not_parse_is_our_bug),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
