/*
 * x(o,s): op o is done in way s. y(e,s,t): edge e goes from way s of its first op to way t of its second. The
 * y are continuous: with the x whole, B2 and B3 leave them one value each.
 */
#include "planner/block.h"

#include <math.h>
#include <string.h>

#include "planner/ilp.h"

struct program {
    struct ilp ilp;
    int first[BLOCK_OPS]; /* column of way 0 */
};

static bool is_free(const int *fixed, int op, int way)
{
    return fixed == NULL || fixed[op] < 0 || fixed[op] == way;
}

static void add_ops(struct program *p, const struct block *b, const int *fixed, struct arena *arena)
{
    int memory = b->most_bytes > 0
                         ? ilp_add_row(&p->ilp, "memory", -HUGE_VAL, (double)b->most_bytes)
                         : -1; /* B4 */
    for (int o = 0; o < b->n_ops; o++) {
        const struct block_op *op = &b->ops[o];
        int one = ilp_add_row(&p->ilp, arena_printf(arena, "way_%d", o), 1, 1); /* B1 */
        p->first[o] = p->ilp.n_cols;
        for (int s = 0; s < op->n_ways; s++) {
            int col = ilp_add_col(
                    &p->ilp, &(struct ilp_col){.name = arena_printf(arena, "x_%d_%d", o, s),
                                     .hi = is_free(fixed, o, s) ? 1 : 0,
                                     .cost = op->ways[s].us,
                                     .integer = true});
            ilp_add_term(&p->ilp, one, col, 1);
            if (memory >= 0 && op->ways[s].bytes > 0)
                ilp_add_term(&p->ilp, memory, col, (double)op->ways[s].bytes);
        }
    }
}

static void add_edge(struct program *p, const struct block *b, int e, struct arena *arena)
{
    const struct block_edge *edge = &b->edges[e];
    int n_from = b->ops[edge->from].n_ways;
    int n_to = b->ops[edge->to].n_ways;
    int row[2][BLOCK_WAYS];
    for (int s = 0; s < n_from; s++) { /* B2 */
        row[0][s] = ilp_add_row(&p->ilp, arena_printf(arena, "from_%d_%d", e, s), 0, 0);
        ilp_add_term(&p->ilp, row[0][s], p->first[edge->from] + s, -1);
    }
    for (int t = 0; t < n_to; t++) { /* B3 */
        row[1][t] = ilp_add_row(&p->ilp, arena_printf(arena, "into_%d_%d", e, t), 0, 0);
        ilp_add_term(&p->ilp, row[1][t], p->first[edge->to] + t, -1);
    }
    for (int s = 0; s < n_from; s++)
        for (int t = 0; t < n_to; t++) {
            if (isinf(edge->us[s][t]))
                continue;
            int col = ilp_add_col(
                    &p->ilp, &(struct ilp_col){.name = arena_printf(arena, "y_%d_%d_%d", e, s, t),
                                     .hi = 1,
                                     .cost = edge->us[s][t]});
            ilp_add_term(&p->ilp, row[0][s], col, 1);
            ilp_add_term(&p->ilp, row[1][t], col, 1);
        }
}

double block_value(const struct block *b, const int *way)
{
    double us = 0;
    int64_t bytes = 0;
    for (int o = 0; o < b->n_ops; o++) {
        us += b->ops[o].ways[way[o]].us;
        bytes += b->ops[o].ways[way[o]].bytes;
    }
    for (int e = 0; e < b->n_edges; e++) {
        const struct block_edge *edge = &b->edges[e];
        us += edge->us[way[edge->from]][way[edge->to]];
    }
    return b->most_bytes > 0 && bytes > b->most_bytes ? HUGE_VAL : us;
}

bool block_solve(struct block_answer *out, const struct block *b, const int *fixed,
        struct arena *arena, struct err *err)
{
    struct program p;
    struct ilp_result result;
    memset(out, 0, sizeof *out);
    ilp_init(&p.ilp, "block", arena);
    add_ops(&p, b, fixed, arena);
    for (int e = 0; e < b->n_edges; e++)
        add_edge(&p, b, e, arena);
    if (!ilp_solve(&result, &p.ilp, &(struct ilp_limits){0}, arena, err))
        return err_context(err, "sharding of a block");
    if (result.status != ILP_OPTIMAL)
        return result.status == ILP_INFEASIBLE
               || err_set(err, ERR_ENV, "the solver gave up on the sharding of a block");
    for (int o = 0; o < b->n_ops; o++)
        for (int s = 0; s < b->ops[o].n_ways; s++)
            if (result.x[p.first[o] + s] > 0.5)
                out->way[o] = s;
    out->us = block_value(b, out->way);
    out->feasible = true;
    return true;
}

bool block_table(double *out, const struct block *b, int entry, int exit, struct arena *arena,
        struct err *err)
{
    int n = b->ops[entry].n_ways;
    int fixed[BLOCK_OPS];
    for (int o = 0; o < b->n_ops; o++)
        fixed[o] = -1;
    for (int s = 0; s < n; s++)
        for (int t = 0; t < n; t++) {
            struct block_answer answer;
            fixed[entry] = s;
            fixed[exit] = t;
            if (!block_solve(&answer, b, fixed, arena, err))
                return false;
            out[s * n + t] = answer.feasible ? answer.us : HUGE_VAL;
        }
    return true;
}

void block_join(double *out, const double *a, const double *b, int n)
{
    for (int s = 0; s < n; s++)
        for (int t = 0; t < n; t++) {
            double best = HUGE_VAL;
            for (int m = 0; m < n; m++)
                best = fmin(best, a[s * n + m] + b[m * n + t]);
            out[s * n + t] = best;
        }
}

void block_power(double *out, const double *table, int n, int64_t times, struct arena *arena)
{
    size_t bytes = sizeof *out * (size_t)n * (size_t)n;
    double *square = ARENA_NEW(arena, double, (int64_t)n *n);
    double *next = ARENA_NEW(arena, double, (int64_t)n *n);
    bool any = false;
    memcpy(square, table, bytes);
    for (int64_t left = times; left > 0; left /= 2) {
        if (left % 2 != 0 && any) {
            block_join(next, out, square, n);
            memcpy(out, next, bytes);
        } else if (left % 2 != 0) {
            memcpy(out, square, bytes);
            any = true;
        }
        block_join(next, square, square, n);
        memcpy(square, next, bytes);
    }
}
