/*
 * coll_lines - costs of exchanges from imported tables: lines over the size, one per group size and type.
 *
 * Time is linear between measured sizes, as messages are cut into packets of a fixed rate. What a type counts is
 * bytes, so lines of other types are second measurements of the same thing: the geometric mean of the own line
 * and the others stands for a size that was not measured (docs/method.md, "Imported costs").
 */
#ifndef PLANNER_COLL_LINES_H
#define PLANNER_COLL_LINES_H

#include "planner/lookup.h"

struct coll_lines; /* borrows the profile */

/* Over the collectives that share nothing with busy neighbours (busy 0). */
struct coll_lines *coll_lines_open(const struct profile *profile);
void coll_lines_close(struct coll_lines *lines);
/* false: no exchange of this kind, way and spread over machines was imported. Group sizes between measured ones
 * are interpolated, others estimated. */
bool coll_lines_cost(struct cost *out, const struct coll_lines *lines, const struct op *op);

#endif
