/*
 * The ops come from models/graph, asked with many sizes; nothing here knows what a layer consists of.
 *
 * A step's ops depend on three things apart: its rows, the decode batch with its cache, and each prefill's
 * lengths. So each is walked along its own grid. Steps of any mixture are sums of these.
 */
#include "profiler/points.h"

#include <stdlib.h>
#include <string.h>

#include "kernels/op_table.h"
#include "models/graph.h"

enum {
    MOST_OPS = 256,
    FINEST = POINTS_LEVELS - 1,
    MOST_BUSY = 16
};

/* The list under construction; doubles are merged at the end. */
struct builder {
    struct want *items;
    int64_t n, most;
    struct arena *arena;
    const struct profile_request *request;
    const struct model *model; /* the one being walked */
    int devices, machines;     /* one of one alone has nobody to send to */
};

double points_typical_s(const struct op *op)
{
    const double flops = 4e10 * op->degree, bytes_per_s = 1e10;
    if (op_is_collective(op->kind))
        return 5e-6 + op_bytes(op) / 2e9;
    return 2e-6 + op_flop(op) / flops + op_bytes(op) / bytes_per_s;
}

static void add_share(struct builder *b, const struct op *op, int level, double share)
{
    if (b->n == b->most) {
        int64_t more = b->most * 2 + 1024;
        b->items = arena_grow(b->arena, b->items, b->most, more, sizeof *b->items);
        b->most = more;
    }
    b->items[b->n++] = (struct want){*op, level < FINEST ? level : FINEST, share};
}

static void add(struct builder *b, const struct op *op, int level)
{
    add_share(b, op, level, 0);
}

static void add_step(struct builder *b, const struct split *split, const struct step_shape *shape,
        bool attention, int level)
{
    struct graph_op ops[MOST_OPS];
    struct piece whole = {0, b->model->n_layers};
    int n = graph_step(ops, MOST_OPS, b->model, split, whole, shape);
    double step_s = 0;
    for (int i = 0; i < n && i < MOST_OPS; i++)
        step_s += (double)ops[i].count * points_typical_s(&ops[i].op);
    for (int i = 0; i < n && i < MOST_OPS; i++)
        if (!attention || op_is_attention(ops[i].op.kind))
            add_share(b, &ops[i].op, level,
                    (double)ops[i].count * points_typical_s(&ops[i].op) / step_s);
}

/* Products on both sides of the edge of their kernels. */
static void add_edge(struct builder *b, const struct split *split, int later)
{
    for (int64_t m = OP_ROW_EDGE - 1; m <= OP_ROW_EDGE; m++) {
        struct graph_op ops[MOST_OPS];
        struct step_shape shape = {.tokens = m,
                .group_tokens = m * split->attention_dp,
                .logits_rows = m < b->request->max_seqs ? m : 0};
        int n = m < b->request->max_tokens ? graph_step(ops, MOST_OPS, b->model, split,
                        (struct piece){0, b->model->n_layers}, &shape)
                                           : 0;
        for (int i = 0; i < n && i < MOST_OPS; i++)
            if (ops[i].op.kind == OP_GEMM || ops[i].op.kind == OP_LM_HEAD)
                add(b, &ops[i].op, 1 + later);
    }
}

static void add_rows(struct builder *b, const struct split *split, int later)
{
    struct size_level sizes[POINTS_SIZES];
    int n = points_sizes(sizes, b->request->max_tokens);
    for (int i = 0; i < n; i++) {
        int64_t m = sizes[i].size, seqs = b->request->max_seqs;
        struct step_shape shape = {.tokens = m,
                .group_tokens = m * split->attention_dp,
                .logits_rows = m < seqs ? m : seqs};
        add_step(b, split, &shape, false, sizes[i].level + later);
        struct op send = {.kind = OP_SEND_RECV,
                .dtype = DTYPE_F32,
                .degree = 2,
                .busy = split->busy,
                .dim = {graph_boundary_bytes(b->model, split, m)}};
        if (b->devices > 1)
            add(b, &send, sizes[i].level + later);
        send.nodes = 2;
        if (b->machines > 1)
            add(b, &send, sizes[i].level + later);
    }
}

/* batch x mean length of its caches. */
static void add_decode(struct builder *b, const struct split *split, int later)
{
    struct size_level batches[POINTS_SIZES], lengths[POINTS_SIZES];
    int n_batches = points_sizes(batches, b->request->max_seqs);
    int n_lengths = points_lengths(lengths, b->request->max_len);
    for (int i = 0; i < n_batches; i++) {
        for (int j = 0; j < n_lengths; j++) {
            int level = batches[i].level > lengths[j].level ? batches[i].level : lengths[j].level;
            /* Between powers of two a batch costs what its neighbours say. */
            if (batches[i].level == 2 && lengths[j].level != 0)
                level = FINEST;
            struct step_shape shape = {.tokens = batches[i].size,
                    .group_tokens = batches[i].size,
                    .decode_batch = batches[i].size,
                    .decode_kv_tokens = batches[i].size * lengths[j].size};
            add_step(b, split, &shape, true, level + later);
        }
    }
}

