/*
 * Points come sorted by kind. A kind's families are told apart by the fixed part of their points' places.
 */
#include "planner/grid_families.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/arena.h"
#include "planner/conformal.h"
#include "planner/grid_axes.h"
#include "planner/grid_estimate.h"
#include "planner/memo.h"

enum {
    CALIBRATE = 400 /* points left out to learn how far estimates are off */
};
/* Half widths of the interval, logarithms, where too few points can be left out. */
#define UNKNOWN_INSIDE  0.15
#define UNKNOWN_ACROSS  0.25
#define UNKNOWN_OUTSIDE 0.40

struct grid_families {
    struct arena arena;
    const struct profile *profile;
    struct {
        int64_t first, end; /* in the profile */
        bool any, sorted;
        /* The family that answered last: steps ask for the same one again and again. */
        struct family *last;
        int64_t last_fixed[GRID_FIXED];
    } kinds[OP_KIND_COUNT];
    struct memo *known; /* fixed part of the place -> struct family * */
};

static bool on_grid(const struct profile_point *point)
{
    return point->op.busy == 0 && grid_axes_of(point->op.kind)->n > 0 && point->cost_us > 0;
}

static struct memo_key key_of(const struct grid_place *place)
{
    struct memo_key key = {{0}};
    memcpy(key.at, place->fixed, sizeof place->fixed);
    return key;
}

struct grid_families *grid_families_open(const struct profile *profile)
{
    struct arena arena = {0};
    struct grid_families *families = ARENA_NEW(&arena, struct grid_families, 1);
    families->arena = arena;
    families->profile = profile;
    families->known = memo_open(sizeof(struct family *), 0);
    for (int64_t i = 0; profile != NULL && i < profile->n; i++) {
        enum op_kind kind = profile->points[i].op.kind;
        if (i == 0 || profile->points[i - 1].op.kind != kind)
            families->kinds[kind].first = i;
        families->kinds[kind].end = i + 1;
        families->kinds[kind].any = families->kinds[kind].any || on_grid(&profile->points[i]);
    }
    return families;
}

void grid_families_close(struct grid_families *families)
{
    if (families == NULL)
        return;
    memo_close(families->known);
    struct arena arena = families->arena; /* the families themselves lie in it */
    arena_free(&arena);
}

bool grid_families_have(const struct grid_families *families, enum op_kind kind)
{
    return families->kinds[kind].any;
}

struct arena *grid_families_arena(struct grid_families *families)
{
    return &families->arena;
}

static struct family *family_of(
        struct grid_families *families, const struct grid_place *place, enum op_kind kind)
{
    struct memo_key key = key_of(place);
    struct family **known = memo_find(families->known, &key);
    if (known != NULL)
        return *known;
    struct family *family = ARENA_NEW(&families->arena, struct family, 1);
    family->n_axes = grid_axes_of(kind)->n;
    memcpy(family->fixed, place->fixed, sizeof family->fixed);
    *(struct family **)memo_add(families->known, &key) = family;
    return family;
}

static void sort_kind(struct grid_families *families, enum op_kind kind)
{
    const struct profile *profile = families->profile;
    for (int64_t i = families->kinds[kind].first; i < families->kinds[kind].end; i++) {
        if (!on_grid(&profile->points[i]))
            continue;
        struct grid_place place;
        grid_place_of(&place, &profile->points[i].op);
        struct family *family = family_of(families, &place, kind);
        if (family->n == family->room) {
            int64_t room = family->room * 2 + 64;
            family->points = arena_grow(
                    &families->arena, family->points, family->n, room, sizeof *family->points);
            family->room = room;
        }
        family->points[family->n++] = (int32_t)i;
    }
    families->kinds[kind].sorted = true;
}

