#include "planner/coll_lines.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/arena.h"
#include "planner/conformal.h"

enum {
    CALIBRATE = 400,
};
/* Half widths of the interval, logarithms; the first where too few points can be left out. */
#define UNKNOWN_INSIDE  0.15
#define UNKNOWN_OUTSIDE 0.40

/* Points of one group size and type, ascending by size: a run of the profile's order. */
struct line {
    const struct profile_point *points;
    int64_t n;
};

/* Lines of one kind, way and spread; together they answer. */
struct family {
    enum op_kind kind;
    int64_t via;
    int32_t nodes;
    int first, n; /* lines */
    double width;
};

struct coll_lines {
    struct arena arena;
    struct line *lines;
    struct family *families;
    int n_families;
};

static int64_t sign(int64_t a, int64_t b)
{
    return (a > b) - (a < b);
}

static int by_line(const void *a, const void *b)
{
    const struct op *x = &((const struct profile_point *)a)->op;
    const struct op *y = &((const struct profile_point *)b)->op;
    const int64_t order[] = {sign((int64_t)x->kind, (int64_t)y->kind), sign(x->dim[1], y->dim[1]),
            sign(x->nodes, y->nodes), sign(x->degree, y->degree),
            sign((int64_t)x->dtype, (int64_t)y->dtype), sign(x->dim[0], y->dim[0])};
    for (size_t i = 0; i < sizeof order / sizeof *order; i++)
        if (order[i] != 0)
            return (int)order[i];
    return 0;
}

static bool same_family(const struct family *family, const struct op *op)
{
    return family->kind == op->kind && family->via == op->dim[1] && family->nodes == op->nodes;
}

/* What a line says of a size; *outside when it lies past the ends. skip: a point that does not count. */
static bool line_us(double *us, bool *outside, const struct line *line, int64_t bytes,
        const struct profile_point *skip)
{
    const struct profile_point *below[2] = {NULL, NULL};
    const struct profile_point *above = NULL;
    int64_t lo = 0;
    int64_t hi = line->n;
    while (lo < hi) {
        int64_t mid = lo + (hi - lo) / 2;
        if (line->points[mid].op.dim[0] < bytes)
            lo = mid + 1;
        else
            hi = mid;
    }
    for (int64_t i = lo; i < line->n && above == NULL; i++)
        if (&line->points[i] != skip)
            above = &line->points[i];
    for (int64_t i = lo - 1; i >= 0 && below[1] == NULL; i--)
        if (&line->points[i] != skip)
            below[below[0] != NULL] = &line->points[i];
    *outside = above == NULL || (below[0] == NULL && above->op.dim[0] > bytes);
    if (above != NULL && (above->op.dim[0] == bytes || below[0] == NULL)) {
        *us = above->cost_us; /* below the smallest size all is latency */
        return true;
    }
    if (below[0] == NULL)
        return false;
    double size = (double)below[0]->op.dim[0];
    if (above != NULL) {
        double t = ((double)bytes - size) / ((double)above->op.dim[0] - size);
        *us = below[0]->cost_us + t * (above->cost_us - below[0]->cost_us);
        return true;
    }
    double rate = below[0]->cost_us / size; /* past the largest: the rate between the last two */
    if (below[1] != NULL)
        rate = fmax(
                0, (below[0]->cost_us - below[1]->cost_us) / (size - (double)below[1]->op.dim[0]));
    *us = below[0]->cost_us + rate * ((double)bytes - size);
    return true;
}

/* All lines of one group size; the op's own type counts as much as the others together. */
static bool degree_us(double *us, bool *outside, const struct coll_lines *lines,
        const struct family *family, const struct op *op, int32_t degree,
        const struct profile_point *skip)
{
    double own = 0;
    double others = 0;
    int n_own = 0;
    int n_others = 0;
    bool inside = false;
    for (int i = family->first; i < family->first + family->n; i++) {
        const struct line *line = &lines->lines[i];
        double here;
        bool past;
        if (line->points->op.degree != degree || !line_us(&here, &past, line, op->dim[0], skip))
            continue;
        inside |= !past;
        if (line->points->op.dtype == op->dtype) {
            own += log(here);
            n_own++;
        } else {
            others += log(here);
            n_others++;
        }
    }
    *outside = !inside;
    if (n_own + n_others == 0)
        return false;
    double sum = n_own > 0 && n_others > 0 ? own + others / n_others
                                           : (own + others) / (n_own + n_others);
    *us = exp(n_own > 0 && n_others > 0 ? sum / 2 : sum);
    return true;
}

/* The nearest group sizes measured, at and around; 0 = none. */
static void degrees_around(
        int32_t out[2], const struct coll_lines *lines, const struct family *family, int32_t degree)
{
    out[0] = out[1] = 0;
    for (int i = family->first; i < family->first + family->n; i++) {
        int32_t at = lines->lines[i].points->op.degree;
        if (at <= degree && at > out[0])
            out[0] = at;
        if (at >= degree && (out[1] == 0 || at < out[1]))
            out[1] = at;
    }
}

