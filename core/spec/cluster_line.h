/*
 * cluster_line - a cluster in one line, made of datasheet figures: NODESxDEVICES:KIND, several joined by +.
 *
 *   8x8:h200             eight machines of eight H200
 *   64x8:a100+32x8:h200  two kinds; each has its own links inside a machine
 */
#ifndef CORE_SPEC_CLUSTER_LINE_H
#define CORE_SPEC_CLUSTER_LINE_H

#include "core/spec/cluster.h"
#include "core/spec/device_sheet.h"

/* Whether text is meant as such a line: it begins with digits, x, digits and a colon. */
bool cluster_line_is(const char *text);
/* ERR_INPUT with the column in the line. */
MUST_CHECK bool cluster_line_read(
        struct cluster *out, const char *text, struct arena *arena, struct err *err);

/* Adds a kind from its datasheet, with its links, and `nodes` machines of it; known kinds are added to. */
void cluster_line_add(struct cluster *cluster, const struct device_sheet *sheet, int nodes,
        int devices, struct arena *arena);

#endif
