/*
 * costs - the measured costs that plan and simulate rest on: one profile per device kind of a cluster,
 * out of a database.
 */
#ifndef CLI_COSTS_H
#define CLI_COSTS_H

#include "core/spec/cluster.h"
#include "core/spec/profile.h"

/* profiles[*n], device kinds without measurements left out. db_path NULL gives none. */
MUST_CHECK bool costs_read(struct profile **profiles, int *n, const char *db_path,
        const struct cluster *cluster, struct arena *arena, struct err *err);

#endif
