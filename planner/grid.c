/*
 * Notation of docs/method.md, "Imported costs": a cell is a place on the grid, v its value, the logarithm of time
 * over the family's roofline. Along axis a a cell lies between the nearest measured ones, v_a is what they
 * say by linear interpolation; v_ab adds to it what the same interpolation misses at the nearest cells
 * along axis b, in which all of it was measured, and once more at the cells behind those. The median over all
 * pairs of axes stands for the cell.
 */
#include "planner/grid.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/arena.h"
#include "planner/grid_axes.h"
#include "planner/memo.h"

enum {
    REACH = 8,       /* cells that a correction looks away along an axis */
    RINGS = 2,       /* nearest, and behind those */
    CALIBRATE = 400, /* points left out to learn how far estimates are off */
    MIN_ERRORS = 12, /* fewer say nothing */
    MAX_PAIRS = RINGS * GRID_AXES * GRID_AXES
};
/* Half widths of the interval, logarithms, where too few points can be left out. */
#define UNKNOWN_INSIDE  0.15
#define UNKNOWN_ACROSS  0.25
#define UNKNOWN_OUTSIDE 0.40
#define COVERAGE        0.9

enum found {
    FOUND_NONE,
    FOUND_INSIDE,
    FOUND_ACROSS,  /* no size of its site was measured: from other sites */
    FOUND_OUTSIDE, /* on no axis between two measured cells */
    FOUND_COUNT
};

/* point: index in the profile, or what an estimate of the cell was: -1 - found. */
struct cell {
    int64_t key;
    int32_t point;
    float value;
};

struct axis {
    int64_t *values; /* ascending */
    double *pos;
    int n;
    int64_t stride;
    bool unordered;
};

struct family {
    int32_t *points; /* indices in the profile */
    int64_t n, room;
    bool built;
    struct axis axes[GRID_AXES];
    int n_axes;
    struct cell *cells; /* open addressing, a power of two slots, at most half full */
    int64_t n_cells, n_slots;
    double flop_per_us, bytes_per_us, least_us;
    double width[FOUND_COUNT]; /* half width of the interval, logarithm */
};

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

/* ---- cells ---- */

static int64_t slot_of(const struct family *family, int64_t key)
{
    uint64_t h = (uint64_t)key * 0x9e3779b97f4a7c15u;
    int64_t at = (int64_t)((h ^ h >> 29) & (uint64_t)(family->n_slots - 1));
    while (family->cells[at].key >= 0 && family->cells[at].key != key)
        at = (at + 1) & (family->n_slots - 1);
    return at;
}

static void make_slots(struct grids *grids, struct family *family, int64_t n_slots)
{
    family->n_slots = n_slots;
    family->cells = ARENA_NEW(&grids->arena, struct cell, n_slots);
    for (int64_t i = 0; i < n_slots; i++)
        family->cells[i].key = -1;
}

static void put_cell(struct grids *grids, struct family *family, struct cell cell)
{
    if (family->n_cells * 2 >= family->n_slots) {
        struct family old = *family;
        make_slots(grids, family, old.n_slots * 2);
        for (int64_t i = 0; i < old.n_slots; i++)
            if (old.cells[i].key >= 0)
                family->cells[slot_of(family, old.cells[i].key)] = old.cells[i];
    }
    family->cells[slot_of(family, cell.key)] = cell;
    family->n_cells++;
}

/* The value of a measured cell; NaN when it was not measured. */
static double value_at(const struct family *family, int64_t key)
{
    const struct cell *cell = &family->cells[slot_of(family, key)];
    return cell->key >= 0 && cell->point >= 0 ? (double)cell->value : (double)NAN;
}

/* ---- an estimate of one cell ---- */

/* Cells along one axis whose weighted values stand for another one. */
struct blend {
    int n;
    int64_t step[2]; /* from the cell's key */
    double weight[2];
};

static double blend_value(const struct family *family, const struct blend *blend, int64_t key)
{
    double value = 0;
    for (int i = 0; i < blend->n; i++)
        value += blend->weight[i] * value_at(family, key + blend->step[i]);
    return value;
}

static bool step_to_measured(int64_t *step, const struct family *family, int64_t key,
        const struct axis *axis, int from, int by)
{
    for (int j = from + by; j >= 0 && j < axis->n; j += by) {
        *step = (j - from) * axis->stride;
        if (!isnan(value_at(family, key + *step)))
            return true;
    }
    return false;
}

static struct blend blend_along(
        const struct family *family, int64_t key, const struct axis *axis, int at)
{
    struct blend blend = {0};
    int64_t below;
    int64_t above;
    bool has_below = step_to_measured(&below, family, key, axis, at, -1);
    bool has_above = step_to_measured(&above, family, key, axis, at, 1);
    if (has_below && has_above && !axis->unordered) {
        double lo = axis->pos[at + below / axis->stride];
        double hi = axis->pos[at + above / axis->stride];
        double t = (axis->pos[at] - lo) / (hi - lo);
        blend = (struct blend){2, {below, above}, {1 - t, t}};
    } else if (has_below || has_above) {
        blend = (struct blend){1, {has_below ? below : above}, {1}};
    }
    return blend;
}

/* What a blend misses beside the cell, along another axis: at one cell on each side, by nearness, the nearest
 * where ring is 0. */
