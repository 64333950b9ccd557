/*
 * Imported points lie on grids of their own, one a family: what makes two ops comparable at all. A question goes to
 * its family; cells of it that were not measured are estimated in grid_cells.c.
 */
#include "planner/grid.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/arena.h"
#include "planner/conformal.h"
#include "planner/grid_axes.h"
#include "planner/grid_cells.h"
#include "planner/memo.h"

enum {
    CALIBRATE = 400, /* points left out to learn how far estimates are off */
};
/* Half widths of the interval, logarithms, where too few points can be left out. */
#define UNKNOWN_INSIDE  0.15
#define UNKNOWN_ACROSS  0.25
#define UNKNOWN_OUTSIDE 0.40

struct grids {
    struct arena arena;
    const struct profile *profile;
    struct memo *families; /* fixed part of the place -> int64_t index + 1 */
    struct family *items;
    int64_t n, room;
    bool have[OP_KIND_COUNT];
    /* The family that answered last, by kind: steps ask for the same one again and again. */
    struct family *last[OP_KIND_COUNT];
    int64_t last_fixed[OP_KIND_COUNT][GRID_FIXED];
};

static struct memo_key family_key(const struct grid_place *place)
{
    struct memo_key key = {{0}};
    memcpy(key.at, place->fixed, sizeof place->fixed);
    return key;
}

static struct family *family_of(
        struct grids *grids, const struct grid_place *place, enum op_kind kind)
{
    struct memo_key key = family_key(place);
    const int64_t *known = memo_find(grids->families, &key);
    if (known != NULL)
        return &grids->items[*known];
    if (grids->n == grids->room) {
        int64_t room = grids->room * 2 + 32;
        grids->items =
                arena_grow(&grids->arena, grids->items, grids->n, room, sizeof *grids->items);
        grids->room = room;
    }
    grids->items[grids->n] = (struct family){.n_axes = grid_axes_of(kind)->n};
    *(int64_t *)memo_add(grids->families, &key) = grids->n;
    return &grids->items[grids->n++];
}

struct grids *grids_open(const struct profile *profile)
{
    struct arena arena = {0};
    struct grids *grids = ARENA_NEW(&arena, struct grids, 1);
    grids->arena = arena;
    grids->profile = profile;
    grids->families = memo_open(sizeof(int64_t));
    for (int64_t i = 0; profile != NULL && i < profile->n; i++) {
        const struct profile_point *point = &profile->points[i];
        enum op_kind kind = point->op.kind;
        if (point->op.busy != 0 || grid_axes_of(kind)->n == 0 || !(point->cost_us > 0))
            continue;
        struct grid_place place;
        grid_place_of(&place, &point->op);
        struct family *family = family_of(grids, &place, kind);
        if (family->n == family->room) {
            int64_t room = family->room * 2 + 64;
            family->points = arena_grow(
                    &grids->arena, family->points, family->n, room, sizeof *family->points);
            family->room = room;
        }
        family->points[family->n++] = (int32_t)i;
        grids->have[kind] = true;
    }
    return grids;
}

void grids_close(struct grids *grids)
{
    if (grids == NULL)
        return;
    memo_close(grids->families);
    struct arena arena = grids->arena; /* the grids themselves lie in it */
    arena_free(&arena);
}

bool grids_have(const struct grids *grids, enum op_kind kind)
{
    return grids->have[kind];
}