static const struct profile_point *exact(
        const struct coll_lines *lines, const struct family *family, const struct op *op)
{
    for (int i = family->first; i < family->first + family->n; i++) {
        const struct line *line = &lines->lines[i];
        if (line->points->op.degree != op->degree || line->points->op.dtype != op->dtype)
            continue;
        struct profile_point key = *line->points;
        key.op.dim[0] = op->dim[0];
        return bsearch(&key, line->points, (size_t)line->n, sizeof key, by_line);
    }
    return NULL;
}

/* By the points left out, each in turn. */
static double calibrate(const struct coll_lines *lines, const struct family *family)
{
    double errors[CALIBRATE];
    int n = 0;
    for (int i = family->first; i < family->first + family->n; i++)
        for (int64_t p = 0; p < lines->lines[i].n && n < CALIBRATE; p++) {
            const struct profile_point *point = &lines->lines[i].points[p];
            double us;
            bool outside;
            if (degree_us(&us, &outside, lines, family, &point->op, point->op.degree, point)
                    && !outside)
                errors[n++] = fabs(log(us / point->cost_us));
        }
    return conformal_width(errors, n, UNKNOWN_INSIDE);
}

static void make_lines(struct coll_lines *lines, const struct profile_point *points, int64_t n)
{
    lines->lines = ARENA_NEW(&lines->arena, struct line, n + 1);
    lines->families = ARENA_NEW(&lines->arena, struct family, n + 1);
    int n_lines = 0;
    for (int64_t i = 0; i < n; i++) {
        const struct op *op = &points[i].op;
        struct family *family =
                lines->n_families > 0 ? &lines->families[lines->n_families - 1] : NULL;
        bool new_family = family == NULL || !same_family(family, op);
        if (new_family) {
            family = &lines->families[lines->n_families++];
            *family = (struct family){op->kind, op->dim[1], op->nodes, n_lines, 0, 0};
        }
        const struct op *before = &points[i > 0 ? i - 1 : 0].op;
        if (new_family || before->degree != op->degree || before->dtype != op->dtype) {
            lines->lines[n_lines++] = (struct line){&points[i], 0};
            family->n++;
        }
        lines->lines[n_lines - 1].n++;
    }
    for (int i = 0; i < lines->n_families; i++)
        lines->families[i].width = calibrate(lines, &lines->families[i]);
}

struct coll_lines *coll_lines_open(const struct profile *profile)
{
    struct arena arena = {0};
    struct coll_lines *lines = ARENA_NEW(&arena, struct coll_lines, 1);
    lines->arena = arena;
    int64_t n = 0;
    for (int64_t i = 0; i < profile->n; i++)
        n += op_is_collective(profile->points[i].op.kind) && profile->points[i].op.busy == 0;
    struct profile_point *points = ARENA_NEW(&lines->arena, struct profile_point, n + 1);
    n = 0;
    for (int64_t i = 0; i < profile->n; i++)
        if (op_is_collective(profile->points[i].op.kind) && profile->points[i].op.busy == 0)
            points[n++] = profile->points[i];
    if (n > 0)
        qsort(points, (size_t)n, sizeof *points, by_line);
    make_lines(lines, points, n);
    return lines;
}

void coll_lines_close(struct coll_lines *lines)
{
    if (lines == NULL)
        return;
    struct arena arena = lines->arena; /* the lines themselves lie in it */
    arena_free(&arena);
}

static struct cost figure(double us, double width, enum cost_source source)
{
    return (struct cost){us, us * exp(-width), us * exp(width), source, 0};
}

bool coll_lines_cost(struct cost *out, const struct coll_lines *lines, const struct op *op)
{
    const struct family *family = NULL;
    for (int i = 0; i < lines->n_families && family == NULL; i++)
        if (same_family(&lines->families[i], op))
            family = &lines->families[i];
    if (family == NULL)
        return false;
    const struct profile_point *point = exact(lines, family, op);
    if (point != NULL) {
        double lo = point->lo_us > 0 ? point->lo_us : point->cost_us;
        double hi = point->hi_us > 0 ? point->hi_us : point->cost_us;
        *out = (struct cost){point->cost_us, lo, hi, point->source, 0};
        return true;
    }
    int32_t at[2];
    double us[2] = {0, 0};
    bool outside[2] = {true, true};
    degrees_around(at, lines, family, op->degree);
    for (int i = 0; i < 2; i++)
        if (at[i] > 0 && !degree_us(&us[i], &outside[i], lines, family, op, at[i], NULL))
            at[i] = 0;
    if (at[0] == 0 && at[1] == 0)
        return false;
    if (at[0] == 0 || at[1] == 0) { /* more ranks than were measured, or fewer */
        *out = figure(at[0] > 0 ? us[0] : us[1], UNKNOWN_OUTSIDE, COST_ESTIMATED);
        return true;
    }
    double t = at[0] == at[1] ? 0 : log((double)op->degree / at[0]) / log((double)at[1] / at[0]);
    bool guessed = outside[0] || outside[1];
    *out = figure(exp(log(us[0]) * (1 - t) + log(us[1]) * t),
            guessed ? UNKNOWN_OUTSIDE : family->width,
            guessed ? COST_ESTIMATED : COST_INTERPOLATED);
    return true;
}
