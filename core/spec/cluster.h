/*
 * cluster - machines, devices, links. A device is what one rank may drive: here a CPU core, there a GPU.
 *
 * `shardwright doctor --cluster -o cluster.yaml` writes the one of this machine.
 */
#ifndef CORE_SPEC_CLUSTER_H
#define CORE_SPEC_CLUSTER_H

#include "core/conf.h"
#include "core/spec/op.h"

enum device_type {
    DEVICE_CPU,
    DEVICE_CUDA
};

struct device_kind {
    const char *name;
    int type;             /* enum device_type */
    int64_t memory_bytes; /* of one device */
    double flops;         /* datasheet or measured peak of one device, FLOP/s; 0 = unknown */
    double flops_f8;      /* of products of 8-bit types; 0 = as flops */
    double memory_rate;   /* bytes/s of one device; 0 = unknown */
    double price_per_hour;
    const int *threads; /* cpu: devices (cores) one rank may drive, e.g. [1, 2]; default [1] */
    int n_threads;
    const char *const *dtypes; /* types of weights that its kernels take; none = all */
    int n_dtypes;
    struct pos pos;
};

struct cluster_node {
    const char *name;
    int count; /* machines of this description */
    const char *const
            *hosts; /* their names, where a launcher is to reach them; none or count of them */
    int n_hosts;
    const char *kind; /* name of a device kind */
    int devices;      /* of that kind in each machine */
    struct pos pos, kind_pos;
};

struct cluster_link {
    const char *name; /* "shm", "nvlink", "ib" */
    bool inside;      /* joins devices of one node (true) or nodes (false) */
    double rate; /* bytes/s per device, with rails of one rail; 0 = unknown, measured figures win */
    double latency_us;
    int rails;      /* adapters of a machine that its devices share; 0 = rate is one device's own */
    double sharing; /* how many times over the switches above are booked: 2 halves the rate */
    const char *kind; /* only for devices of this kind; NULL = all */
    struct pos pos;
};

struct cluster {
    const char *name;
    struct device_kind *kinds;
    int n_kinds;
    struct cluster_node *nodes;
    int n_nodes;
    struct cluster_link *links;
    int n_links;
};

extern const struct conf_table cluster_table; /* "shardwright-cluster" 1 */

/* path is a file, or a cluster in one line (cluster_line.h): "8x8:h200". */
MUST_CHECK bool cluster_read_file(
        struct cluster *out, const char *path, struct arena *arena, struct err *err);
/* The fastest link of a kind's devices, inside a machine or between machines; NULL when none states a rate.
 * rate: what one device gets, rails and sharing reckoned in. */
const struct cluster_link *cluster_best_link(
        const struct cluster *cluster, const char *kind, bool inside, double *rate);
/* Names resolve, counts are sane, threads divide devices; messages at the place. */
MUST_CHECK bool cluster_check(const struct cluster *cluster, struct err *err);
/* Devices in all. */
int64_t cluster_devices(const struct cluster *cluster);
/* Whether a stage on this kind may have weights of this type. */
bool cluster_kind_allows(const struct device_kind *kind, enum dtype dtype);
const struct device_kind *cluster_kind(const struct cluster *cluster, const char *name);

#endif
