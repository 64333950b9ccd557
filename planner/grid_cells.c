/*
 * Notation of docs/method.md, "Imported costs": a cell is a place on the grid, v its value, the logarithm of time
 * over the family's roofline. Along axis a a cell lies between the nearest measured ones, v_a is what they
 * say by linear interpolation; v_ab adds to it what the same interpolation misses at the nearest cells
 * along axis b, in which all of it was measured, and once more at the cells behind those. The median over all
 * pairs of axes stands for the cell.
 */
#include "planner/grid_cells.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/random.h"

enum {
    REACH = 8, /* cells that a correction looks away along an axis */
    RINGS = 2, /* nearest, and behind those */
    FOLDS = 5,
    MAX_PAIRS = RINGS * GRID_AXES * GRID_AXES
};

int64_t cells_slot(const struct family *family, int64_t key)
{
    uint64_t h = (uint64_t)key * 0x9e3779b97f4a7c15u;
    int64_t at = (int64_t)((h ^ h >> 29) & (uint64_t)(family->n_slots - 1));
    while (family->cells[at].key >= 0 && family->cells[at].key != key)
        at = (at + 1) & (family->n_slots - 1);
    return at;
}

void cells_make(struct arena *arena, struct family *family, int64_t n_slots)
{
    family->n_slots = n_slots;
    family->cells = ARENA_NEW(arena, struct cell, n_slots);
    for (int64_t i = 0; i < n_slots; i++)
        family->cells[i].key = -1;
}

void cells_put(struct arena *arena, struct family *family, struct cell cell)
{
    if (family->n_cells * 2 >= family->n_slots) {
        struct family old = *family;
        cells_make(arena, family, old.n_slots * 2);
        for (int64_t i = 0; i < old.n_slots; i++)
            if (old.cells[i].key >= 0)
                family->cells[cells_slot(family, old.cells[i].key)] = old.cells[i];
    }
    family->cells[cells_slot(family, cell.key)] = cell;
    family->n_cells++;
}

int cells_fold(const struct family *family, int64_t key)
{
    uint64_t h = 0;
    for (int a = 0; a < family->n_axes; a++)
        if ((family->site_axes >> a & 1) != 0)
            h = random_mix(h + (uint64_t)(key / family->axes[a].stride % family->axes[a].n) + 1);
    return 1 + (int)(h % FOLDS);
}

double cells_value(const struct family *family, int64_t key)
{
    const struct cell *cell = &family->cells[cells_slot(family, key)];
    if (cell->key < 0 || cell->point < 0
            || (family->hidden > 0 && cells_fold(family, key) == family->hidden))
        return (double)NAN;
    return (double)cell->value;
}

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
        value += blend->weight[i] * cells_value(family, key + blend->step[i]);
    return value;
}

static bool step_to_measured(int64_t *step, const struct family *family, int64_t key,
        const struct axis *axis, int from, int by)
{
    for (int j = from + by; j >= 0 && j < axis->n; j += by) {
        *step = (j - from) * axis->stride;
        if (!isnan(cells_value(family, key + *step)))
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
            double missed = cells_value(family, beside);
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

/* Returns whether cells of the own site did. */
static bool collect(struct opinions *out, const struct family *family, int64_t key, const int *at)
{
    bool own = false;
    out->n_sums = out->n_corners = out->n_between = out->n_beside = 0;
    for (int a = 0; a < family->n_axes; a++) {
        struct blend blend = blend_along(family, key, &family->axes[a], at[a]);
        if (blend.n == 0)
            continue;
        own |= (family->site_axes >> a & 1) == 0;
        double along = blend_value(family, &blend, key);
        if (blend.n == 2)
            out->between[out->n_between++] = along;
        else
            out->beside[out->n_beside++] = along;
        for (int b = 0; b < family->n_axes; b++)
            if (b != a)
                collect_pair(out, family, key, &blend, along, &family->axes[b], at[b]);
    }
    return own;
}

enum found cells_estimate(double *value, const struct family *family, int64_t key, const int *at)
{
    struct opinions opinions;
    bool own = collect(&opinions, family, key, at);
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

enum found cells_fill(
        double *value, struct arena *arena, struct family *family, int64_t key, const int *at)
{
    const struct cell *known = &family->cells[cells_slot(family, key)];
    if (known->key >= 0) {
        *value = (double)known->value;
        return known->point >= 0 ? FOUND_INSIDE : (enum found)(-1 - known->point);
    }
    *value = 0;
    enum found found = cells_estimate(value, family, key, at);
    cells_put(arena, family, (struct cell){key, -1 - (int32_t)found, (float)*value});
    return found;
}
