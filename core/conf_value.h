/*
 * conf_value - one value of a conf table to and from text; shared by the reader, the writer and the
 * reference pages. Messages carry no place: the caller adds it.
 */
#ifndef CORE_CONF_VALUE_H
#define CORE_CONF_VALUE_H

#include "core/conf.h"

/* to: the value of a plain field, or one element of a list field. Checks the field's range. */
MUST_CHECK bool conf_value_set(void *to, const struct conf_field *field, const char *text,
        struct arena *arena, struct err *err);
/* The text that reads back as the same value. A string is returned as it is; NULL for a NULL string, an
 * enum without that name and a number that is not finite. */
const char *conf_value_show(const void *from, const struct conf_field *field, struct arena *arena);
/* Size of one element of a list field; 0 when the field is no list. */
int64_t conf_element_bytes(const struct conf_field *field);

#endif
