/* Models, clusters and workloads as literals, for the tests of the planner. */
#ifndef TESTS_UNIT_PLANNER_FIXTURE_H
#define TESTS_UNIT_PLANNER_FIXTURE_H

#include "core/spec/cluster.h"
#include "core/spec/workload.h"
#include "models/model.h"

enum {
    FIXTURE_LAYERS = 64,
    FIXTURE_REQUESTS = 64
};

struct fixture {
    struct arena arena;
    struct model model;
    struct model_layer layers[FIXTURE_LAYERS];
    struct cluster cluster;
    struct device_kind kinds[3];
    struct cluster_node nodes[3];
    struct cluster_link links[2];
    struct workload workload;
    struct requests requests;
    struct request items[FIXTURE_REQUESTS];
};

static inline void fixture_model(struct fixture *f, int n_layers, int n_experts)
{
    f->model = (struct model){.name = "little",
            .digest = "0123456789abcdef",
            .family = FAMILY_QWEN3,
            .dtype = DTYPE_BF16,
            .hidden = 256,
            .inter = 512,
            .vocab = 4096,
            .n_layers = n_layers,
            .heads = 8,
            .kv_heads = 4,
            .head_dim = 32,
            .norm_eps = 1e-6,
            .max_len = 4096,
            .layers = f->layers};
    f->model.rope.theta = 10000;
    f->model.rope.factor = 1;
    if (n_experts > 0) {
        f->model.family = FAMILY_QWEN3_MOE;
        f->model.moe.n = n_experts;
        f->model.moe.top_k = 2;
        f->model.moe.inter = 256;
        f->model.moe.norm_top_k = true;
        f->model.moe.scale = 1;
    }
    for (int l = 0; l < n_layers; l++)
        f->layers[l] = (struct model_layer){.moe = n_experts > 0, .rope = true};
}

/* One node of every kind. */
static inline void fixture_kind(
        struct fixture *f, const char *name, int devices, int64_t memory, double flops, double rate)
{
    static const int threads[] = {1, 2};
    int k = f->cluster.n_kinds++;
    f->kinds[k] = (struct device_kind){.name = name,
            .type = DEVICE_CPU,
            .memory_bytes = memory,
            .flops = flops,
            .memory_rate = rate,
            .threads = threads,
            .n_threads = devices > 1 ? 2 : 1};
    f->nodes[k] = (struct cluster_node){.name = name, .count = 1, .kind = name, .devices = devices};
    f->links[0] =
            (struct cluster_link){.name = "shm", .inside = true, .rate = 5e9, .latency_us = 3};
    f->cluster.name = "desk";
    f->cluster.kinds = f->kinds;
    f->cluster.nodes = f->nodes;
    f->cluster.n_nodes = f->cluster.n_kinds;
    f->cluster.links = f->links;
    f->cluster.n_links = 1;
}

static inline void fixture_requests(struct fixture *f, int n, int64_t prompt, int64_t output)
{
    f->workload = (struct workload){.name = "steady", .requests = n, .seed = 1};
    f->workload.slo.percentile = 0.9;
    for (int i = 0; i < n; i++)
        f->items[i] = (struct request){
                .arrival_ns = 0, .prompt_len = prompt, .output_len = output, .seed = (uint64_t)i};
    f->requests = (struct requests){f->items, n};
}

#endif
