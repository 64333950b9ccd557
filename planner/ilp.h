/*
 * ilp - a linear program with named rows and columns; solver-neutral.
 *
 * Always a minimisation. Columns and rows are numbered from 0 in the order they were added. The names are
 * those of docs/ilp.md, so that an exported program can be read. Memory comes from the arena.
 */
#ifndef PLANNER_ILP_H
#define PLANNER_ILP_H

#include <math.h>
#include <stdint.h>

#include "core/arena.h"
#include "core/err.h"

struct ilp_col {
    const char *name;
    double lo, hi; /* -HUGE_VAL and HUGE_VAL allowed */
    double cost;
    bool integer;
};

struct ilp_row {
    const char *name;
    double lo, hi;
};

struct ilp_term {
    int row, col;
    double value;
};

struct ilp {
    const char *name;
    struct arena *arena;
    struct ilp_col *cols;
    struct ilp_row *rows;
    struct ilp_term *terms;
    int n_cols, n_rows;
    int64_t n_terms, cap_cols, cap_rows, cap_terms;
};

void ilp_init(struct ilp *ilp, const char *name, struct arena *arena);
int ilp_add_col(struct ilp *ilp, const struct ilp_col *col); /* returns its number */
int ilp_add_row(struct ilp *ilp, const char *name, double lo, double hi);
void ilp_add_term(struct ilp *ilp, int row, int col, double value); /* at most once per place */

/* The program as CPLEX LP text, which every solver reads; in the arena. */
char *ilp_write_lp(const struct ilp *ilp);
/* Largest violation of a row, a bound or integrality by x. */
double ilp_violation(const struct ilp *ilp, const double *x);
double ilp_value(const struct ilp *ilp, const double *x);

enum ilp_status {
    ILP_OPTIMAL,  /* proven */
    ILP_FEASIBLE, /* x is a solution; a limit or a dead solver ended the search before the proof */
    ILP_INFEASIBLE, /* proven: there is none */
    ILP_UNKNOWN     /* a limit ended the search before any solution */
};

struct ilp_limits {
    double time_s;           /* 0 = none */
    int64_t nodes;           /* of the search tree; 0 = as many as it takes */
    int64_t memory_bytes;    /* of the solver process; 0 = 2 GiB */
    const double *incumbent; /* a known solution, n_cols, or NULL */
    double gap_frac; /* a solution this close to the bound ends the search; 0 = the optimum */
    bool relax;      /* drop integrality: the LP bound */
    void (*started)(void *self, int pid); /* tests: told the solver's process; or NULL */
    void *self;
};

struct ilp_result {
    enum ilp_status status;
    double value,
            bound; /* value only with a solution; bound is a proven lower bound, -HUGE_VAL if none */
    double *x;     /* n_cols in the arena, NULL without a solution */
    double *dual; /* of a relaxed program: n_rows in the arena, change of value by a row's bound; else NULL */
    int64_t nodes;
    double seconds;
    const char
            *trouble; /* what happened to the solver when it did not end by itself; NULL normally */
};

/*
 * Solves in a child process, which may abort or be killed without harm. The incumbent and the bound
 * that were known at that moment are returned. ERR_ENV only when the solver died and there is no
 * solution to return. Implemented by ilp_glpk.c.
 */
MUST_CHECK bool ilp_solve(struct ilp_result *out, const struct ilp *ilp,
        const struct ilp_limits *limits, struct arena *arena, struct err *err);
/* "glpk 5.0" */
const char *ilp_solver(struct arena *arena);

#endif
