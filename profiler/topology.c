#include "profiler/topology.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <hwloc.h>

/* First line of a small file of /sys or /proc, without its newline; NULL if there is none. */
static char *line_of(struct arena *arena, const char *path)
{
    char text[256];
    FILE *file = fopen(path, "re");
    if (!file)
        return NULL;
    char *got = fgets(text, sizeof text, file);
    fclose(file);
    if (!got)
        return NULL;
    text[strcspn(text, "\n")] = '\0';
    return arena_strdup(arena, text);
}

/* Value of the first "key : value" line of /proc/cpuinfo or /proc/meminfo. */
static char *value_of(struct arena *arena, const char *path, const char *key)
{
    char line[4096];
    char *found = NULL;
    FILE *file = fopen(path, "re");
    if (!file)
        return NULL;
    while (!found && fgets(line, sizeof line, file)) {
        size_t len = strlen(key);
        if (strncmp(line, key, len) != 0 || !strchr(" \t:", line[len]))
            continue;
        char *colon = strchr(line, ':');
        if (!colon)
            continue;
        colon += 1 + strspn(colon + 1, " \t");
        colon[strcspn(colon, "\n")] = '\0';
        found = arena_strdup(arena, colon);
    }
    fclose(file);
    return found;
}

static bool has_flag(const char *flags, const char *flag)
{
    size_t len = strlen(flag);
    for (const char *at = flags; (at = strstr(at, flag)) != NULL; at += len)
        if ((at == flags || at[-1] == ' ') && (at[len] == ' ' || at[len] == '\0'))
            return true;
    return false;
}

static void probe_cpu(struct topology *out, struct arena *arena)
{
    static const char *const wanted[] = {"avx2", "fma", "f16c", "avx512f", "avx512bw",
            "avx512_bf16", "avx512_vnni", "amx_tile", "amx_bf16", "asimd", "sve", "bf16"};
    const char *model = value_of(arena, "/proc/cpuinfo", "model name");
    out->cpu = model ? model : "unknown processor";
    const char *flags = value_of(arena, "/proc/cpuinfo", "flags");
    if (!flags)
        flags = value_of(arena, "/proc/cpuinfo", "Features");
    const char *isa = "";
    for (size_t i = 0; flags && i < sizeof wanted / sizeof *wanted; i++)
        if (has_flag(flags, wanted[i]))
            isa = arena_printf(arena, "%s%s%s", isa, *isa ? " " : "", wanted[i]);
    out->isa = isa;
    const char *vendor = line_of(arena, "/sys/class/dmi/id/sys_vendor");
    if (flags && has_flag(flags, "hypervisor"))
        out->hypervisor = vendor && *vendor ? vendor : "unknown hypervisor";
    out->governor = line_of(arena, "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor");
}

static int64_t cgroup_limit(struct arena *arena)
{
    static const char *const paths[] = {
            "/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        const char *text = line_of(arena, paths[i]);
        char *end = NULL;
        long long bytes = text ? strtoll(text, &end, 10) : 0;
        if (text && end != text && *end == '\0' && bytes > 0)
            return bytes;
    }
    return INT64_MAX;
}

static void probe_memory(struct topology *out, struct arena *arena)
{
    long pages = sysconf(_SC_PHYS_PAGES);
    long page = sysconf(_SC_PAGESIZE);
    out->memory_bytes = pages > 0 && page > 0 ? (int64_t)pages * page : 0;
    int64_t limit = cgroup_limit(arena);
    if (limit < out->memory_bytes) {
        out->memory_bytes = limit;
        out->memory_limited = true;
    }
}

static void probe_caches(struct topology *out, hwloc_topology_t hw, struct arena *arena)
{
    static const hwloc_obj_type_t types[] = {
            HWLOC_OBJ_L1CACHE, HWLOC_OBJ_L2CACHE, HWLOC_OBJ_L3CACHE, HWLOC_OBJ_L4CACHE};
    enum {
        LEVELS = sizeof types / sizeof *types
    };
    out->caches = ARENA_NEW(arena, struct topology_cache, LEVELS);
    for (int i = 0; i < LEVELS; i++) {
        hwloc_obj_t cache = hwloc_get_obj_by_type(hw, types[i], 0);
        if (!cache)
            continue;
        out->caches[out->n_caches++] = (struct topology_cache){
                .level = i + 1,
                .bytes = (int64_t)cache->attr->cache.size,
                .count = hwloc_get_nbobjs_by_type(hw, types[i]),
                .cores = hwloc_get_nbobjs_inside_cpuset_by_type(hw, cache->cpuset, HWLOC_OBJ_CORE),
        };
    }
}

