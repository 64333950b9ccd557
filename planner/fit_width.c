#include "planner/fit_width.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "planner/conformal.h"

enum {
    MOST_PER_KIND = 400, /* points left out */
    MOST_PER_SITE = 32
};
/* Half width where too few points can be left out. */
#define UNKNOWN 0.10
/* The usual join is left for one whose errors are smaller than these times its own. */
#define USUAL 0.9

/* The sizes of a site along one dimension, ascending. */
struct scale {
    int64_t *sizes;
    int64_t n;
};

static int by_size(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a;
    int64_t y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void make_scale(
        struct scale *scale, const struct fit_site *site, int dim, struct arena *arena)
{
    int64_t *sizes = ARENA_NEW(arena, int64_t, site->n);
    for (int64_t i = 0; i < site->n; i++)
        sizes[i] = site->points[i].op.dim[dim];
    qsort(sizes, (size_t)site->n, sizeof *sizes, by_size);
    *scale = (struct scale){sizes, 0};
    for (int64_t i = 0; i < site->n; i++)
        if (scale->n == 0 || sizes[scale->n - 1] != sizes[i])
            sizes[scale->n++] = sizes[i];
}

/* Whether two sizes are at most `within` places apart. */
static bool close_by(const struct scale *scale, int64_t a, int64_t b, int64_t within)
{
    const int64_t *x = bsearch(&a, scale->sizes, (size_t)scale->n, sizeof a, by_size);
    const int64_t *y = bsearch(&b, scale->sizes, (size_t)scale->n, sizeof b, by_size);
    return x != NULL && y != NULL && llabs(x - y) <= within;
}

/* A site with room for what is left of it. */
struct leaver {
    const struct fit_site *site;
    struct scale scales[2];
    int n_dims;
    struct profile_point *rest;
};

static void leaver_init(struct leaver *leaver, const struct fit_site *site, struct arena *arena)
{
    *leaver =
            (struct leaver){.site = site, .n_dims = op_is_attention(site->points->op.kind) ? 2 : 1};
    for (int d = 0; d < leaver->n_dims; d++)
        make_scale(&leaver->scales[d], site, d, arena);
    leaver->rest = ARENA_NEW(arena, struct profile_point, site->n);
}

/* ln(predicted / measured) of a point without all sizes at most `within` places from it. */
static bool left_out(double *error, struct leaver *leaver, int64_t point, int64_t within,
        const struct roof *roof)
{
    const struct profile_point *truth = &leaver->site->points[point];
    struct fit_site rest = {leaver->rest, 0, leaver->site->join};
    for (int64_t i = 0; i < leaver->site->n; i++) {
        bool out = false;
        for (int d = 0; d < leaver->n_dims; d++)
            out = out
                  || close_by(&leaver->scales[d], truth->op.dim[d],
                          leaver->site->points[i].op.dim[d], within);
        if (!out)
            leaver->rest[rest.n++] = leaver->site->points[i];
    }
    if (rest.n == 0 || !(truth->cost_us > 0))
        return false;
    struct cost cost = fit_site_cost(&rest, &truth->op, roof);
    *error = log(cost.us / truth->cost_us);
    return cost.source == COST_INTERPOLATED && isfinite(*error);
}

int64_t fit_left_out(struct left_out *out, const struct fit_site *site, const struct roof *roof)
{
    struct arena arena = {0};
    struct leaver leaver;
    int64_t n = 0;
    leaver_init(&leaver, site, &arena);
    for (int64_t i = 0; i < site->n; i++) {
        double error;
        if (left_out(&error, &leaver, i, 0, roof))
            out[n++] = (struct left_out){&site->points[i], exp(error) - 1};
    }
    arena_free(&arena);
    return n;
}

struct errors {
    double *frac;
    int64_t n;
};

/* Errors of one kind: of each class, of all, and those with wider gaps beside the ones that they are compared with. */
struct gathered {
    struct errors of[COST_CLASSES], all, near, far;
};

static void add(struct errors *errors, double error)
{
    if (errors->n < MOST_PER_KIND)
        errors->frac[errors->n++] = fabs(error);
}

static void gather_site(
        struct gathered *out, const struct fit_site *site, const struct roof *roof, int64_t stride)
{
    struct arena arena = {0};
    struct leaver leaver;
    leaver_init(&leaver, site, &arena);
    int64_t of_site = (site->n + MOST_PER_SITE - 1) / MOST_PER_SITE;
    for (int64_t i = stride / 2; i<site->n; i += stride> of_site ? stride : of_site) {
        double near;
        double far;
        if (!left_out(&near, &leaver, i, 0, roof))
            continue;
        add(&out->of[cost_class_of(site->points[i].cost_us)], near);
        add(&out->all, near);
        if (!left_out(&far, &leaver, i, 1, roof))
            continue;
        add(&out->near, near);
        add(&out->far, far);
    }
    arena_free(&arena);
}

static double median(struct errors *errors)
{
    qsort(errors->frac, (size_t)errors->n, sizeof *errors->frac, conformal_by_value);
    return errors->n > 0 ? errors->frac[errors->n / 2] : 0;
}

/*
 * How errors are with gaps half as wide. Their squares are noise and bending, which grows with the fourth power of the
 * gap: near = n + b, far = n + 16 b. Half the gap has b / 16, and 10 / 9 of the noise: that of the middle of a gap, where
 * points are left out, is 3/2 of a measurement's, and on average over the gap it is 5/3. Sites bend unlike each other,
 * so no more than half of near is taken for bending.
 */
static double shrink_of(struct gathered *gathered)
{
    double near = median(&gathered->near);
    double far = median(&gathered->far);
    double ratio = near > 0 ? fmax(far / near, 1) : 1;
    double bending = fmin(0.5, (ratio * ratio - 1) / 15);
    return sqrt((1 - bending) * 10 / 9 + bending / 16);
}

static void gathered_init(struct gathered *gathered, struct arena *arena)
{
    struct errors *const each[] = {&gathered->all, &gathered->near, &gathered->far};
    for (int i = 0; i < 3; i++)
        *each[i] = (struct errors){ARENA_NEW(arena, double, MOST_PER_KIND), 0};
    for (int c = 0; c < COST_CLASSES; c++)
        gathered->of[c] = (struct errors){ARENA_NEW(arena, double, MOST_PER_KIND), 0};
}

/* Errors of the sites of a kind, joined as they say. */
static void gather(struct gathered *gathered, const struct fit_site *sites, int64_t n,
        struct roof (*roof_of)(const void *self, const struct op *op), const void *self)
{
    int64_t points = 0;
    for (int64_t s = 0; s < n; s++)
        points += sites[s].n;
    int64_t stride = points / MOST_PER_KIND + 1;
    for (int64_t s = 0; s < n; s++) {
        const struct roof roof = roof_of(self, &sites[s].points->op);
        if (sites[s].n > 2)
            gather_site(gathered, &sites[s], &roof, stride < sites[s].n / 4 ? stride : 1);
    }
}

static void learn_kind(double frac[COST_CLASSES], struct fit_site *sites, int64_t n,
        struct roof (*roof_of)(const void *self, const struct op *op), const void *self)
{
    struct arena arena = {0};
    struct gathered gathered[FIT_JOINS];
    enum fit_join usual = fit_usual_join(sites->points->op.kind);
    enum fit_join best = usual;
    double least = HUGE_VAL;
    for (int j = 0; j < FIT_JOINS; j++) {
        for (int64_t s = 0; s < n; s++)
            sites[s].join = (enum fit_join)j;
        gathered_init(&gathered[j], &arena);
        gather(&gathered[j], sites, n, roof_of, self);
        double error = median(&gathered[j].all) * (j == (int)usual ? USUAL : 1);
        if (gathered[j].all.n >= CONFORMAL_LEAST && error < least) {
            best = (enum fit_join)j;
            least = error;
        }
    }
    for (int64_t s = 0; s < n; s++)
        sites[s].join = best;
    struct gathered *with = &gathered[best];
    double shrink = shrink_of(with);
    double all = conformal_width(with->all.frac, with->all.n, UNKNOWN / shrink);
    for (int c = 0; c < COST_CLASSES; c++)
        frac[c] = conformal_width(with->of[c].frac, with->of[c].n, all) * shrink;
    arena_free(&arena);
}

void fit_widths_learn(struct fit_widths *out, struct fit_site *sites, int64_t n,
        struct roof (*roof_of)(const void *self, const struct op *op), const void *self)
{
    for (int k = 0; k < OP_KIND_COUNT; k++)
        for (int c = 0; c < COST_CLASSES; c++)
            out->frac[k][c] = UNKNOWN;
    for (int64_t at = 0; at < n;) {
        enum op_kind kind = sites[at].points->op.kind;
        int64_t end = at;
        while (end < n && sites[end].points->op.kind == kind)
            end++;
        learn_kind(out->frac[kind], &sites[at], end - at, roof_of, self);
        at = end;
    }
}

void fit_widths_apply(const struct fit_widths *widths, struct cost *cost, enum op_kind kind)
{
    double width = widths->frac[kind][cost_class_of(cost->us)];
    double lo = cost->us * exp(-width);
    double hi = cost->us * exp(width);
    bool edge = cost->source == COST_ESTIMATED;
    cost->lo_us = edge ? fmin(cost->lo_us, lo) : lo;
    cost->hi_us = edge ? fmax(cost->hi_us, hi) : hi;
}