/* A chunk of q tokens of a prompt of which `before` are in the cache. */
static void add_prefill(struct builder *b, const struct split *split, int later)
{
    struct size_level chunks[POINTS_SIZES], lengths[POINTS_SIZES];
    int64_t longest = b->request->max_tokens < b->request->max_len ? b->request->max_tokens
                                                                   : b->request->max_len;
    int n_chunks = points_sizes(chunks, longest),
        n_lengths = points_lengths(lengths, b->request->max_len);
    for (int i = 0; i < n_chunks; i++) {
        int64_t q = chunks[i].size;
        if (chunks[i].level == 2 && q < 48)
            continue; /* chunks this short are rare and cost next to nothing */
        for (int j = -1; j < n_lengths; j++) {
            struct seq_shape seq = {q, j < 0 ? q : lengths[j].size};
            if (j >= 0 && seq.kv_len <= q)
                continue;
            /* Its own length and the longest come first, so that all others lie between. */
            int level = j < 0 || j == n_lengths - 1 ? 0 : lengths[j].level + 1;
            level = chunks[i].level > level ? chunks[i].level : level;
            struct step_shape shape = {
                    .tokens = q, .group_tokens = q, .prefill = &seq, .n_prefill = 1};
            add_step(b, split, &shape, true, level + later);
        }
    }
}

static void add_split(struct builder *b, struct split split, int later)
{
    struct err ignored = {0};
    if (!graph_legal(b->model, &split, &ignored))
        return;
    add_rows(b, &split, later);
    add_edge(b, &split, later);
    add_decode(b, &split, later);
    add_prefill(b, &split, later);
}

/* Tensor parallel over `ranks`, experts too, and attention data parallel: what a stage may be split into. */
static void add_splits(struct builder *b, struct split split, int ranks, int later)
{
    split.tp = ranks;
    split.attention_dp = 1;
    split.ep = 1;
    add_split(b, split, later);
    split.ep = ranks;
    if (ranks > 1 && b->model->moe.n > 0)
        add_split(b, split, later);
    split.tp = 1;
    split.attention_dp = ranks;
    if (ranks > 1 && b->model->moe.n > 0)
        add_split(b, split, later);
}

/* Every way to split a stage over at most `busy` ranks of `threads` threads. */
static void add_layout(struct builder *b, int threads, int busy, int later)
{
    struct split split = {.threads = threads,
            .busy = busy,
            .dtype = b->request->dtype,
            .kv_dtype = b->request->kv_dtype};
    for (int ranks = 1; ranks <= busy; ranks++)
        if (busy % ranks == 0)
            add_splits(b, split, ranks, later);
}

/* Large products on each layout, so that its ceilings are known; not part of any model. */
static void add_ceilings(struct builder *b, int threads, int busy)
{
    enum {
        N = 2048
    };
    struct op op = {.kind = OP_GEMM,
            .dtype = b->request->dtype,
            .degree = threads,
            .busy = busy,
            .dim = {256, N, N / 2}};
    add(b, &op, 0);
    op.dim[0] = 1;
    op.dim[1] = INT64_C(4) * N;
    add(b, &op, 0);
}

/* Every fourth size of every kind soon, so that none is ever guessed; then the others that plans ask for. */
static int exchange_level(enum op_kind kind, int64_t bytes, int64_t most)
{
    bool asked = kind != OP_REDUCE_SCATTER && kind != OP_BROADCAST;
    int64_t coarse = 16;
    while (coarse < bytes)
        coarse *= 64;
    if (coarse == bytes || bytes * 4 > most)
        return 1;
    return asked && bytes >= 16 ? 2 : FINEST;
}

/* Sizes between those of the models, for lookups of other plans: requests, samples, results. All kinds from 8
 * bytes on, as the reference programs measure; what plans do not use comes last. */
static void add_exchanges(struct builder *b, int degree, int busy, int nodes)
{
    static const enum op_kind kinds[] = {OP_ALL_REDUCE, OP_ALL_GATHER, OP_SEND_RECV, OP_BROADCAST,
            OP_REDUCE_SCATTER, OP_ALL_TO_ALL};
    int64_t most = b->request->max_tokens * 4 * 1024;
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        for (int64_t bytes = 8; bytes <= most; bytes *= bytes == 8 ? 2 : 4) {
            struct op op = {.kind = kinds[k],
                    .dtype = DTYPE_F32,
                    .degree = kinds[k] == OP_SEND_RECV ? 2 : degree,
                    .busy = busy,
                    .nodes = kinds[k] == OP_SEND_RECV && nodes > 0 ? 2 : nodes,
                    .dim = {bytes}};
            add(b, &op, exchange_level(kinds[k], bytes, most));
        }
    }
}

