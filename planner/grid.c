/*
 * A question goes to the family of its op (grid_families.c); cells of it that were not measured are estimated in
 * grid_cells.c.
 */
#include "planner/grid.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "planner/grid_axes.h"
#include "planner/grid_cells.h"
#include "planner/grid_families.h"

struct grids {
    const struct profile *profile;
    struct grid_families *families;
};

struct grids *grids_open(const struct profile *profile)
{
    struct grid_families *families = grid_families_open(profile);
    struct grids *grids = ARENA_NEW(grid_families_arena(families), struct grids, 1);
    *grids = (struct grids){profile, families};
    return grids;
}

void grids_close(struct grids *grids)
{
    if (grids != NULL)
        grid_families_close(grids->families); /* the grids lie in their arena */
}

bool grids_have(const struct grids *grids, enum op_kind kind)
{
    return grid_families_have(grids->families, kind);
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
        enum found found = cells_fill(&here, grid_families_arena(grids->families), family, key, at);
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

static struct family *family_of(struct grids *grids, struct grid_place *place, const struct op *op)
{
    if (grid_axes_of(op->kind)->n == 0)
        return NULL;
    grid_place_of(place, op);
    return grid_families_find(grids->families, place, op->kind);
}

bool grids_name(struct grids *grids, const struct op *op)
{
    struct grid_place place;
    const struct family *family = family_of(grids, &place, op);
    bool known = family != NULL;
    for (int a = 0; known && a < family->n_axes; a++) {
        const struct axis *axis = &family->axes[a];
        int at = axis_at(axis, place.at[a]);
        known = !axis->unordered || (at < axis->n && axis->values[at] == place.at[a]);
    }
    return known;
}

int grids_values(const int64_t **values, struct grids *grids, const struct op *op, int axis)
{
    struct grid_place place;
    const struct family *family = family_of(grids, &place, op);
    if (family == NULL || axis >= family->n_axes)
        return 0;
    *values = family->axes[axis].values;
    return family->axes[axis].n;
}

bool grids_have_cached(struct grids *grids, const struct op *op)
{
    struct grid_place place;
    const struct family *family = family_of(grids, &place, op);
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
    struct family *family = family_of(grids, &place, op);
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
    double us = fmax(exp(value) * family_roof_us(family, op), floor_us(family, op));
    double width = family->width[guessed ? FOUND_OUTSIDE : found];
    *out = (struct cost){
            us, us * exp(-width), us * exp(width), guessed ? COST_ESTIMATED : COST_INTERPOLATED, 0};
    return true;
}
