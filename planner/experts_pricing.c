/*
 * The best pattern by dynamic programming over experts, slots and a grid of the cap, and many good ones by
 * greedy filling.
 *
 * Loads are rounded down to the grid: the table sees more patterns than there are, so its worth is too large at
 * worst and the bound that rests on it stays a bound.
 */
#include "planner/experts_pricing.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MOST_CELLS (INT64_C(1) << 26) /* of the table */
/* Large counts of replicas share an entry, with the worth of the first and the load of the last of them. */
#define BLOCK_SHARE 8

void experts_pricing_add(struct experts_pricing *b, const struct experts_item *items, int n)
{
    if (b->n_patterns == b->cap_patterns) {
        int64_t cap = b->cap_patterns > 0 ? b->cap_patterns * 2 : 1024;
        b->patterns = arena_grow(b->arena, b->patterns, b->n_patterns, cap, sizeof *b->patterns);
        b->cap_patterns = cap;
    }
    struct experts_item *copy = ARENA_NEW(b->arena, struct experts_item, n);
    memcpy(copy, items, sizeof *copy * (size_t)n);
    b->patterns[b->n_patterns++] = (struct experts_content){copy, n};
}

static int least_replicas(const struct experts_pricing *b, int expert)
{
    return (int)fmax(1, ceil(b->problem->load[expert] / b->cap * (1 - 1e-12)));
}

/* The counts of replicas that an expert may have when `spare` are left once every expert has its least. */
static void find_blocks(struct experts_pricing *b, int expert, int spare)
{
    const struct experts_problem *p = b->problem;
    struct experts_blocks *blocks = &b->blocks[expert];
    double load = p->load[expert];
    int first = least_replicas(b, expert);
    int last = first + spare < p->n_devices ? first + spare : p->n_devices;
    blocks->n = 0;
    for (int r = first; r <= last;) {
        int end = blocks->n + 1 == EXPERTS_MOST_BLOCKS ? last : r + (r - first) / BLOCK_SHARE;
        end = end < last ? end : last;
        blocks->block[blocks->n++] = (struct experts_block){.first = r,
                .last = end,
                .grid = (int)floor(load / end / b->cap * EXPERTS_GRID * (1 - 1e-12)),
                .load = load / r};
        r = end + 1;
    }
}

static void set_worths(struct experts_pricing *b)
{
    double slot = b->price[b->problem->n_experts];
    for (int e = 0; e < b->problem->n_experts; e++)
        for (int i = 0; i < b->blocks[e].n; i++) {
            struct experts_block *block = &b->blocks[e].block[i];
            block->worth = b->price[e] / block->first - slot;
        }
}

/* One expert into the table: every count of shares, from the most down, so that it is taken once. */
static void extend(struct experts_pricing *b, int expert)
{
    int slots = b->problem->slots;
    const struct experts_blocks *blocks = &b->blocks[expert];
    for (int k = slots; k > 0; k--) {
        double *to = b->best + (int64_t)k * (EXPERTS_GRID + 1);
        const double *from = to - (EXPERTS_GRID + 1);
        uint8_t *taken = b->taken + ((int64_t)expert * slots + k - 1) * (EXPERTS_GRID + 1);
        memset(taken, 0, EXPERTS_GRID + 1);
        for (int i = 0; i < blocks->n; i++) {
            double worth = blocks->block[i].worth;
            int grid = blocks->block[i].grid;
            if (worth <= 1e-12)
                continue;
            for (int s = grid; s <= EXPERTS_GRID; s++)
                if (from[s - grid] + worth > to[s]) {
                    to[s] = from[s - grid] + worth;
                    taken[s] = (uint8_t)(i + 1);
                }
        }
    }
}

/* The best pattern's worth; the pattern becomes a row. */
static double best_pattern(struct experts_pricing *b)
{
    const struct experts_problem *p = b->problem;
    struct experts_item *items = ARENA_NEW(b->arena, struct experts_item, p->slots);
    memset(b->best, 0, sizeof *b->best * (size_t)(p->slots + 1) * (EXPERTS_GRID + 1));
    for (int e = 0; e < p->n_experts; e++)
        extend(b, e);
    int k = p->slots;
    int s = EXPERTS_GRID;
    int n = 0;
    for (int e = p->n_experts - 1; e >= 0 && k > 0; e--) {
        int block = b->taken[((int64_t)e * p->slots + k - 1) * (EXPERTS_GRID + 1) + s];
        if (block == 0)
            continue;
        items[n++] = (struct experts_item){e, b->blocks[e].block[block - 1].first};
        s -= b->blocks[e].block[block - 1].grid;
        k--;
    }
    if (n > 0)
        experts_pricing_add(b, items, n);
    return b->best[(int64_t)p->slots * (EXPERTS_GRID + 1) + EXPERTS_GRID];
}

