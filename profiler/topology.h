/*
 * topology - what this machine is made of: processors, caches, memory, networks, accelerators.
 *
 * Looks, measures nothing. From hwloc where it knows best (cores, caches, NUMA nodes), else from sysfs.
 * Only what this process may use counts: a CPU set or memory limit of a container is respected.
 */
#ifndef PROFILER_TOPOLOGY_H
#define PROFILER_TOPOLOGY_H

#include <stdint.h>

#include "core/arena.h"
#include "core/err.h"

struct topology_cache {
    int level;
    int64_t bytes; /* of one */
    int count;
    int cores; /* that share one */
};

struct topology_numa {
    int index, cores;
    int64_t memory_bytes;
};

struct topology_network {
    const char *name; /* "eth0", "mlx5_0" */
    const char *kind; /* "ethernet", "infiniband", "loopback" */
    double rate;      /* bytes/s; 0 = unknown */
    bool up;
};

struct topology {
    const char *cpu, *hypervisor; /* NULL = none seen */
    const char *isa;              /* "avx2 fma f16c": what the kernels can use */
    const char *governor;         /* NULL = the machine does not tell */
    int sockets, cores, hardware_threads;
    int first_cpu;        /* lowest CPU number that may be used */
    int64_t memory_bytes; /* that this process may use: physical, or the container's limit */
    bool memory_limited;  /* by a control group */
    struct topology_cache *caches; /* data and unified, ascending level */
    int n_caches;
    struct topology_numa *numa;
    int n_numa;
    struct topology_network *networks;
    int n_networks;
    int n_gpus; /* display and 3D controllers of NVIDIA on the PCI bus */
};

MUST_CHECK bool topology_probe(struct topology *out, struct arena *arena, struct err *err);
/* Bytes of the last-level cache that one core can fill; 0 = unknown. */
int64_t topology_last_cache(const struct topology *topology);

#endif
