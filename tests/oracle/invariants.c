/*
 * What must hold of any two answers, whatever they are: random small clusters, each solved as it is and again with one
 * thing changed; every cluster has two of the changes. SHARDWRIGHT_INSTANCES sets how many clusters, and
 * SHARDWRIGHT_SEED which ones.
 *
 * Answers are intervals [value, bound]: only intervals that leave no room for what must hold are a failure. How many
 * answers were proven is counted, and must be nearly all.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/oracle/oracle.h"
#include "tests/oracle/worlds.h"

#define ROUNDING 1e-9

static int number_of(const char *name, int def)
{
    const char *text = getenv(name);
    return text != NULL ? atoi(text) : def;
}

struct interval {
    double value, bound; /* of the best: at least, at most */
};

struct tally {
    int answers, proven;
};

static struct interval solve(struct tally *tally, const struct world *w)
{
    struct arena arena = {0};
    struct err err = {0};
    struct columns_result out;
    if (!columns_solve(&out, &w->in, &(struct columns_options){0}, &arena, &err))
        fail_msg("%s", err.text);
    const char *wrong = oracle_judge(&w->in, &out);
    if (wrong != NULL)
        fail_msg("%s", wrong);
    assert_null(out.trouble); /* no solver died on the way */
    struct interval answer = {out.value, out.feasible ? out.bound : fmax(0, out.bound)};
    tally->answers++;
    tally->proven += out.proven;
    arena_free(&arena);
    return answer;
}

/* ---- one thing changed; what the answer must be times, at least or exactly ---- */

static void more_devices(struct world *w)
{
    w->kinds[world_pick(w, 0, w->in.n_kinds - 1)].devices++;
}

static void more_memory(struct world *w)
{
    w->memory[world_pick(w, 0, w->in.n_kinds - 1)] *= 1 + world_draw(w);
}

static void looser_objective(struct world *w)
{
    double by = 1 + world_draw(w);
    for (int l = 0; l < w->in.n_limits; l++)
        w->limits[l].round_cap_us *= by;
}

static void faster_links(struct world *w)
{
    w->send_us *= world_draw(w);
}

/* A faster kind: layers take less, as with more FLOP/s or bandwidth. */
static void faster_kind(struct world *w)
{
    int k = world_pick(w, 0, w->in.n_kinds - 1);
    double by = 0.5 + 0.5 * world_draw(w);
    for (int c = 0; c < w->in.n_configs; c++)
        for (int l = 0; l < w->in.n_layers; l++)
            w->layer_us[k][c][l] *= by;
}

static void twice_as_slow(struct world *w)
{
    for (int l = 0; l < w->in.n_limits; l++) {
        w->batch[l] *= 2;
        w->limits[l].round_cap_us *= 2;
    }
}

static void turned_kinds(struct world *w)
{
    world_turn_kinds(w);
}

static void turned_limits(struct world *w)
{
    world_turn_limits(w);
}

static const struct change {
    const char *what;
    void (*make)(struct world *world);
    bool equal; /* the answer times `times`; otherwise it may be better, too */
    double times;
} changes[] = {
        {"one more device", more_devices, false, 1},
        {"more memory", more_memory, false, 1},
        {"a looser service objective", looser_objective, false, 1},
        {"faster links", faster_links, false, 1},
        {"a faster kind", faster_kind, false, 1},
        {"times twice as long", twice_as_slow, true, 0.5},
        {"kinds in another order", turned_kinds, true, 1},
        {"limits in another order", turned_limits, true, 1},
};

enum {
    CHANGES = sizeof changes / sizeof changes[0]
};

static void compare(struct tally *tally, uint64_t seed, struct interval before, int which)
{
    const struct change *change = &changes[which];
    const struct world_size size = {6, 6, 3, .pools = seed % 9 == 8};
    struct world w;
    world_make(&w, seed, &size);
    w.state += (uint64_t)which;
    change->make(&w);
    struct interval after = solve(tally, &w);
    double slack = ROUNDING * (before.bound + after.bound);
    bool lost = after.bound < change->times * before.value - slack;
    bool won = change->equal && after.value > change->times * before.bound + slack;
    if (lost || won)
        fail_msg("seed %d, %s: %.12g to %.12g became %.12g to %.12g", (int)seed, change->what,
                before.value, before.bound, after.value, after.bound);
}

static void answers_move_as_they_must(void **unused)
{
    (void)unused;
    int n = number_of("SHARDWRIGHT_INSTANCES", 800);
    int tried[CHANGES] = {0};
    struct tally tally = {0};
    for (int i = 0; i < n; i++) {
        uint64_t seed = (uint64_t)(i + number_of("SHARDWRIGHT_SEED", 0)) + 400000;
        const struct world_size size = {6, 6, 3, .pools = seed % 9 == 8};
        struct world w;
        world_make(&w, seed, &size);
        struct interval before = solve(&tally, &w);
        for (int c = i % (CHANGES / 2); c < CHANGES; c += CHANGES / 2) {
            compare(&tally, seed, before, c);
            tried[c]++;
        }
    }
    printf("%d random clusters move as they must; %d of %d answers proven\n", n, tally.proven,
            tally.answers);
    for (int c = 0; c < CHANGES; c++)
        printf("  %6d %s\n", tried[c], changes[c].what);
    assert_true(tally.proven >= 0.99 * tally.answers);
}

/* Two kinds that are alike and count as one: every plan of the two is a plan of the one. */
static void merging_like_kinds_never_hurts(void **unused)
{
    (void)unused;
    int n = number_of("SHARDWRIGHT_INSTANCES", 800) / 10;
    struct tally tally = {0};
    for (int i = 0; i < n; i++) {
        const struct world_size size = {6, 6, 3, false};
        struct world w;
        world_make(&w, (uint64_t)i + 500000, &size);
        if (w.in.n_kinds < 2)
            continue;
        memcpy(w.layer_us[1], w.layer_us[0], sizeof w.layer_us[0]);
        memcpy(w.ends_us[1], w.ends_us[0], sizeof w.ends_us[0]);
        w.memory[1] = w.memory[0];
        for (int c = 0; c < w.in.n_configs; c++)
            w.configs[c].devices[1] = w.configs[c].devices[0];
        struct interval apart = solve(&tally, &w);
        w.kinds[0].devices += w.kinds[1].devices;
        w.kinds[1].devices = 0;
        struct interval merged = solve(&tally, &w);
        if (merged.bound < apart.value * (1 - ROUNDING))
            fail_msg("seed %d: %.12g apart, at most %.12g merged", i, apart.value, merged.bound);
    }
    assert_true(tally.proven >= 0.99 * tally.answers);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
            cmocka_unit_test(answers_move_as_they_must),
            cmocka_unit_test(merging_like_kinds_never_hurts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
