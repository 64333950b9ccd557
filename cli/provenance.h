/*
 * provenance - who measures: this machine and this program, with the libraries that decide its speed.
 */
#ifndef CLI_PROVENANCE_H
#define CLI_PROVENANCE_H

#include "core/spec/measure.h"

void provenance_of_this(struct provenance *out, struct arena *arena);

#endif
