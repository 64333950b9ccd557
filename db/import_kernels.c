/* What kernels of a trace are, where no range around them says so. */
#include "core/csv.h"
#include "core/spec/op_read.h"
#include "db/import.h"

bool import_kernels_read(struct import_kernel **out, int *n, const struct import_file *file,
        struct arena *arena, struct err *err)
{
    struct csv csv;
    *n = 0;
    *out = NULL;
    if (!csv_open(&csv, file->text, file->len, file->path, err))
        return false;
    int kernel = csv_column(&csv, "kernel");
    int op = csv_column(&csv, "op");
    if (kernel < 0 || op < 0)
        return err_at(err, (struct pos){file->path, 1, 1},
                "expected the columns kernel (a name, * stands for anything) and op");
    for (int room = 0; csv_next(&csv, err); ++*n) {
        if (*n == room) {
            *out = arena_grow(arena, *out, room, room * 2 + 16, sizeof **out);
            room = room * 2 + 16;
        }
        struct err why = {0};
        (*out)[*n].pattern = csv.fields[kernel];
        if (!op_read(&(*out)[*n].op, csv.fields[op], &why))
            return err_at(err, csv_pos(&csv, op), "%s", why.text);
    }
    return err->kind == ERR_NONE;
}
