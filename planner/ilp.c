#include "planner/ilp.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void ilp_init(struct ilp *ilp, const char *name, struct arena *arena)
{
    memset(ilp, 0, sizeof *ilp);
    ilp->name = name;
    ilp->arena = arena;
}

/* Room for one element more; doubles. */
static void *grown(struct arena *arena, void *old, int64_t n, int64_t *cap, int64_t elem_bytes)
{
    if (n < *cap)
        return old;
    *cap = *cap > 0 ? *cap * 2 : 64;
    return arena_grow(arena, old, n, *cap, elem_bytes);
}

int ilp_add_col(struct ilp *ilp, const struct ilp_col *col)
{
    ilp->cols = grown(ilp->arena, ilp->cols, ilp->n_cols, &ilp->cap_cols, sizeof *ilp->cols);
    ilp->cols[ilp->n_cols] = *col;
    return ilp->n_cols++;
}

int ilp_add_row(struct ilp *ilp, const char *name, double lo, double hi)
{
    ilp->rows = grown(ilp->arena, ilp->rows, ilp->n_rows, &ilp->cap_rows, sizeof *ilp->rows);
    ilp->rows[ilp->n_rows] = (struct ilp_row){name, lo, hi};
    return ilp->n_rows++;
}

void ilp_add_term(struct ilp *ilp, int row, int col, double value)
{
    ilp->terms = grown(ilp->arena, ilp->terms, ilp->n_terms, &ilp->cap_terms, sizeof *ilp->terms);
    ilp->terms[ilp->n_terms++] = (struct ilp_term){row, col, value};
}

static int by_row(const void *a, const void *b)
{
    const struct ilp_term *x = a;
    const struct ilp_term *y = b;
    if (x->row != y->row)
        return x->row < y->row ? -1 : 1;
    return (x->col > y->col) - (x->col < y->col);
}

static void write_term(FILE *out, double value, const char *name, int *on_line)
{
    /* Lines of the format end at 255 characters in old readers. */
    if (*on_line == 6) {
        fputs("\n   ", out);
        *on_line = 0;
    }
    fprintf(out, " %c %.17g %s", value < 0 ? '-' : '+', fabs(value), name);
    ++*on_line;
}

/* One relation of a row whose terms are given. */
static void write_relation(FILE *out, const struct ilp *ilp, const struct ilp_row *row,
        const struct ilp_term *terms, int64_t n_terms, bool lower)
{
    bool equal = row->lo == row->hi;
    bool both = !isinf(row->lo) && !isinf(row->hi) && !equal;
    double bound = lower ? row->lo : row->hi;
    if (isinf(bound) || n_terms == 0 || (equal && !lower))
        return;
    int on_line = 0;
    fprintf(out, " %s%s:", row->name, both && lower ? "_lo" : "");
    for (int64_t i = 0; i < n_terms; i++)
        write_term(out, terms[i].value, ilp->cols[terms[i].col].name, &on_line);
    const char *relation = lower ? ">=" : "<=";
    fprintf(out, " %s %.17g\n", equal ? "=" : relation, bound);
}

static void write_rows(FILE *out, const struct ilp *ilp, const struct ilp_term *terms)
{
    int64_t at = 0;
    for (int row = 0; row < ilp->n_rows; row++) {
        int64_t end = at;
        while (end < ilp->n_terms && terms[end].row == row)
            end++;
        /* A row between two bounds is written twice: ranges differ from reader to reader. */
        write_relation(out, ilp, &ilp->rows[row], terms + at, end - at, true);
        write_relation(out, ilp, &ilp->rows[row], terms + at, end - at, false);
        at = end;
    }
}

static void write_bounds(FILE *out, const struct ilp *ilp)
{
    fputs("Bounds\n", out);
    for (int c = 0; c < ilp->n_cols; c++) {
        const struct ilp_col *col = &ilp->cols[c];
        if (isinf(col->lo) && isinf(col->hi)) {
            fprintf(out, " %s free\n", col->name);
            continue;
        }
        char lo[40] = "-inf";
        char hi[40] = "+inf";
        if (!isinf(col->lo))
            snprintf(lo, sizeof lo, "%.17g", col->lo);
        if (!isinf(col->hi))
            snprintf(hi, sizeof hi, "%.17g", col->hi);
        fprintf(out, " %s <= %s <= %s\n", lo, col->name, hi);
    }
    fputs("Generals\n", out);
    for (int c = 0; c < ilp->n_cols; c++)
        if (ilp->cols[c].integer)
            fprintf(out, " %s\n", ilp->cols[c].name);
    fputs("End\n", out);
}

char *ilp_write_lp(const struct ilp *ilp)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    if (out == NULL)
        return arena_strdup(ilp->arena, "");
    struct ilp_term *terms = ARENA_NEW(ilp->arena, struct ilp_term, ilp->n_terms + 1);
    if (ilp->n_terms > 0)
        memcpy(terms, ilp->terms, sizeof *terms * (size_t)ilp->n_terms);
    qsort(terms, (size_t)ilp->n_terms, sizeof *terms, by_row);

    fprintf(out, "\\ %s\nMinimize\n cost:", ilp->name);
    int on_line = 0;
    for (int c = 0; c < ilp->n_cols; c++)
        write_term(out, ilp->cols[c].cost, ilp->cols[c].name, &on_line);
    fputs("\nSubject To\n", out);
    write_rows(out, ilp, terms);
    write_bounds(out, ilp);
    fclose(out);
    char *copy = arena_strdup(ilp->arena, text);
    free(text);
    return copy;
}

double ilp_value(const struct ilp *ilp, const double *x)
{
    double sum = 0;
    for (int c = 0; c < ilp->n_cols; c++)
        sum += ilp->cols[c].cost * x[c];
    return sum;
}

double ilp_violation(const struct ilp *ilp, const double *x)
{
    double worst = 0;
    double *sum = calloc((size_t)ilp->n_rows + 1, sizeof *sum);
    if (sum == NULL)
        return HUGE_VAL;
    for (int64_t i = 0; i < ilp->n_terms; i++)
        sum[ilp->terms[i].row] += ilp->terms[i].value * x[ilp->terms[i].col];
    for (int r = 0; r < ilp->n_rows; r++)
        worst = fmax(worst, fmax(ilp->rows[r].lo - sum[r], sum[r] - ilp->rows[r].hi));
    for (int c = 0; c < ilp->n_cols; c++) {
        const struct ilp_col *col = &ilp->cols[c];
        worst = fmax(worst, fmax(col->lo - x[c], x[c] - col->hi));
        if (col->integer)
            worst = fmax(worst, fabs(x[c] - nearbyint(x[c])));
    }
    free(sum);
    return worst;
}
