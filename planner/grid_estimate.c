/*
 * Notation of docs/method.md, "Imported costs": a cell is a place on the grid, v its value, the logarithm of time
 * over the family's roofline. Along axis a a cell lies between the nearest measured ones, v_a is what they
 * say by linear interpolation; v_ab adds to it what the same interpolation misses at the nearest cells
 * along axis b, in which all of it was measured, and once more at the cells behind those. The median over all
 * pairs of axes stands for the cell.
 *
 * A cell of a site that nothing was measured of can only be had from other sites. Then their cells count even where
 * they were not measured, as long as the other sizes of their own site say what they cost; and along axes that count
 * pieces of the same work (grid_axes.h) it is time that is interpolated, and goes on past the last two sites.
 */
#include "planner/grid_estimate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    REACH = 8, /* cells that a correction looks away along an axis */
    RINGS = 2, /* nearest, and behind those */
    MAX_PAIRS = RINGS * GRID_AXES * GRID_AXES
};

double cells_straight_us(double us0, double us1, double t, double ratio)
{
    double us = us0 + t * (us1 - us0);
    if ((t >= 0 && t <= 1) || isnan(us)) /* fmin and fmax forget what is not a number */
        return us;
    return fmax(fmin(us, fmax(us0, us0 * ratio)), fmin(us0, us0 * ratio));
}

static double roof_of(const struct family *family, int64_t key)
{
    int64_t values[GRID_AXES] = {0};
    for (int a = 0; a < family->n_axes; a++)
        values[a] = family->axes[a].values[key / family->axes[a].stride % family->axes[a].n];
    return family_roof_at(family, values);
}

/* Which cells may say something, and along which axes. */
struct view {
    struct arena *arena;
    struct family *family;
    unsigned axes;
    bool across; /* nothing of the cell's own site is known: other sites are filled, straight axes are taken as such */
};

static enum found estimate(double *value, const struct view *view, int64_t key);

/* The value and the logarithm of the roofline of a cell: as measured, or from its own site; NaN when neither. */
static double value_of(double *roof, const struct view *view, int64_t key)
{
    struct family *family = view->family;
    const struct cell *cell = cells_find(&family->cells, key);
    *roof = 0;
    if (family_hides(family, key))
        return (double)NAN;
    if ((cell == NULL || cell->point < 0) && view->across && family->fills
            && cells_find(&family->sites, family_site(family, key)) != NULL) {
        cell = cells_find(&family->own, key);
        if (cell == NULL) {
            const struct view own = {view->arena, family, ~family->site_axes, false};
            double value = 0;
            bool known = estimate(&value, &own, key) == FOUND_INSIDE;
            cells_put(view->arena, &family->own,
                    (struct cell){key, known ? 0 : -1, (float)value,
                            known ? (float)roof_of(family, key) : 0});
            cell = cells_find(&family->own, key);
        }
    }
    if (cell == NULL || cell->point < 0)
        return (double)NAN;
    *roof = (double)cell->roof;
    return (double)cell->value;
}

/* Cells along one axis that stand for another one: their weighted values, or on a straight axis their weighted times. */
struct blend {
    int n;           /* cells */
    bool outside;    /* all on one side */
    bool name;       /* the same under another name */
    bool straight;   /* time is what is weighted */
    int64_t step[2]; /* from the cell's key; the nearer one first where both are outside */
    double weight[2];
    double ratio; /* straight: coordinate / the first one's */
};

/* The value at `key`, of which `roof` is the logarithm of the roofline; NaN where a cell is not known. */
static double blend_value(
        const struct view *view, const struct blend *blend, int64_t key, double roof)
{
    double sum = 0;
    double us[2] = {0, 0};
    for (int i = 0; i < blend->n; i++) {
        double there = 0;
        double value = value_of(&there, view, key + blend->step[i]);
        sum += blend->weight[i] * value;
        if (blend->straight)
            us[i] = exp(value + there);
    }
    if (!blend->straight)
        return sum;
    return log(cells_straight_us(us[0], us[1], blend->weight[1], blend->ratio)) - roof;
}

static bool step_to_known(int64_t *step, const struct view *view, int64_t key,
        const struct axis *axis, int from, int by)
{
    double roof;
    *step = 0;
    for (int j = from + by; j >= 0 && j < axis->n; j += by)
        if (!isnan(value_of(&roof, view, key + (j - from) * axis->stride))) {
            *step = (j - from) * axis->stride;
            return true;
        }
    return false;
}

/* Through the two nearest cells of one side. */
static struct blend blend_beyond(
        const struct view *view, int64_t key, const struct axis *axis, int at, int64_t near, int by)
{
    struct blend blend = {1, true, false, false, {near}, {1}};
    int64_t past;
    int first = at + (int)(near / axis->stride);
    if (!view->across || axis->straight <= 0
            || !step_to_known(&past, view, key + near, axis, first, by))
        return blend;
    double x = (double)axis->values[at];
    double x0 = (double)axis->values[first];
    int64_t second = first + past / axis->stride;
    double x1 = (double)axis->values[second];
    double t = (x - x0) / (x1 - x0);
    if (t < -axis->straight)
        return blend;
    return (struct blend){2, true, false, true, {near, near + past}, {1 - t, t}, x / x0};
}

