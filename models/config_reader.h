/*
 * config_reader - what the readers of config.json share: keys with defaults, and one function per family.
 *
 * A key that is absent or null gets the default; a wrong type is an error that names the file and the key.
 */
#ifndef MODELS_CONFIG_READER_H
#define MODELS_CONFIG_READER_H

#include "core/json.h"
#include "models/model.h"

struct config_reader {
    const struct json_node *node; /* the (text) configuration */
    const struct json_node *top;  /* the whole file */
    const char *path;
    struct arena *arena;
    struct err *err;
};

enum {
    CONFIG_REQUIRED = -1
}; /* as a default: the key must be there */

/* NULL when absent or null. */
const struct json_node *config_given(const struct json_node *object, const char *key);
bool config_i64(struct config_reader *r, const char *key, int64_t *out, int64_t def);
bool config_int(struct config_reader *r, const char *key, int *out, int def);
bool config_double(struct config_reader *r, const struct json_node *object, const char *key,
        double *out, double def);
bool config_bool(struct config_reader *r, const char *key, bool *out, bool def);

/* What differs by family. Layers are there, full attention, dense and with rotary embedding. */
bool config_family(struct config_reader *r, struct model *out);

#endif
