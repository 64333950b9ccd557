/*
 * emit_csv - tables as RFC 4180: one heading, then rows; all digits of every number.
 */
#ifndef REPORTS_EMIT_CSV_H
#define REPORTS_EMIT_CSV_H

#include "reports/table.h"
#include "reports/text.h"

/* The heading line is written when csv is empty; later tables of the same columns add rows. */
void csv_add(struct text *csv, const struct table *table);

#endif
