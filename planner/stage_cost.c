#include "planner/stage_cost.h"

#include <string.h>

#include "core/arena.h"
#include "core/random.h"

enum {
    MAX_OPS = 128,
    CHUNK = 1024, /* entries that are allocated together: a table that grows moves none */
    MOST_CHUNKS = 64
};

enum part {
    PART_ROWS,
    PART_HEAD,
    PART_DECODE,
    PART_PREFILL,
    PART_COUNT
};

/* Shapes that a table remembers of each part; those beyond are priced every time. */
static const int most_shapes[PART_COUNT] = {8 * CHUNK, 4 * CHUNK, 40 * CHUNK, 12 * CHUNK};

/* A part of a step: its two sizes. */
struct part_key {
    enum part part;
    int64_t a, b;
};

/* What every step needs of a part; what only the totals need lies apart. */
struct price {
    double us, variance_us2, meetings;
};

struct table {
    int kind;
    struct split split;
    struct piece piece;
    struct graph_op ops[MAX_OPS]; /* of the probe */
    int n_ops;
    enum op_kind meeting_kind;
    uint64_t *keys; /* open addressing, a power of two slots; 0 = empty */
    int32_t *entry; /* by slot */
    int64_t n_slots;
    struct price *prices[MOST_CHUNKS]; /* by entry */
    struct step_cost *costs[MOST_CHUNKS];
    int32_t n;
    int n_of[PART_COUNT];
};

struct stage_costs {
    struct arena arena;
    struct cost_model *costs;
    struct table **tables;
    int n_tables, room;
};

struct stage_cost {
    struct arena arena;
    struct stage_costs *all;
    struct table *table;
    int number;                  /* of the table */
    int64_t *times[MOST_CHUNKS]; /* by entry of the table */
    struct step_cost rest;       /* what was not remembered */
    double waiting_us;
};

struct stage_costs *stage_costs_open(struct cost_model *costs)
{
    struct arena arena = {0};
    struct stage_costs *all = ARENA_NEW(&arena, struct stage_costs, 1);
    all->arena = arena;
    all->costs = costs;
    return all;
}

void stage_costs_close(struct stage_costs *all)
{
    if (all == NULL)
        return;
    struct arena arena = all->arena; /* all of it lies in there */
    arena_free(&arena);
}

/* Ops of a step in which every kind of op, window and end of the model shows. */
static int probe(struct graph_op *ops, const struct stage_costs *all, const struct split *split,
        struct piece piece)
{
    struct seq_shape seq = {3, 1 << 26};
    struct step_shape shape = {.tokens = 5,
            .group_tokens = 5 * (int64_t)split->attention_dp,
            .prefill = &seq,
            .n_prefill = 1,
            .decode_batch = 2,
            .decode_kv_tokens = 2 << 26,
            .logits_rows = 3};
    memset(ops, 0, sizeof *ops * MAX_OPS);
    int n = graph_step(ops, MAX_OPS, cost_model_of(all->costs), split, piece, &shape);
    return n < MAX_OPS ? n : MAX_OPS;
}

static bool same_ops(const struct graph_op *a, const struct graph_op *b, int n)
{
    for (int i = 0; i < n; i++) {
        bool same = a[i].count == b[i].count && a[i].op.kind == b[i].op.kind
                    && a[i].op.dtype == b[i].op.dtype && a[i].op.degree == b[i].op.degree
                    && a[i].op.busy == b[i].op.busy && a[i].op.nodes == b[i].op.nodes;
        for (int d = 0; same && d < OP_DIMS; d++)
            same = a[i].op.dim[d] == b[i].op.dim[d];
        if (!same)
            return false;
    }
    return true;
}

static void make_slots(struct stage_costs *all, struct table *table, int64_t n_slots)
{
    table->n_slots = n_slots;
    table->keys = ARENA_NEW(&all->arena, uint64_t, n_slots);
    table->entry = ARENA_NEW(&all->arena, int32_t, n_slots);
}

