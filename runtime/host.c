#include "runtime/host.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* "Name:   123 kB" lines, as in meminfo and status. */
static int64_t read_kib(const char *path, const char *name)
{
    char line[256];
    long long kib = 0;
    size_t len = strlen(name);
    FILE *file = fopen(path, "r");

    while (file && fgets(line, sizeof line, file))
        if (strncmp(line, name, len) == 0 && line[len] == ':')
            kib = strtoll(line + len + 1, NULL, 10);
    if (file)
        fclose(file);
    return kib * 1024;
}

int64_t host_free_bytes(void)
{
    return read_kib("/proc/meminfo", "MemAvailable");
}

int64_t host_resident_bytes(void)
{
    return read_kib("/proc/self/status", "VmRSS");
}