static bool correction(double *out, const struct family *family, int64_t key,
        const struct blend *blend, const struct axis *axis, int at, int ring)
{
    double sum = 0;
    double weights = 0;
    for (int by = -1; by <= 1; by += 2) {
        int before = 0;
        for (int j = at + by; j >= 0 && j < axis->n && abs(j - at) <= REACH; j += by) {
            int64_t beside = key + (j - at) * axis->stride;
            double missed = value_at(family, beside);
            if (!isnan(missed))
                missed -= blend_value(family, blend, beside);
            if (isnan(missed) || before++ < ring)
                continue;
            double weight = 1 / fabs(axis->pos[j] - axis->pos[at]);
            sum += weight * missed;
            weights += weight;
            break;
        }
    }
    if (weights > 0)
        *out = sum / weights;
    return weights > 0;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, int n)
{
    qsort(values, (size_t)n, sizeof *values, by_value);
    return (values[n / 2] + values[(n - 1) / 2]) / 2;
}

/* Estimates of a cell, by how they came about; the first list that has any decides. */
struct opinions {
    double sums[MAX_PAIRS];                /* between two cells, corrected */
    double corners[MAX_PAIRS + GRID_AXES]; /* beside one cell, corrected: a parallelogram */
    double between[GRID_AXES], beside[GRID_AXES];
    int n_sums, n_corners, n_between, n_beside;
};

static void collect_pair(struct opinions *out, const struct family *family, int64_t key,
        const struct blend *blend, double along, const struct axis *axis, int at)
{
    double missed = 0;
    for (int ring = 0; ring < RINGS; ring++) {
        if (!correction(&missed, family, key, blend, axis, at, ring))
            return;
        if (blend->n == 2)
            out->sums[out->n_sums++] = along + missed;
        else if (ring == 0)
            out->corners[out->n_corners++] = along + missed;
    }
}

/* first: of the axes that count. Returns whether cells of the own site, along axis 0, did. */
static bool collect(
        struct opinions *out, const struct family *family, int64_t key, const int *at, int first)
{
    bool own = false;
    out->n_sums = out->n_corners = out->n_between = out->n_beside = 0;
    for (int a = first; a < family->n_axes; a++) {
        struct blend blend = blend_along(family, key, &family->axes[a], at[a]);
        if (blend.n == 0)
            continue;
        own |= a == 0;
        double along = blend_value(family, &blend, key);
        if (blend.n == 2)
            out->between[out->n_between++] = along;
        else
            out->beside[out->n_beside++] = along;
        for (int b = first; b < family->n_axes; b++)
            if (b != a)
                collect_pair(out, family, key, &blend, along, &family->axes[b], at[b]);
    }
    return own;
}

/* The cell at indices `at`, from the others: what it says itself does not count. */
static enum found estimate(
        double *value, const struct family *family, int64_t key, const int *at, int first)
{
    struct opinions opinions;
    bool own = collect(&opinions, family, key, at, first);
    if (opinions.n_sums > 0) {
        *value = median(opinions.sums, opinions.n_sums);
    } else if (opinions.n_corners > 0) {
        memcpy(&opinions.corners[opinions.n_corners], opinions.between,
                sizeof *opinions.between * (size_t)opinions.n_between);
        *value = median(opinions.corners, opinions.n_corners + opinions.n_between);
    } else if (opinions.n_between > 0) {
        *value = median(opinions.between, opinions.n_between);
    } else if (opinions.n_beside > 0) {
        *value = median(opinions.beside, opinions.n_beside);
    } else {
        return FOUND_NONE;
    }
    if (opinions.n_between == 0)
        return FOUND_OUTSIDE;
    return own ? FOUND_INSIDE : FOUND_ACROSS;
}

/* The cell as measured, else as estimated, which is remembered. */
static enum found cell_value(
        double *value, struct grids *grids, struct family *family, int64_t key, const int *at)
{
    const struct cell *known = &family->cells[slot_of(family, key)];
    if (known->key >= 0) {
        *value = (double)known->value;
        return known->point >= 0 ? FOUND_INSIDE : (enum found)(-1 - known->point);
    }
    *value = 0;
    enum found found = estimate(value, family, key, at, 0);
    put_cell(grids, family, (struct cell){key, -1 - (int32_t)found, (float)*value});
    return found;
}

/* ---- building a family ---- */

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

/* Split conformal: the share COVERAGE of the points left out lies within the width. */
static double width_of(double *errors, int n, double unknown)
{
    if (n < MIN_ERRORS)
        return unknown;
    qsort(errors, (size_t)n, sizeof *errors, by_value);
    int rank = (int)ceil(COVERAGE * (n + 1)) - 1;
    return errors[rank < n ? rank : n - 1];
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
        enum found found = estimate(&value, family, key, at, i % 2);
        errors[found][n[found]++] = fabs(value - value_at(family, key));
    }
    double *width = family->width;
    width[FOUND_INSIDE] = width_of(errors[FOUND_INSIDE], n[FOUND_INSIDE], UNKNOWN_INSIDE);
    width[FOUND_ACROSS] = width_of(errors[FOUND_ACROSS], n[FOUND_ACROSS], UNKNOWN_ACROSS);
    width[FOUND_OUTSIDE] = width_of(errors[FOUND_OUTSIDE], n[FOUND_OUTSIDE], UNKNOWN_OUTSIDE);
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
    make_slots(grids, family, slots);
    for (int64_t i = 0; i < family->n; i++) {
        const struct profile_point *point = &points[family->points[i]];
        int at[GRID_AXES];
        int64_t key;
        indices_of(at, &key, family, &point->op);
        /* Two spellings of one place, as no window and one that is never reached: the first counts. */
        if (isnan(value_at(family, key)))
            put_cell(grids, family,
                    (struct cell){key, family->points[i],
                            (float)log(point->cost_us / roof_us(family, &point->op))});
    }
    calibrate(grids, family);
    family->built = true;
}

/* ---- answering ---- */

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
        enum found found = cell_value(&here, grids, family, key, at);
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
    const struct cell *cell = &family->cells[slot_of(family, key)];
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
