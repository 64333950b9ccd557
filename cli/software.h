/*
 * software - which libraries and programs there are for shardwright, and which package brings a missing one.
 *
 * Libraries that are linked are asked for their version by name at run time, so that each wrapped
 * library stays wrapped in its own file; drivers and GPU libraries are opened as the runtime would.
 */
#ifndef CLI_SOFTWARE_H
#define CLI_SOFTWARE_H

#include "core/arena.h"

enum software_state {
    SOFTWARE_HERE,
    SOFTWARE_MISSING,  /* something does not work without it */
    SOFTWARE_OPTIONAL, /* not here, and not needed on this machine */
};
extern const char *const software_state_names[];

struct software {
    const char *name; /* "GLPK" */
    const char *role; /* what it is for, in a few words */
    enum software_state state;
    const char *version; /* or where it was found; "" when not here */
    const char *hint;    /* how to get it; "" when here */
};

/* gpu: an NVIDIA GPU was seen, so that its software is missed. *n entries in the arena. */
struct software *software_probe(int *n, bool gpu, struct arena *arena);

#endif
