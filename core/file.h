/*
 * file - whole files in, whole files out. Writing goes beside the target, is fsynced and renamed, so
 * that nothing is ever half written; a full disk leaves the old file as it was.
 */
#ifndef CORE_FILE_H
#define CORE_FILE_H

#include <stdint.h>

#include "core/arena.h"
#include "core/err.h"

/* NUL-terminated beyond len. "-" reads stdin. */
MUST_CHECK bool file_read(
        char **text, int64_t *len, const char *path, struct arena *arena, struct err *err);
/* "-" writes stdout. */
MUST_CHECK bool file_write(const char *path, const char *text, int64_t len, struct err *err);
MUST_CHECK bool file_make_dirs(const char *path, struct err *err);
/* Directory of path joined with name, in the arena; name itself when absolute. */
const char *file_beside(const char *path, const char *name, struct arena *arena);
/* Where shipped data (models/, examples/) lies: --data-dir, else relative to the program, else source tree. */
const char *file_data_dir(const char *override, struct arena *arena);

#endif
