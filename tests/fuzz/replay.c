/* Runs a fuzz target on every file of a directory: usage: fuzz_NAME DIRECTORY */
#include <dirent.h>
#include <stdio.h>
#include <string.h>

#include "core/arena.h"
#include "core/file.h"

/* NOLINTNEXTLINE(readability-identifier-naming): the library gives the name */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int main(int argc, char **argv)
{
    DIR *dir = argc > 1 ? opendir(argv[1]) : NULL;
    if (dir == NULL) {
        fprintf(stderr, "usage: %s DIRECTORY\n", argv[0]);
        return 2;
    }
    int n = 0, status = 0;
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        if (entry->d_name[0] == '.')
            continue;
        struct arena arena = {0};
        struct err err = {0};
        char *text = NULL;
        int64_t len = 0;
        if (!file_read(&text, &len, arena_printf(&arena, "%s/%s", argv[1], entry->d_name), &arena,
                    &err)) {
            fprintf(stderr, "%s\n", err.text);
            status = 1;
        } else {
            LLVMFuzzerTestOneInput((const uint8_t *)text, (size_t)len);
            n++;
        }
        arena_free(&arena);
    }
    closedir(dir);
    fprintf(stderr, "%d inputs\n", n);
    return n > 0 ? status : 1;
}
