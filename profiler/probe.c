#include "profiler/probe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/version.h"
#include "profiler/nvml.h"

/* The first line of a file, without its end; "" when it cannot be read. */
static char *first_line(const char *path, struct arena *arena)
{
    char line[512] = "";
    FILE *file = fopen(path, "re");
    if (file) {
        if (!fgets(line, sizeof line, file))
            line[0] = '\0';
        fclose(file);
    }
    line[strcspn(line, "\n")] = '\0';
    return arena_strdup(arena, line);
}

/* The value of the first "key : value" line. */
static const char *cpuinfo(const char *key, struct arena *arena)
{
    char line[512];
    const char *value = NULL;
    FILE *file = fopen("/proc/cpuinfo", "re");
    while (file && !value && fgets(line, sizeof line, file)) {
        char *colon = strchr(line, ':');
        if (!colon || strncmp(line, key, strlen(key)) != 0)
            continue;
        colon += 1 + strspn(colon + 1, " \t");
        colon[strcspn(colon, "\n")] = '\0';
        value = arena_strdup(arena, colon);
    }
    if (file)
        fclose(file);
    return value;
}

static const char *cpu_clocks(struct arena *arena)
{
    const char *governor =
            first_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", arena);
    const char *mhz = cpuinfo("cpu MHz", arena);
    if (!*governor && !mhz)
        return NULL;
    return arena_printf(arena, "%s%s%s%s", *governor ? governor : "no governor", mhz ? ", " : "",
            mhz ? mhz : "", mhz ? " MHz at the start" : "");
}

static const char *clocks(struct arena *arena)
{
    const char *cpu = cpu_clocks(arena), *gpus = nvml_describe(arena);
    return cpu && gpus ? arena_printf(arena, "%s; %s", cpu, gpus) : gpus ? gpus : cpu;
}

void probe_provenance(struct provenance *out, struct arena *arena)
{
    char host[256] = "";
    struct utsname names;
    long cores = sysconf(_SC_NPROCESSORS_ONLN);

    *out = (struct provenance){.commit = version_commit,
            .build = arena_printf(arena, "%s, %s", version_number, version_build),
            .wall_s = clock_wall_s(),
            .cores = cores > 0 ? (int)cores : 1};
    if (gethostname(host, sizeof host - 1) == 0)
        out->host = arena_strdup(arena, host);
    out->device = cpuinfo("model name", arena);
    if (uname(&names) == 0)
        out->kernel = arena_printf(arena, "%s %s %s", names.sysname, names.release, names.machine);
    out->software = version_build;
    out->clocks = clocks(arena);
    out->load = strtod(first_line("/proc/loadavg", arena), NULL);
}