static int by_i64(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a;
    int64_t y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

int axis_at(const struct axis *axis, int64_t value)
{
    int lo = 0;
    int hi = axis->n;
    while (lo < hi) {
        int mid = (lo + hi) / 2;
        if (axis->values[mid] < value)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* Distinct values among many: most are seen again at once. */
struct distinct {
    int64_t *values;
    int64_t n, room;
    int64_t seen[256]; /* value + 1 */
};

static void distinct_add(struct distinct *distinct, struct arena *arena, int64_t value)
{
    uint64_t h = (uint64_t)value * 0x9e3779b97f4a7c15u >> 56;
    if (distinct->seen[h] == value + 1)
        return;
    distinct->seen[h] = value + 1;
    if (distinct->n == distinct->room) {
        int64_t room = distinct->room * 2 + 256;
        distinct->values =
                arena_grow(arena, distinct->values, distinct->n, room, sizeof *distinct->values);
        distinct->room = room;
    }
    distinct->values[distinct->n++] = value;
}

static void make_axis(
        struct arena *arena, struct axis *axis, const struct grid_axis *shape, struct distinct *all)
{
    int64_t *values = all->values;
    if (all->n > 0)
        qsort(values, (size_t)all->n, sizeof *values, by_i64);
    axis->values = values;
    axis->unordered = shape->unordered;
    axis->straight = shape->straight;
    axis->n = 0;
    for (int64_t i = 0; i < all->n; i++)
        if (i == 0 || values[i] != values[i - 1])
            axis->values[axis->n++] = values[i];
    axis->pos = ARENA_NEW(arena, double, axis->n);
    for (int i = 0; i < axis->n; i++)
        axis->pos[i] = log((double)axis->values[i] + shape->offset);
}

static void make_axes(struct grid_families *families, struct family *family)
{
    const struct profile_point *points = families->profile->points;
    const struct grid_axes *shape = grid_axes_of(points[family->points[0]].op.kind);
    struct distinct all[GRID_AXES] = {{0}};
    int64_t stride = 1;
    for (int64_t i = 0; i < family->n; i++) {
        struct grid_place place;
        grid_place_of(&place, &points[family->points[i]].op);
        for (int a = 0; a < family->n_axes; a++)
            distinct_add(&all[a], &families->arena, place.at[a]);
    }
    for (int a = 0; a < family->n_axes; a++) {
        make_axis(&families->arena, &family->axes[a], &shape->axes[a], &all[a]);
        family->axes[a].stride = stride;
        family->straight |= shape->axes[a].straight > 0;
        stride *= family->axes[a].n;
    }
    family->site_axes = shape->site_axes;
    family->fills = shape->fills;
}

static void learn_roof(const struct grid_families *families, struct family *family)
{
    family->least_us = HUGE_VAL;
    for (int64_t i = 0; i < family->n; i++) {
        const struct profile_point *point = &families->profile->points[family->points[i]];
        family->flop_per_us = fmax(family->flop_per_us, op_flop(&point->op) / point->cost_us);
        family->bytes_per_us = fmax(family->bytes_per_us, op_bytes(&point->op) / point->cost_us);
        family->least_us = fmin(family->least_us, point->cost_us);
    }
}

static int64_t key_at(const struct family *family, const struct op *op)
{
    int64_t key = 0;
    struct grid_place place;
    grid_place_of(&place, op);
    for (int a = 0; a < family->n_axes; a++)
        key += axis_at(&family->axes[a], place.at[a]) * family->axes[a].stride;
    return key;
}

/* Leaves points out, once alone and once with their site and a fifth of the others. */
static void calibrate(struct grid_families *families, struct family *family)
{
    double errors[FOUND_COUNT][2 * CALIBRATE];
    int n[FOUND_COUNT] = {0};
    for (int i = 0; i < 2 * CALIBRATE && i < 2 * family->n; i++) {
        int64_t turn = i / 2;
        int64_t pick = family->n <= CALIBRATE ? turn : turn * family->n / CALIBRATE;
        int64_t key = key_at(family, &families->profile->points[family->points[pick]].op);
        double value = 0;
        double truth = (double)cells_find(&family->cells, key)->value;
        family->hidden = i % 2 == 0 ? 0 : family_fold(family, key);
        enum found found = cells_estimate(&value, &families->arena, family, key);
        family->hidden = 0;
        errors[found][n[found]++] = fabs(value - truth);
    }
    double *width = family->width;
    width[FOUND_INSIDE] = conformal_width(errors[FOUND_INSIDE], n[FOUND_INSIDE], UNKNOWN_INSIDE);
    width[FOUND_ACROSS] = conformal_width(errors[FOUND_ACROSS], n[FOUND_ACROSS], UNKNOWN_ACROSS);
    width[FOUND_OUTSIDE] =
            conformal_width(errors[FOUND_OUTSIDE], n[FOUND_OUTSIDE], UNKNOWN_OUTSIDE);
    width[FOUND_ACROSS] = fmax(width[FOUND_ACROSS], width[FOUND_INSIDE]);
    width[FOUND_OUTSIDE] = fmax(width[FOUND_OUTSIDE], width[FOUND_ACROSS]);
}

static void build(struct grid_families *families, struct family *family)
{
    const struct profile_point *points = families->profile->points;
    make_axes(families, family);
    learn_roof(families, family);
    int64_t slots = 64;
    while (slots < family->n * 3)
        slots *= 2;
    cells_make(&families->arena, &family->cells, slots);
    cells_make(&families->arena, &family->sites, 64);
    cells_make(&families->arena, &family->own, 64);
    for (int64_t i = 0; i < family->n; i++) {
        const struct profile_point *point = &points[family->points[i]];
        int64_t key = key_at(family, &point->op);
        /* Two spellings of one place, as no window and one that is never reached: the first counts. */
        if (cells_find(&family->cells, key) != NULL)
            continue;
        double roof = log(family_roof_us(family, &point->op));
        cells_put(&families->arena, &family->cells,
                (struct cell){
                        key, family->points[i], (float)(log(point->cost_us) - roof), (float)roof});
        int64_t site = family_site(family, key);
        if (cells_find(&family->sites, site) == NULL)
            cells_put(&families->arena, &family->sites, (struct cell){site, 0, 0, 0});
    }
    calibrate(families, family);
    family->built = true;
}

struct family *grid_families_find(
        struct grid_families *families, const struct grid_place *place, enum op_kind kind)
{
    struct family *last = families->kinds[kind].last;
    int64_t *last_fixed = families->kinds[kind].last_fixed;
    if (last != NULL && memcmp(last_fixed, place->fixed, sizeof place->fixed) == 0)
        return last;
    if (!families->kinds[kind].any)
        return NULL;
    if (!families->kinds[kind].sorted)
        sort_kind(families, kind);
    struct memo_key key = key_of(place);
    struct family **known = memo_find(families->known, &key);
    if (known == NULL)
        return NULL;
    if (!(*known)->built)
        build(families, *known);
    families->kinds[kind].last = *known;
    memcpy(last_fixed, place->fixed, sizeof place->fixed);
    return *known;
}