static void add_host(struct builder *b, const struct device_kind *kind)
{
    static const int one[] = {1};
    const int *threads = kind->n_threads > 0 ? kind->threads : one;
    int n = kind->n_threads > 0 ? kind->n_threads : 1;

    for (int i = 0; i < n; i++) {
        int most = b->devices / threads[i];
        for (int busy = 1; busy <= most; busy = busy * 2 > most && busy < most ? most : busy * 2) {
            /* All devices at work is what plans come to; the others answer what-if questions. */
            int later = busy == most ? 0 : 1;
            add_ceilings(b, threads[i], busy);
            for (int m = 0; m < b->request->n_models; m++) {
                b->model = &b->request->models[m];
                add_layout(b, threads[i], busy, later);
            }
            for (int degree = 2; threads[i] == 1 && degree <= busy; degree *= 2)
                add_exchanges(b, degree, busy, 0);
        }
    }
}

/* Stages that take `machines` whole machines: the shapes of their splits, and exchanges between them. */
static void add_between(struct builder *b, const struct device_kind *kind, int machines)
{
    static const int one[] = {1};
    const int *threads = kind->n_threads > 0 ? kind->threads : one;
    int n = kind->n_threads > 0 ? kind->n_threads : 1;
    int later = machines > 2 ? 1 : 0;

    for (int i = 0; i < n; i++) {
        int each = b->devices / threads[i];
        struct split split = {.threads = threads[i],
                .busy = each,
                .dtype = b->request->dtype,
                .kv_dtype = b->request->kv_dtype,
                .nodes = machines};
        for (int m = 0; m < b->request->n_models; m++) {
            b->model = &b->request->models[m];
            add_splits(b, split, machines * each, later);
        }
        if (threads[i] == 1)
            add_exchanges(b, machines * each, each, machines);
    }
}

static int by_op_then_level(const void *a, const void *b)
{
    const struct want *x = a, *y = b;
    int order = op_compare(&x->op, &y->op);
    return order != 0 ? order : (x->level > y->level) - (x->level < y->level);
}

/* A layout's ops stand together (a device is opened once), and of one site from large to small. */
static int by_use(const void *a, const void *b)
{
    const struct want *x = a, *y = b;
    if (x->level != y->level)
        return x->level - y->level;
    if (x->op.degree * x->op.busy != y->op.degree * y->op.busy)
        return y->op.degree * y->op.busy - x->op.degree * x->op.busy;
    if (x->op.degree != y->op.degree)
        return x->op.degree - y->op.degree;
    struct op p = x->op, q = y->op;
    p.dim[0] = q.dim[0] = 0;
    int order = op_compare(&p, &q);
    return order != 0 ? order : op_compare(&y->op, &x->op);
}

static bool check_request(const struct profile_request *request, struct err *err)
{
    if (!request->target)
        return err_set(err, ERR_INPUT,
                "the cluster %s has no node with CPU devices: only those are measured by this "
                "build",
                request->cluster->name);
    const struct cluster_node *node = request->target->node;
    if (node->devices > MOST_BUSY * 16)
        return err_at(err, node->pos, "%d devices in a machine: expected at most %d", node->devices,
                MOST_BUSY * 16);
    if (request->max_tokens < 1 || request->max_seqs < 1 || request->max_len < 1
            || request->max_tokens > 1 << 20 || request->max_seqs > 1 << 20
            || request->max_len > 1 << 24)
        return err_set(err, ERR_INPUT,
                "largest step of %lld tokens and %lld sequences of %lld: expected at least 1 of "
                "each, and "
                "at most 1048576, 1048576 and 16777216",
                (long long)request->max_tokens, (long long)request->max_seqs,
                (long long)request->max_len);
    return true;
}

bool points_of(struct points *out, const struct profile_request *request, struct arena *arena,
        struct err *err)
{
    struct profile_request filled = *request;
    struct builder b = {.arena = arena, .request = &filled};
    struct profiler_target *targets;

    *out = (struct points){0};
    if (!filled.target && profiler_targets(&targets, filled.cluster, false, arena) > 0)
        filled.target = &targets[0];
    if (!check_request(&filled, err))
        return false;
    b.devices = filled.target->layout.devices;
    b.machines = filled.target->layout.machines;
    add_host(&b, filled.target->kind);
    for (int machines = 2; machines <= b.machines;
            machines = machines * 2 > b.machines && machines < b.machines ? b.machines
                                                                          : machines * 2)
        add_between(&b, filled.target->kind, machines);
    if (b.n == 0)
        return err_set(err, ERR_INPUT, "no model was named: there is nothing to measure");
    qsort(b.items, (size_t)b.n, sizeof *b.items, by_op_then_level);
    int64_t kept = 0;
    for (int64_t i = 0; i < b.n; i++)
        if (kept == 0 || op_compare(&b.items[kept - 1].op, &b.items[i].op) != 0)
            b.items[kept++] = b.items[i];
        else if (b.items[i].share > b.items[kept - 1].share)
            b.items[kept - 1].share = b.items[i].share;
    qsort(b.items, (size_t)kept, sizeof *b.items, by_use);
    out->items = b.items;
    out->n = kept;
    return true;
}
