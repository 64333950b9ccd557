/*
 * costs - the measured costs that plan and simulate rest on: one profile per device kind of a cluster,
 * out of a database.
 */
#ifndef CLI_COSTS_H
#define CLI_COSTS_H

#include "core/spec/cluster.h"
#include "core/spec/profile.h"
#include "models/model.h"

/* Whose costs: db_path NULL gives none. dtypes: a bit for each type that weights may have. Of imported tables only
 * what the model can ask for is read. */
struct costs_query {
    const char *db_path;
    const struct cluster *cluster;
    const struct model *model;
    unsigned dtypes;
};
/* profiles[*n], device kinds without measurements left out. */
MUST_CHECK bool costs_read(struct profile **profiles, int *n, const struct costs_query *query,
        struct arena *arena, struct err *err);

#endif