static int by_i64(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a;
    int64_t y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* First index whose value is not below. */
static int axis_at(const struct axis *axis, int64_t value)
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

static void make_axis(struct grids *grids, struct axis *axis, const struct grid_axis *shape,
        int64_t *values, int64_t n)
{
    qsort(values, (size_t)n, sizeof *values, by_i64);
    axis->values = values;
    axis->unordered = shape->unordered;
    for (int64_t i = 0; i < n; i++)
        if (i == 0 || values[i] != values[i - 1])
            axis->values[axis->n++] = values[i];
    axis->pos = ARENA_NEW(&grids->arena, double, axis->n);
    for (int i = 0; i < axis->n; i++)
        axis->pos[i] = log((double)axis->values[i] + shape->offset);
}

static double roof_us(const struct family *family, const struct op *op)
{
    double us = family->least_us;
    if (family->flop_per_us > 0)
        us += op_flop(op) / family->flop_per_us;
    if (family->bytes_per_us > 0)
        us += op_bytes(op) / family->bytes_per_us;
    return us;
}

static void learn_roof(const struct grids *grids, struct family *family)
{
    family->least_us = HUGE_VAL;
    for (int64_t i = 0; i < family->n; i++) {
        const struct profile_point *point = &grids->profile->points[family->points[i]];
        family->flop_per_us = fmax(family->flop_per_us, op_flop(&point->op) / point->cost_us);
        family->bytes_per_us = fmax(family->bytes_per_us, op_bytes(&point->op) / point->cost_us);
        family->least_us = fmin(family->least_us, point->cost_us);
    }
}

static void indices_of(int *at, int64_t *key, const struct family *family, const struct op *op)
{
    struct grid_place place;
    grid_place_of(&place, op);
    *key = 0;
    for (int a = 0; a < family->n_axes; a++) {
        at[a] = axis_at(&family->axes[a], place.at[a]);
        *key += at[a] * family->axes[a].stride;
    }
}

/* Leaves points out, once alone and once with their site. */
static void calibrate(const struct grids *grids, struct family *family)
{
    double errors[FOUND_COUNT][2 * CALIBRATE];
    int n[FOUND_COUNT] = {0};
    for (int i = 0; i < 2 * CALIBRATE && i < 2 * family->n; i++) {
        int64_t turn = i / 2;
        int64_t pick = family->n <= CALIBRATE ? turn : turn * family->n / CALIBRATE;
        int at[GRID_AXES];
        int64_t key;
        double value = 0;
        indices_of(at, &key, family, &grids->profile->points[family->points[pick]].op);
        enum found found = cells_estimate(&value, family, key, at, i % 2);
        errors[found][n[found]++] = fabs(value - cells_value(family, key));
    }
    double *width = family->width;
    width[FOUND_INSIDE] = conformal_width(errors[FOUND_INSIDE], n[FOUND_INSIDE], UNKNOWN_INSIDE);
    width[FOUND_ACROSS] = conformal_width(errors[FOUND_ACROSS], n[FOUND_ACROSS], UNKNOWN_ACROSS);
    width[FOUND_OUTSIDE] =
            conformal_width(errors[FOUND_OUTSIDE], n[FOUND_OUTSIDE], UNKNOWN_OUTSIDE);
    width[FOUND_ACROSS] = fmax(width[FOUND_ACROSS], width[FOUND_INSIDE]);
    width[FOUND_OUTSIDE] = fmax(width[FOUND_OUTSIDE], width[FOUND_ACROSS]);
}

static void build(struct grids *grids, struct family *family)
{
    const struct profile_point *points = grids->profile->points;
    const struct grid_axes *shape = grid_axes_of(points[family->points[0]].op.kind);
    int64_t stride = 1;
    for (int a = 0; a < family->n_axes; a++) {
        int64_t *values = ARENA_NEW(&grids->arena, int64_t, family->n);
        for (int64_t i = 0; i < family->n; i++) {
            struct grid_place place;
            grid_place_of(&place, &points[family->points[i]].op);
            values[i] = place.at[a];
        }
        make_axis(grids, &family->axes[a], &shape->axes[a], values, family->n);
        family->axes[a].stride = stride;
        stride *= family->axes[a].n;
    }
    learn_roof(grids, family);
    int64_t slots = 64;
    while (slots < family->n * 3)
        slots *= 2;
    cells_make(&grids->arena, family, slots);
    for (int64_t i = 0; i < family->n; i++) {
        const struct profile_point *point = &points[family->points[i]];
        int at[GRID_AXES];
        int64_t key;
        indices_of(at, &key, family, &point->op);
        /* Two spellings of one place, as no window and one that is never reached: the first counts. */
        if (isnan(cells_value(family, key)))
            cells_put(&grids->arena, family,
                    (struct cell){key, family->points[i],
                            (float)log(point->cost_us / roof_us(family, &point->op))});
    }
    calibrate(grids, family);
    family->built = true;
}

/* Where an op lies: per axis one index, or two and how far it is from the first. */
struct spot {
    int at[GRID_AXES];
    double t[GRID_AXES]; /* 0 = on the first */
    bool outside, substituted;
};

static void spot_on_axis(struct spot *spot, const struct family *family,
        const struct grid_axis *shape, int a, int64_t value)
{
    const struct axis *axis = &family->axes[a];
    int at = axis_at(axis, value);
    spot->t[a] = 0;
    if (at < axis->n && axis->values[at] == value) {
        spot->at[a] = at;
        return;
    }
    if (axis->unordered) { /* the name nearest in the list of names stands in */
        spot->substituted = true;
        if (at == axis->n || (at > 0 && value - axis->values[at - 1] <= axis->values[at] - value))
            at--;
        spot->at[a] = at;
        return;
    }
    if (at == 0 || at == axis->n) { /* utilisation holds past the edge */
        spot->outside = true;
        spot->at[a] = at == 0 ? 0 : axis->n - 1;
        return;
    }
    double pos = log((double)value + shape->offset);
    spot->at[a] = at - 1;
    spot->t[a] = (pos - axis->pos[at - 1]) / (axis->pos[at] - axis->pos[at - 1]);
}

/* Linear along every axis that the spot is not on; corners that nothing is known of are left out. */
static enum found join(
        double *value, struct grids *grids, struct family *family, const struct spot *spot)
{
    int off[GRID_AXES];
    int n_off = 0;
    for (int a = 0; a < family->n_axes; a++)
        if (spot->t[a] > 0)
            off[n_off++] = a;
    double sum = 0;
    double weights = 0;
    enum found worst = FOUND_INSIDE;
    for (int corner = 0; corner < 1 << n_off; corner++) {
        int at[GRID_AXES];
        double weight = 1;
        double here = 0;
        int64_t key = 0;
        memcpy(at, spot->at, sizeof at);
        for (int i = 0; i < n_off; i++) {
            bool up = (corner >> i & 1) != 0;
            at[off[i]] += up;
            weight *= up ? spot->t[off[i]] : 1 - spot->t[off[i]];
        }
        for (int a = 0; a < family->n_axes; a++)
            key += at[a] * family->axes[a].stride;
        enum found found = cells_fill(&here, &grids->arena, family, key, at);
        if (found == FOUND_NONE)
            continue;
        if (found > worst && weight > 0.1)
            worst = found;
        sum += weight * here;
        weights += weight;
    }
    if (weights < 0.25)
        return FOUND_NONE;
    *value = sum / weights;
    return weights < 0.75 ? FOUND_OUTSIDE : worst;
}

static const struct profile_point *measured_at(
        const struct grids *grids, const struct family *family, const struct spot *spot)
{
    int64_t key = 0;
    for (int a = 0; a < family->n_axes; a++) {
        if (spot->t[a] > 0)
            return NULL;
        key += spot->at[a] * family->axes[a].stride;
    }
    const struct cell *cell = &family->cells[cells_slot(family, key)];
    bool measured = !spot->outside && !spot->substituted && cell->key >= 0 && cell->point >= 0;
    return measured ? &grids->profile->points[cell->point] : NULL;
}

static struct family *find_family(
        struct grids *grids, const struct grid_place *place, enum op_kind kind)
{
    struct family *last = grids->last[kind];
    if (last != NULL && memcmp(grids->last_fixed[kind], place->fixed, sizeof place->fixed) == 0)
        return last;
    struct memo_key key = family_key(place);
    const int64_t *known = memo_find(grids->families, &key);
    if (known == NULL)
        return NULL;
    struct family *family = &grids->items[*known];
    if (!family->built)
        build(grids, family);
    grids->last[kind] = family;
    memcpy(grids->last_fixed[kind], place->fixed, sizeof place->fixed);
    return family;
}

bool grids_have_cached(struct grids *grids, const struct op *op)
{
    struct grid_place place;
    grid_place_of(&place, op);
    const struct family *family = find_family(grids, &place, op->kind);
    return family != NULL && family->axes[1].n > 1;
}

/* Time that no kernel of the family went below at this work. */
static double floor_us(const struct family *family, const struct op *op)
{
    double compute = family->flop_per_us > 0 ? op_flop(op) / family->flop_per_us : 0;
    double memory = family->bytes_per_us > 0 ? op_bytes(op) / family->bytes_per_us : 0;
    return fmax(compute, memory);
}

bool grids_cost(struct cost *out, struct grids *grids, const struct op *op)
{
    const struct grid_axes *shape = grid_axes_of(op->kind);
    struct grid_place place;
    if (shape->n == 0)
        return false;
    grid_place_of(&place, op);
    struct family *family = find_family(grids, &place, op->kind);
    if (family == NULL)
        return false;
    struct spot spot = {.outside = false};
    for (int a = 0; a < family->n_axes; a++)
        spot_on_axis(&spot, family, &shape->axes[a], a, place.at[a]);
    const struct profile_point *point = measured_at(grids, family, &spot);
    if (point != NULL) {
        double lo = point->lo_us > 0 ? point->lo_us : point->cost_us;
        double hi = point->hi_us > 0 ? point->hi_us : point->cost_us;
        *out = (struct cost){point->cost_us, lo, hi, point->source, 0};
        return true;
    }
    double value = 0;
    enum found found = join(&value, grids, family, &spot);
    if (found == FOUND_NONE)
        return false;
    bool guessed = found == FOUND_OUTSIDE || spot.outside || spot.substituted;
    double us = fmax(exp(value) * roof_us(family, op), floor_us(family, op));
    double width = family->width[guessed ? FOUND_OUTSIDE : found];
    *out = (struct cost){
            us, us * exp(-width), us * exp(width), guessed ? COST_ESTIMATED : COST_INTERPOLATED, 0};
    return true;
}