static int find_table(
        struct stage_costs *all, int kind, const struct split *split, struct piece piece)
{
    struct graph_op ops[MAX_OPS];
    int n = probe(ops, all, split, piece);
    for (int t = 0; t < all->n_tables; t++) {
        const struct table *table = all->tables[t];
        if (table->kind == kind && table->n_ops == n && same_ops(table->ops, ops, n)
                && table->split.tp * table->split.attention_dp == split->tp * split->attention_dp)
            return t;
    }
    if (all->n_tables == all->room) {
        all->room = 2 * all->room + 8;
        all->tables = arena_grow(&all->arena, all->tables, all->n_tables, all->room,
                (int64_t)sizeof(struct table *));
    }
    struct table *table = ARENA_NEW(&all->arena, struct table, 1);
    table->kind = kind;
    table->split = *split;
    table->piece = piece;
    memcpy(table->ops, ops, sizeof ops);
    table->n_ops = n;
    for (int i = n - 1; i >= 0; i--)
        if (op_is_collective(ops[i].op.kind))
            table->meeting_kind = ops[i].op.kind;
    make_slots(all, table, 1024);
    all->tables[all->n_tables] = table;
    return all->n_tables++;
}

struct stage_cost *stage_cost_open(
        struct stage_costs *all, int kind, const struct split *split, struct piece piece)
{
    struct arena arena = {0};
    struct stage_cost *stage = ARENA_NEW(&arena, struct stage_cost, 1);
    stage->arena = arena;
    stage->all = all;
    stage->number = find_table(all, kind, split, piece);
    stage->table = all->tables[stage->number];
    return stage;
}

void stage_cost_close(struct stage_cost *stage)
{
    if (stage == NULL)
        return;
    struct arena arena = stage->arena; /* the stage itself lies in it */
    arena_free(&arena);
}

int stage_cost_table(const struct stage_cost *stage)
{
    return stage->number;
}

/* Never 0: rows and lengths are below 2^28. */
static uint64_t pack(const struct part_key *key)
{
    return ((uint64_t)key->part + 1) << 60 | (uint64_t)key->a << 32 | (uint64_t)key->b;
}

static int64_t slot_of(const struct table *table, uint64_t packed)
{
    int64_t at = (int64_t)(random_mix(packed) & (uint64_t)(table->n_slots - 1));
    while (table->keys[at] != 0 && table->keys[at] != packed)
        at = (at + 1) & (table->n_slots - 1);
    return at;
}

static void grow(struct stage_costs *all, struct table *table)
{
    struct table old = *table;
    make_slots(all, table, old.n_slots * 2);
    for (int64_t i = 0; i < old.n_slots; i++) {
        if (old.keys[i] == 0)
            continue;
        int64_t at = slot_of(table, old.keys[i]);
        table->keys[at] = old.keys[i];
        table->entry[at] = old.entry[i];
    }
}

static struct price price_part(struct step_cost *cost, struct stage_costs *all,
        const struct table *table, const struct part_key *key)
{
    struct seq_shape seq = {key->a, key->b};
    struct step_shape shape = {0};
    struct cost_meetings meetings;
    switch (key->part) {
    case PART_ROWS:
        shape.tokens = key->a;
        shape.group_tokens = key->b;
        break;
    case PART_HEAD:
        shape.logits_rows = key->a;
        break;
    case PART_DECODE:
        shape.decode_batch = key->a;
        shape.decode_kv_tokens = key->a * key->b;
        break;
    case PART_PREFILL:
        shape.prefill = &seq;
        shape.n_prefill = 1;
        break;
    case PART_COUNT:
        break;
    }
    cost_part(cost, &meetings, all->costs, table->kind, &table->split, table->piece, &shape);
    return (struct price){cost->us, meetings.variance_us2, meetings.count};
}