static void probe_numa(struct topology *out, hwloc_topology_t hw, struct arena *arena)
{
    int n = hwloc_get_nbobjs_by_type(hw, HWLOC_OBJ_NUMANODE);
    out->numa = ARENA_NEW(arena, struct topology_numa, n > 0 ? n : 1);
    for (int i = 0; i < n; i++) {
        hwloc_obj_t node = hwloc_get_obj_by_type(hw, HWLOC_OBJ_NUMANODE, (unsigned)i);
        out->numa[out->n_numa++] = (struct topology_numa){
                .index = (int)node->os_index,
                .cores = hwloc_get_nbobjs_inside_cpuset_by_type(hw, node->cpuset, HWLOC_OBJ_CORE),
                .memory_bytes = (int64_t)node->attr->numanode.local_memory,
        };
    }
}

static bool probe_hwloc(struct topology *out, struct arena *arena, struct err *err)
{
    hwloc_topology_t hw;
    if (hwloc_topology_init(&hw) != 0)
        return err_set(err, ERR_ENV, "hwloc cannot start: is memory exhausted?");
    bool ok = hwloc_topology_load(hw) == 0;
    if (ok) {
        out->sockets = hwloc_get_nbobjs_by_type(hw, HWLOC_OBJ_PACKAGE);
        out->cores = hwloc_get_nbobjs_by_type(hw, HWLOC_OBJ_CORE);
        out->hardware_threads = hwloc_get_nbobjs_by_type(hw, HWLOC_OBJ_PU);
        out->first_cpu = hwloc_bitmap_first(hwloc_topology_get_allowed_cpuset(hw));
        probe_caches(out, hw, arena);
        probe_numa(out, hw, arena);
    } else {
        err_set(err, ERR_ENV, "hwloc finds no topology in /sys: is it mounted?");
    }
    hwloc_topology_destroy(hw);
    /* Some virtual machines hide their cores or packages. */
    if (out->cores < 1)
        out->cores = out->hardware_threads > 0 ? out->hardware_threads : 1;
    if (out->sockets < 1)
        out->sockets = 1;
    return ok;
}

static int compare_networks(const void *a, const void *b)
{
    const struct topology_network *x = a;
    const struct topology_network *y = b;
    return strcmp(x->name, y->name);
}

static void add_network(
        struct topology *out, const char *name, const char *kind, struct arena *arena)
{
    const bool fabric = strcmp(kind, "infiniband") == 0;
    const char *dir = fabric ? "/sys/class/infiniband" : "/sys/class/net";
    const char *at = fabric ? "ports/1/rate" : "speed";
    const char *rate = line_of(arena, arena_printf(arena, "%s/%s/%s", dir, name, at));
    const char *state = line_of(arena,
            arena_printf(arena, "%s/%s/%s", dir, name, fabric ? "ports/1/state" : "operstate"));
    /* Ethernet tells Mbit/s, -1 when it does not know; InfiniBand "100 Gb/sec (4X EDR)". */
    double number = rate ? strtod(rate, NULL) : 0;
    out->networks[out->n_networks++] = (struct topology_network){
            .name = arena_strdup(arena, name),
            .kind = strcmp(name, "lo") == 0 ? "loopback" : kind,
            .rate = number > 0 ? number * (fabric ? 1e9 : 1e6) / 8 : 0,
            .up = state && (strstr(state, "up") || strstr(state, "ACTIVE")),
    };
}

static void probe_networks(struct topology *out, struct arena *arena)
{
    enum {
        MOST = 64
    };
    static const char *const kinds[][2] = {
            {"/sys/class/net", "ethernet"}, {"/sys/class/infiniband", "infiniband"}};
    out->networks = ARENA_NEW(arena, struct topology_network, MOST);
    for (int k = 0; k < 2; k++) {
        DIR *dir = opendir(kinds[k][0]);
        if (!dir)
            continue;
        for (const struct dirent *e = readdir(dir); e && out->n_networks < MOST; e = readdir(dir))
            if (e->d_name[0] != '.' && strcmp(e->d_name, "bonding_masters") != 0)
                add_network(out, e->d_name, kinds[k][1], arena);
        closedir(dir);
    }
    qsort(out->networks, (size_t)out->n_networks, sizeof *out->networks, compare_networks);
}

static void probe_gpus(struct topology *out, struct arena *arena)
{
    const char *base = "/sys/bus/pci/devices";
    DIR *dir = opendir(base);
    if (!dir)
        return;
    for (const struct dirent *e = readdir(dir); e; e = readdir(dir)) {
        const char *vendor = line_of(arena, arena_printf(arena, "%s/%s/vendor", base, e->d_name));
        const char *class = line_of(arena, arena_printf(arena, "%s/%s/class", base, e->d_name));
        if (vendor && class && strcmp(vendor, "0x10de") == 0 && strncmp(class, "0x03", 4) == 0)
            out->n_gpus++;
    }
    closedir(dir);
}

bool topology_probe(struct topology *out, struct arena *arena, struct err *err)
{
    *out = (struct topology){0};
    probe_cpu(out, arena);
    probe_memory(out, arena);
    probe_networks(out, arena);
    probe_gpus(out, arena);
    return probe_hwloc(out, arena, err);
}

int64_t topology_last_cache(const struct topology *topology)
{
    return topology->n_caches ? topology->caches[topology->n_caches - 1].bytes : 0;
}