/* At the last program's prices; only patterns worth more than 1 there change it. */
static double worth_of(const struct experts_pricing *b, const struct experts_item *items, int n)
{
    double worth = 0;
    for (int i = 0; i < n; i++)
        worth += b->master[items[i].expert] / items[i].replicas - b->master[b->problem->n_experts];
    return worth;
}

struct density {
    double worth_per_load;
    int expert;
};

static int by_density(const void *a, const void *b)
{
    const struct density *x = a;
    const struct density *y = b;
    if (x->worth_per_load != y->worth_per_load)
        return x->worth_per_load > y->worth_per_load ? -1 : 1;
    return x->expert - y->expert;
}

/* The block of an expert that is worth most where `room` is left; -1 = none. */
static int worthiest(const struct experts_blocks *blocks, double room)
{
    int best = -1;
    for (int i = 0; i < blocks->n; i++)
        if (blocks->block[i].load <= room && blocks->block[i].worth > 1e-9
                && (best < 0 || blocks->block[i].worth > blocks->block[best].worth))
            best = i;
    return best;
}

/* Patterns that begin with each expert and go on by worth for load: many rows for little. */
static int64_t greedy_patterns(struct experts_pricing *b, const struct density *order)
{
    const struct experts_problem *p = b->problem;
    struct experts_item *items = ARENA_NEW(b->arena, struct experts_item, p->slots);
    int64_t found = 0;
    for (int start = 0; start < p->n_experts; start++)
        for (int which = 0; which < b->blocks[start].n && which < 2; which++) {
            const struct experts_block *block = &b->blocks[start].block[which];
            if (block->worth <= 0)
                continue;
            double room = b->cap - block->load;
            double worth = block->worth;
            int n = 0;
            items[n++] = (struct experts_item){start, block->first};
            for (int i = 0; i < p->n_experts && n < p->slots; i++) {
                int e = order[i].expert;
                int best = e == start ? -1 : worthiest(&b->blocks[e], room);
                if (best < 0)
                    continue;
                room -= b->blocks[e].block[best].load;
                worth += b->blocks[e].block[best].worth;
                items[n++] = (struct experts_item){e, b->blocks[e].block[best].first};
            }
            if (worth > 0.9 && worth_of(b, items, n) > 1 + 1e-6) {
                experts_pricing_add(b, items, n);
                found++;
            }
        }
    return found;
}

static int64_t separate_greedily(struct experts_pricing *b)
{
    const struct experts_problem *p = b->problem;
    struct density *order = ARENA_NEW(b->arena, struct density, p->n_experts);
    for (int e = 0; e < p->n_experts; e++)
        order[e] = (struct density){b->price[e] / fmax(p->load[e], 1e-300), e};
    qsort(order, (size_t)p->n_experts, sizeof *order, by_density);
    int64_t found = greedy_patterns(b, order);
    /* Where slots are scarce, what fills them best is what is worth most. */
    for (int e = 0; e < p->n_experts; e++)
        order[e] = (struct density){b->price[e], e};
    qsort(order, (size_t)p->n_experts, sizeof *order, by_density);
    return found + greedy_patterns(b, order);
}

bool experts_pricing_init(
        struct experts_pricing *b, const struct experts_state *s, struct arena *arena)
{
    const struct experts_problem *p = s->problem;
    int64_t cells = (int64_t)p->n_experts * p->slots * (EXPERTS_GRID + 1);
    if (cells > MOST_CELLS || p->slots > EXPERTS_GRID / 64)
        return false;
    *b = (struct experts_pricing){.problem = p, .arena = arena, .most = s->most};
    b->blocks = ARENA_NEW(arena, struct experts_blocks, p->n_experts);
    b->price = ARENA_NEW(arena, double, p->n_experts + 1);
    b->master = ARENA_NEW(arena, double, p->n_experts + 1);
    b->best = ARENA_NEW(arena, double, (int64_t)(p->slots + 1) * (EXPERTS_GRID + 1));
    b->taken = ARENA_NEW(arena, uint8_t, cells);
    return true;
}

bool experts_pricing_start(struct experts_pricing *b, double cap)
{
    const struct experts_problem *p = b->problem;
    int64_t spare = b->most;
    b->cap = cap;
    b->n_patterns = 0;
    for (int e = 0; e < p->n_experts; e++)
        spare -= least_replicas(b, e);
    for (int e = 0; e < p->n_experts && spare >= 0; e++) {
        find_blocks(b, e, (int)spare);
        experts_pricing_add(b, &(struct experts_item){e, b->blocks[e].block[0].first}, 1);
    }
    return spare >= 0;
}

double experts_pricing_look(struct experts_pricing *b)
{
    int64_t before = b->n_patterns;
    set_worths(b);
    double worth = best_pattern(b);
    const struct experts_content *last = &b->patterns[b->n_patterns - 1];
    if (b->n_patterns > before && worth_of(b, last->items, last->n) <= 1 + 1e-6)
        b->n_patterns = before;
    separate_greedily(b);
    return worth;
}