/* The number of the entry, or -1 when there is no room for it. */
static int32_t add_entry(struct stage_cost *stage, const struct part_key *key, uint64_t packed)
{
    struct table *table = stage->table;
    struct arena *arena = &stage->all->arena;
    if (table->n_of[key->part] == most_shapes[key->part])
        return -1;
    int32_t e = table->n++;
    int chunk = e / CHUNK;
    if (e % CHUNK == 0) {
        table->prices[chunk] = ARENA_NEW(arena, struct price, CHUNK);
        table->costs[chunk] = ARENA_NEW(arena, struct step_cost, CHUNK);
    }
    table->n_of[key->part]++;
    table->prices[chunk][e % CHUNK] =
            price_part(&table->costs[chunk][e % CHUNK], stage->all, table, key);
    if ((int64_t)table->n * 2 > table->n_slots)
        grow(stage->all, table);
    int64_t at = slot_of(table, packed);
    table->keys[at] = packed;
    table->entry[at] = e;
    return e;
}

/* Adds a part to the price of a step; `times` of it go into the stage's sums. */
static void add_part(
        struct price *to, struct stage_cost *stage, const struct part_key *key, int times)
{
    struct table *table = stage->table;
    uint64_t packed = pack(key);
    int64_t at = slot_of(table, packed);
    int32_t e = table->keys[at] != 0 ? table->entry[at] : add_entry(stage, key, packed);
    struct price price;
    if (e >= 0) {
        int64_t **counts = &stage->times[e / CHUNK];
        if (*counts == NULL)
            *counts = ARENA_NEW(&stage->arena, int64_t, CHUNK);
        (*counts)[e % CHUNK] += times;
        price = table->prices[e / CHUNK][e % CHUNK];
    } else {
        struct step_cost cost;
        price = price_part(&cost, stage->all, table, key);
        step_cost_add(&stage->rest, &cost, times);
    }
    to->us += price.us;
    to->variance_us2 += price.variance_us2;
    to->meetings += price.meetings;
}

static double price_group(struct stage_cost *stage, const struct step_shape *shape, int times)
{
    struct price sum = {0};
    add_part(&sum, stage, &(struct part_key){PART_ROWS, shape->tokens, shape->group_tokens}, times);
    if (shape->logits_rows > 0)
        add_part(&sum, stage, &(struct part_key){PART_HEAD, shape->logits_rows, 0}, times);
    if (shape->decode_batch > 0) {
        int64_t mean = (shape->decode_kv_tokens + shape->decode_batch - 1) / shape->decode_batch;
        add_part(&sum, stage, &(struct part_key){PART_DECODE, shape->decode_batch, mean}, times);
    }
    for (int i = 0; i < shape->n_prefill; i++)
        add_part(&sum, stage,
                &(struct part_key){PART_PREFILL, shape->prefill[i].q_len, shape->prefill[i].kv_len},
                times);
    struct cost_meetings meetings = {.variance_us2 = sum.variance_us2, .count = sum.meetings};
    double waiting_us = cost_waiting_us(&meetings, &stage->table->split);
    stage->waiting_us += times * waiting_us;
    return sum.us + waiting_us;
}

double stage_cost_step(struct stage_cost *stage, const struct step_shape *groups, int n_groups)
{
    if (n_groups == 1)
        return price_group(stage, &groups[0], 1);
    double most_us = -1;
    int slowest = 0;
    for (int g = 0; g < n_groups; g++) {
        double us = price_group(stage, &groups[g], 0);
        if (us > most_us) {
            most_us = us;
            slowest = g;
        }
    }
    return price_group(stage, &groups[slowest], 1);
}

void stage_cost_total(struct step_cost *out, const struct stage_cost *stage)
{
    const struct table *table = stage->table;
    *out = stage->rest;
    for (int32_t e = 0; e < table->n; e++)
        if (stage->times[e / CHUNK] != NULL) {
            int64_t times = stage->times[e / CHUNK][e % CHUNK];
            step_cost_add(out, &table->costs[e / CHUNK][e % CHUNK], (double)times);
        }
    double us = stage->waiting_us;
    out->us += us;
    out->lo_us += us;
    out->hi_us += us;
    out->kind_us[table->meeting_kind] += us;
}
