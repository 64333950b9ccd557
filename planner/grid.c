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
#include "planner/grid_estimate.h"
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

/* Where an op lies: per axis one index, or two and how far it is from the first. Past the edge of a straight axis the
 * edge is the first and the value behind it the second. */
struct spot {
    int at[GRID_AXES], to[GRID_AXES];
    double t[GRID_AXES];       /* 0 = on the first */
    int64_t values[GRID_AXES]; /* coordinates; those of the edge where utilisation holds past it */
    bool outside, substituted;
};

static void spot_on_axis(struct spot *spot, const struct family *family,
        const struct grid_axis *shape, int a, int64_t value)
{
    const struct axis *axis = &family->axes[a];
    int at = axis_at(axis, value);
    spot->t[a] = 0;
    spot->values[a] = value;
    if (at < axis->n && axis->values[at] == value) {
        spot->at[a] = at;
        return;
    }
    if (axis->unordered) { /* the name nearest in the list of names stands in */
        spot->substituted = true;
        if (at == axis->n || (at > 0 && value - axis->values[at - 1] <= axis->values[at] - value))
            at--;
        spot->at[a] = at;
        spot->values[a] = axis->values[at];
        return;
    }
    bool past = at == 0 || at == axis->n;
    spot->outside |= past;
    spot->at[a] = at == 0 ? 0 : at - 1;
    spot->to[a] = !past ? at : at == 0 ? 1 : at - 2;
    if (past && (axis->straight <= 0 || axis->n < 2)) { /* utilisation holds past the edge */
        spot->values[a] = axis->values[spot->at[a]];
        return;
    }
    double x0 = axis->straight > 0 ? (double)axis->values[spot->at[a]] : axis->pos[spot->at[a]];
    double x1 = axis->straight > 0 ? (double)axis->values[spot->to[a]] : axis->pos[spot->to[a]];
    double x = axis->straight > 0 ? (double)value : log((double)value + shape->offset);
    spot->t[a] = (x - x0) / (x1 - x0);
    if (spot->t[a] < -axis->straight) {
        spot->t[a] = 0;
        spot->values[a] = axis->values[spot->at[a]];
    }
}

/* Several cells joined: their value, and how much of them was known. */
struct joined {
    double value, weight;
    enum found worst;
};

struct joining {
    struct grids *grids;
    struct family *family;
    const struct spot *spot;
    int at[GRID_AXES];         /* of the cell, on axes that are still to be joined */
    int64_t values[GRID_AXES]; /* coordinates there */
};

static struct joined join_cell(struct joining *j)
{
    struct joined out = {.weight = 1};
    int64_t key = 0;
    for (int a = 0; a < j->family->n_axes; a++)
        key += j->at[a] * j->family->axes[a].stride;
    out.worst = cells_fill(&out.value, grid_families_arena(j->grids->families), j->family, key);
    if (out.worst == FOUND_NONE)
        out.weight = 0;
    return out;
}

/* Two joined places beside each other along an axis; where nothing is known of one, the other holds. */
static struct joined join_two(
        struct joining *j, int a, const struct joined *first, const struct joined *second)
{
    const struct axis *axis = &j->family->axes[a];
    double t = j->spot->t[a];
    double share = fmin(fmax(t, 0), 1);
    if (first->weight <= 0 || second->weight <= 0) {
        struct joined one = first->weight > 0 ? *first : *second;
        one.weight *= first->weight > 0 ? 1 - share : share;
        return one;
    }
    struct joined out = {.weight = (1 - share) * first->weight + share * second->weight};
    out.worst = first->worst;
    if (second->worst > out.worst && share > 0.1)
        out.worst = second->worst;
    if (share > 0.9)
        out.worst = second->worst;
    if ((j->family->site_axes >> a & 1) != 0 && out.worst < FOUND_ACROSS)
        out.worst = FOUND_ACROSS; /* of the site itself nothing was measured */
    if (axis->straight <= 0) {
        out.value = (1 - t) * first->value + t * second->value;
        return out;
    }
    double roof[3];
    const int64_t coordinates[] = {
            axis->values[j->spot->at[a]], axis->values[j->spot->to[a]], j->spot->values[a]};
    for (int i = 0; i < 3; i++) {
        j->values[a] = coordinates[i];
        roof[i] = family_roof_at(j->family, j->values);
    }
    double ratio = (double)coordinates[2] / (double)coordinates[0];
    out.value = log(cells_straight_us(
                        exp(first->value + roof[0]), exp(second->value + roof[1]), t, ratio))
                - roof[2];
    return out;
}

/* Along every axis from `a` on that the spot is not on. */
static struct joined join_from(struct joining *j, int a)
{
    while (a < j->family->n_axes && j->spot->t[a] == 0)
        a++;
    if (a == j->family->n_axes)
        return join_cell(j);
    struct joined two[2];
    for (int i = 0; i < 2; i++) {
        j->at[a] = i == 0 ? j->spot->at[a] : j->spot->to[a];
        j->values[a] = j->family->axes[a].values[j->at[a]];
        two[i] = join_from(j, a + 1);
    }
    struct joined out = join_two(j, a, &two[0], &two[1]);
    j->values[a] = j->spot->values[a];
    return out;
}

static enum found join(
        double *value, struct grids *grids, struct family *family, const struct spot *spot)
{
    struct joining joining = {grids, family, spot, {0}, {0}};
    memcpy(joining.at, spot->at, sizeof joining.at);
    memcpy(joining.values, spot->values, sizeof joining.values);
    struct joined all = join_from(&joining, 0);
    if (all.weight < 0.25)
        return FOUND_NONE;
    *value = all.value;
    return all.weight < 0.75 ? FOUND_OUTSIDE : all.worst;
}

static const struct profile_point *measured_at(
        const struct grids *grids, const struct family *family, const struct spot *spot)
{
    int64_t key = 0;
    for (int a = 0; a < family->n_axes; a++) {
        if (spot->t[a] != 0)
            return NULL;
        key += spot->at[a] * family->axes[a].stride;
    }
    const struct cell *cell = cells_find(&family->cells, key);
    bool measured = !spot->outside && !spot->substituted && cell != NULL && cell->point >= 0;
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
