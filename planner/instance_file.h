/*
 * instance_file - a placement problem from a plain table (docs/formats/table.md): what each layer takes on
 * each kind of device in each configuration, instead of a model and its costs.
 */
#ifndef PLANNER_INSTANCE_FILE_H
#define PLANNER_INSTANCE_FILE_H

#include "core/conf.h"
#include "planner/instance.h"

struct table_kind {
    const char *name;
    int64_t devices, memory_bytes; /* 0 = memory without limit */
    double price;
    struct pos pos;
};

struct table_config {
    const char *name;
    int devices, family;
    struct pos pos;
};

struct table_limits {
    const char *name;
    int role, family; /* enum replica_role */
    double requests;
    double round_cap_us; /* 0 = none */
    struct pos pos;
};

/* What stages take on a kind in a configuration under limits. */
struct table_times {
    const char *kind, *config, *limits; /* limits NULL = all of the configuration's family */
    const double *layer_us, *span_us;   /* of each layer, or of 1, 2, 3, ... consecutive ones */
    int n_layer_us, n_span_us;
    double fixed_us, first_us, last_us, send_us;
    const int64_t *layer_bytes; /* of each layer, on one device */
    int n_layer_bytes;
    int64_t fixed_bytes, flight_bytes; /* flight: of one layer for one micro-batch in flight */
    struct pos pos;
};

struct instance_file {
    const char *name;
    int n_layers, objective, max_stages;
    double demand;
    struct table_kind *kinds;
    struct table_config *configs;
    struct table_limits *limits;
    struct table_times *times;
    int n_kinds, n_configs, n_limits, n_times;
    struct instance instance;      /* made of the above; not part of the file */
    const struct table_times **of; /* [limits][config][kind], NULL = not possible */
};

extern const struct conf_table instance_file_table; /* "shardwright-table" 1 */

/* Names resolve, lists are as long as they must be; then instance is filled. file must stay where it is. */
MUST_CHECK bool instance_file_make(
        struct instance_file *file, struct arena *arena, struct err *err);
MUST_CHECK bool instance_file_read(
        struct instance_file *out, const char *path, struct arena *arena, struct err *err);

#endif
