#include "profiler/nvml.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum {
    CLOCK_SM = 1,
    CLOCK_MEMORY = 2,
    MILLI = 1000
};

/* NAME(function without the prefix nvml, parameters) */
#define FUNCTIONS(NAME)                                                    \
    NAME(Init_v2, (void))                                                  \
    NAME(Shutdown, (void))                                                 \
    NAME(DeviceGetCount_v2, (unsigned *n))                                 \
    NAME(DeviceGetHandleByIndex_v2, (unsigned i, void **device))           \
    NAME(DeviceGetClockInfo, (void *device, int clock, unsigned *mhz))     \
    NAME(DeviceGetMaxClockInfo, (void *device, int clock, unsigned *mhz))  \
    NAME(DeviceGetPowerUsage, (void *device, unsigned *milliwatt))         \
    NAME(DeviceGetEnforcedPowerLimit, (void *device, unsigned *milliwatt)) \
    NAME(DeviceGetCurrentClocksThrottleReasons, (void *device, unsigned long long *bits))

struct nvml {
/* NOLINTNEXTLINE(bugprone-macro-parentheses): the name that is declared */
#define MEMBER(name, parameters) int(*name) parameters; /* 0 = done */
    FUNCTIONS(MEMBER)
#undef MEMBER
};

static const struct {
    unsigned long long bit;
    const char *name;
} reasons[] = {{0x1, "idle"}, {0x2, "clocks set by an application"}, {0x4, "throttled by power"},
        {0x8, "throttled by hardware"}, {0x10, "held back by sync boost"},
        {0x20, "throttled by temperature"}, {0x40, "throttled by temperature (hardware)"},
        {0x80, "throttled by the power brake"}, {0x100, "clocks set by a display"}};

static bool load(struct nvml *nvml, void *handle)
{
    void *found = NULL;
#define FIND(name, parameters)           \
    found = dlsym(handle, "nvml" #name); \
    if (found == NULL)                   \
        return false;                    \
    memcpy(&nvml->name, &found, sizeof found);
    FUNCTIONS(FIND)
#undef FIND
    return true;
}

static const char *describe_clocks(const struct nvml *nvml, void *device, struct arena *arena)
{
    const char *text = "";
    unsigned now = 0, most = 0;

    if (nvml->DeviceGetClockInfo(device, CLOCK_SM, &now) == 0
            && nvml->DeviceGetMaxClockInfo(device, CLOCK_SM, &most) == 0)
        text = arena_printf(arena, ", SM %u of %u MHz", now, most);
    if (nvml->DeviceGetClockInfo(device, CLOCK_MEMORY, &now) == 0)
        text = arena_printf(arena, "%s, memory %u MHz", text, now);
    if (nvml->DeviceGetPowerUsage(device, &now) == 0
            && nvml->DeviceGetEnforcedPowerLimit(device, &most) == 0)
        text = arena_printf(arena, "%s, %u of %u W", text, now / MILLI, most / MILLI);
    return text;
}

static const char *describe_throttling(const struct nvml *nvml, void *device, struct arena *arena)
{
    const char *text = "";
    unsigned long long bits = 0;

    if (nvml->DeviceGetCurrentClocksThrottleReasons(device, &bits) != 0)
        return "";
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++)
        if (bits & reasons[i].bit)
            text = arena_printf(arena, "%s, %s", text, reasons[i].name);
    return bits == 0 ? ", not throttled" : text;
}

static const char *describe_all(const struct nvml *nvml, struct arena *arena)
{
    const char *text = NULL;
    unsigned n = 0;

    if (nvml->DeviceGetCount_v2(&n) != 0)
        return NULL;
    for (unsigned i = 0; i < n; i++) {
        void *device = NULL;
        if (nvml->DeviceGetHandleByIndex_v2(i, &device) != 0)
            continue;
        const char *clocks = describe_clocks(nvml, device, arena);
        const char *said =
                arena_printf(arena, "%s%s", clocks, describe_throttling(nvml, device, arena));
        text = arena_printf(arena, "%s%sGPU %u: %s", text ? text : "", text ? "; " : "", i,
                *said ? said + 2 : "says nothing");
    }
    return text;
}

const char *nvml_describe(struct arena *arena)
{
    const char *asked = getenv("SHARDWRIGHT_NVML_LIBRARY"), *text = NULL;
    void *handle = dlopen(asked ? asked : "libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
    struct nvml nvml = {0};

    if (!handle)
        return NULL;
    if (load(&nvml, handle) && nvml.Init_v2() == 0) {
        text = describe_all(&nvml, arena);
        nvml.Shutdown();
    }
    dlclose(handle);
    return text;
}