static struct blend blend_along(
        const struct view *view, int64_t key, const struct axis *axis, int at)
{
    bool straight = view->across && axis->straight > 0;
    int64_t below;
    int64_t above;
    bool has_below = step_to_known(&below, view, key, axis, at, -1);
    bool has_above = step_to_known(&above, view, key, axis, at, 1);
    if (!has_below && !has_above)
        return (struct blend){0};
    if (axis->unordered)
        return (struct blend){1, true, true, false, {has_below ? below : above}, {1}};
    if (!has_below || !has_above)
        return blend_beyond(view, key, axis, at, has_below ? below : above, has_below ? -1 : 1);
    int64_t lo = at + below / axis->stride;
    int64_t hi = at + above / axis->stride;
    double t = axis->straight > 0
                       ? (double)(axis->values[at] - axis->values[lo])
                                 / (double)(axis->values[hi] - axis->values[lo])
                       : (axis->pos[at] - axis->pos[lo]) / (axis->pos[hi] - axis->pos[lo]);
    double ratio = (double)axis->values[at] / (double)axis->values[lo];
    return (struct blend){2, false, false, straight, {below, above}, {1 - t, t}, ratio};
}

/* What a blend misses beside the cell, along another axis: at one cell on each side, by nearness, the nearest
 * where ring is 0. */
static bool correction(double *out, const struct view *view, int64_t key, const struct blend *blend,
        const struct axis *axis, int at, int ring)
{
    double sum = 0;
    double weights = 0;
    for (int by = -1; by <= 1; by += 2) {
        int before = 0;
        for (int j = at + by; j >= 0 && j < axis->n && abs(j - at) <= REACH; j += by) {
            int64_t beside = key + (j - at) * axis->stride;
            double roof;
            double missed = value_of(&roof, view, beside);
            if (!isnan(missed))
                missed -= blend_value(view, blend, beside, roof);
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

/* Estimates of a cell, by how they came about. */
struct opinions {
    double sums[MAX_PAIRS];                /* between two cells, corrected */
    double beyond[MAX_PAIRS];              /* past two cells of a straight axis, corrected */
    double corners[MAX_PAIRS + GRID_AXES]; /* beside one cell, corrected: a parallelogram */
    double between[GRID_AXES], past[GRID_AXES], beside[GRID_AXES]; /* as they are */
    int n_sums, n_beyond, n_corners, n_between, n_past, n_beside;
};

static void collect_pair(struct opinions *out, const struct view *view, int64_t key,
        const struct blend *blend, double along, const struct axis *axis, int at)
{
    double missed = 0;
    for (int ring = 0; ring < RINGS; ring++) {
        if (!correction(&missed, view, key, blend, axis, at, ring))
            return;
        if (!blend->outside || (blend->name && !view->family->straight))
            out->sums[out->n_sums++] = along + missed;
        else if (blend->n == 2 && ring == 0)
            out->beyond[out->n_beyond++] = along + missed;
        else if (ring == 0)
            out->corners[out->n_corners++] = along + missed;
    }
}

/* Returns whether cells of the own site did. */
static bool collect(struct opinions *out, const struct view *view, int64_t key)
{
    const struct family *family = view->family;
    bool own = false;
    double roof = view->across ? roof_of(family, key) : 0;
    int at[GRID_AXES] = {0};
    out->n_sums = out->n_beyond = out->n_corners = 0;
    out->n_between = out->n_past = out->n_beside = 0;
    for (int a = 0; a < family->n_axes; a++)
        at[a] = (int)(key / family->axes[a].stride % family->axes[a].n);
    for (int a = 0; a < family->n_axes; a++) {
        if ((view->axes >> a & 1) == 0)
            continue;
        struct blend blend = blend_along(view, key, &family->axes[a], at[a]);
        if (blend.n == 0)
            continue;
        own |= (family->site_axes >> a & 1) == 0;
        double along = blend_value(view, &blend, key, roof);
        if (!blend.outside)
            out->between[out->n_between++] = along;
        else if (blend.n == 2)
            out->past[out->n_past++] = along;
        else
            out->beside[out->n_beside++] = along;
        for (int b = 0; b < family->n_axes; b++)
            if (b != a && (view->axes >> b & 1) != 0)
                collect_pair(out, view, key, &blend, along, &family->axes[b], at[b]);
    }
    return own;
}

static enum found estimate(double *value, const struct view *view, int64_t key)
{
    struct opinions opinions;
    bool own = collect(&opinions, view, key);
    memcpy(&opinions.corners[opinions.n_corners], opinions.between,
            sizeof *opinions.between * (size_t)opinions.n_between);
    /* The first list that has any decides. */
    struct {
        double *values;
        int n;
    } lists[] = {{opinions.sums, opinions.n_sums}, {opinions.beyond, opinions.n_beyond},
            {opinions.past, opinions.n_between == 0 ? opinions.n_past : 0},
            {opinions.corners, opinions.n_corners + opinions.n_between},
            {opinions.beside, opinions.n_beside}};
    int list = 0;
    while (list < (int)(sizeof lists / sizeof *lists) && lists[list].n == 0)
        list++;
    if (list == (int)(sizeof lists / sizeof *lists))
        return FOUND_NONE;
    *value = median(lists[list].values, lists[list].n);
    if (opinions.n_between == 0)
        return FOUND_OUTSIDE;
    return own ? FOUND_INSIDE : FOUND_ACROSS;
}

enum found cells_estimate(double *value, struct arena *arena, struct family *family, int64_t key)
{
    bool known = !family_hides(family, key)
                 && cells_find(&family->sites, family_site(family, key)) != NULL;
    const struct view view = {arena, family, ~0U, !known};
    return estimate(value, &view, key);
}

enum found cells_fill(double *value, struct arena *arena, struct family *family, int64_t key)
{
    const struct cell *known = cells_find(&family->cells, key);
    if (known != NULL) {
        *value = (double)known->value;
        return known->point >= 0 ? FOUND_INSIDE : (enum found)(-1 - known->point);
    }
    *value = 0;
    enum found found = cells_estimate(value, arena, family, key);
    cells_put(arena, &family->cells, (struct cell){key, -1 - (int32_t)found, (float)*value, 0});
    return found;
}
