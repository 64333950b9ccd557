/*
 * conf_json - a struct as JSON by its table of fields, so that what a file holds is what --json prints.
 *
 * Every field is written, also where it equals its default. Values are numbers: sizes in bytes, durations
 * in microseconds, rates in bytes per second, and the key says so (memory: 80GB -> "memory_bytes").
 */
#ifndef CORE_CONF_JSON_H
#define CORE_CONF_JSON_H

#include "core/conf.h"
#include "core/json.h"

/* The members of `in` into an object that is open. */
void conf_put_json(struct json_writer *w, const void *in, const struct conf_table *table);

#endif
