#include "planner/grid_cells.h"

#include <math.h>
#include <string.h>

#include "core/random.h"

enum {
    FOLDS = 5
};

double family_roof_us(const struct family *family, const struct op *op)
{
    double us = family->least_us;
    if (family->flop_per_us > 0)
        us += op_flop(op) / family->flop_per_us;
    if (family->bytes_per_us > 0)
        us += op_bytes(op) / family->bytes_per_us;
    return us;
}

double family_roof_at(const struct family *family, const int64_t values[GRID_AXES])
{
    struct grid_place place;
    struct op op;
    memcpy(place.at, values, sizeof place.at);
    memcpy(place.fixed, family->fixed, sizeof place.fixed);
    grid_place_op(&op, &place);
    return log(family_roof_us(family, &op));
}

static int64_t slot_of(const struct cells *cells, int64_t key)
{
    uint64_t h = (uint64_t)key * 0x9e3779b97f4a7c15u;
    int64_t at = (int64_t)((h ^ h >> 29) & (uint64_t)(cells->n_slots - 1));
    while (cells->at[at].key >= 0 && cells->at[at].key != key)
        at = (at + 1) & (cells->n_slots - 1);
    return at;
}

void cells_make(struct arena *arena, struct cells *cells, int64_t n_slots)
{
    cells->n_slots = n_slots;
    cells->at = ARENA_NEW(arena, struct cell, n_slots);
    for (int64_t i = 0; i < n_slots; i++)
        cells->at[i].key = -1;
}

void cells_put(struct arena *arena, struct cells *cells, struct cell cell)
{
    if (cells->n * 2 >= cells->n_slots) {
        struct cells old = *cells;
        cells_make(arena, cells, old.n_slots * 2);
        for (int64_t i = 0; i < old.n_slots; i++)
            if (old.at[i].key >= 0)
                cells->at[slot_of(cells, old.at[i].key)] = old.at[i];
    }
    cells->at[slot_of(cells, cell.key)] = cell;
    cells->n++;
}

const struct cell *cells_find(const struct cells *cells, int64_t key)
{
    const struct cell *cell = &cells->at[slot_of(cells, key)];
    return cell->key >= 0 ? cell : NULL;
}

int64_t family_site(const struct family *family, int64_t key)
{
    int64_t site = 0;
    for (int a = 0; a < family->n_axes; a++)
        if ((family->site_axes >> a & 1) != 0)
            site += key / family->axes[a].stride % family->axes[a].n * family->axes[a].stride;
    return site;
}

int family_fold(const struct family *family, int64_t key)
{
    uint64_t h = 0;
    for (int a = 0; a < family->n_axes; a++)
        if ((family->site_axes >> a & 1) != 0)
            h = random_mix(h + (uint64_t)(key / family->axes[a].stride % family->axes[a].n) + 1);
    return 1 + (int)(h % FOLDS);
}

bool family_hides(const struct family *family, int64_t key)
{
    return family->hidden > 0 && family_fold(family, key) == family->hidden;
}
