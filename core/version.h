/* version - number, commit and build of this binary. The generated version.c changes, this never does. */
#ifndef CORE_VERSION_H
#define CORE_VERSION_H

extern const char version_number[]; /* "0.1.0" */
extern const char
        version_commit[]; /* "a1b2c3d4e5f6" or "a1b2c3d4e5f6+" with local changes or "unknown" */
extern const char version_build[]; /* compiler, build type, options: one line */

#endif
