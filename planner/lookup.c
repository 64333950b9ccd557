/*
 * The profile is split into sites: runs of points that differ in size alone (rows, bytes, or lengths of
 * attention). A question is answered from the nearest thing there is: the point, its site, the site at
 * another load of the host, sites of other dimensions, another degree, and last the roofline. How
 * sizes are joined inside a site is in fit.c. Tables of other programs lie on grids (grid.c); how their rows
 * answer for ops that they cut differently is in imported.c.
 */
#include "planner/lookup.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/arena.h"
#include "planner/fit.h"
#include "planner/fit_width.h"
#include "planner/imported.h"
#include "planner/memo.h"

/* How much wider than the measured interval a figure is that was not measured itself. */
#define WIDEN_OTHER_BUSY   0.15
#define WIDEN_NEIGHBOURS   0.20
#define WIDEN_OTHER_DEGREE 0.35
#define WIDEN_ROOFLINE     0.50

/* A kernel reaches about this share of the ceilings; used only where nothing was measured. */
#define TYPICAL_UTILISATION 0.7
/* Ceilings of last resort, a modest CPU core: the planner refuses to plan on them (cost_open). */
#define FALLBACK_FLOPS       5e10
#define FALLBACK_BYTES_PER_S 1e10

struct lookup {
    struct arena arena;
    const struct profile *profile;
    struct lookup_device device;
    struct fit_site *sites; /* ascending by fit_compare_sites */
    int64_t n_sites;
    struct roof *roofs; /* one per (degree, busy) that was measured */
    int n_roofs;
    bool measured_roof;
    struct fit_widths widths;
    struct imported_costs *imported;
    struct memo *memo;
};

/* The points that lie in lines, not on grids. */
static struct profile_point *sorted_points(struct lookup *lookup, int64_t *n)
{
    const struct profile *profile = lookup->profile;
    *n = 0;
    for (int64_t i = 0; i < profile->n; i++)
        *n += !imported_takes(&profile->points[i].op);
    struct profile_point *points = ARENA_NEW(&lookup->arena, struct profile_point, *n + 1);
    for (int64_t i = 0, to = 0; i < profile->n; i++)
        if (!imported_takes(&profile->points[i].op))
            points[to++] = profile->points[i];
    qsort(points, (size_t)*n, sizeof *points, fit_compare_points);
    return points;
}

/* The highest rates seen in a layout: what interpolation calls full utilisation. */
static void learn_roofs(struct lookup *lookup, const struct profile_point *points, int64_t n)
{
    lookup->roofs = ARENA_NEW(&lookup->arena, struct roof, n + 1);
    for (int64_t i = 0; i < n; i++) {
        const struct op *op = &points[i].op;
        if (op_is_collective(op->kind) || points[i].cost_us <= 0)
            continue;
        struct roof *roof = NULL;
        for (int r = 0; r < lookup->n_roofs && roof == NULL; r++)
            if (lookup->roofs[r].degree == op->degree && lookup->roofs[r].busy == op->busy)
                roof = &lookup->roofs[r];
        if (roof == NULL) {
            roof = &lookup->roofs[lookup->n_roofs++];
            *roof = (struct roof){.degree = op->degree, .busy = op->busy};
        }
        roof->flop_per_us = fmax(roof->flop_per_us, op_flop(op) / points[i].cost_us);
        /* Attention and small ops live in caches: only streams of weights tell the memory's rate. */
        if (op->kind == OP_GEMM || op->kind == OP_LM_HEAD)
            roof->bytes_per_us = fmax(roof->bytes_per_us, op_bytes(op) / points[i].cost_us);
    }
}

static void learn_sites(struct lookup *lookup, const struct profile_point *points, int64_t n)
{
    lookup->sites = ARENA_NEW(&lookup->arena, struct fit_site, n + 1);
    for (int64_t i = 0; i < n; i++) {
        struct fit_site *last = lookup->n_sites > 0 ? &lookup->sites[lookup->n_sites - 1] : NULL;
        if (last != NULL && fit_compare_sites(&last->points->op, &points[i].op) == 0)
            last->n++;
        else
            lookup->sites[lookup->n_sites++] = (struct fit_site){
                    .points = &points[i], .n = 1, .join = fit_usual_join(points[i].op.kind)};
    }
}

void lookup_close(struct lookup *lookup)
{
    if (lookup == NULL)
        return;
    memo_close(lookup->memo);
    imported_close(lookup->imported);
    arena_free(&lookup->arena);
    free(lookup);
}

bool lookup_has_ceilings(const struct lookup *lookup)
{
    return lookup->measured_roof || (lookup->device.flops > 0 && lookup->device.bytes_per_s > 0);
}

/* Products of 8-bit types have units of their own on many devices; attention computes in 16 bits whatever its cache is. */
static double device_flops(const struct lookup_device *device, const struct op *op)
{
    bool eight = op->dtype == DTYPE_F8 || op->dtype == DTYPE_F8_BLOCK || op->dtype == DTYPE_I8;
    bool product = op->kind == OP_GEMM || op->kind == OP_LM_HEAD || op->kind == OP_EXPERT_GEMM
                   || op->kind == OP_MOE;
    return eight && product && device->flops_f8 > 0 ? device->flops_f8 : device->flops;
}

/* Ceilings of a layout: as measured there, else of the profile, else of the device. */
static struct roof roof_of(const void *self, const struct op *op)
{
    const struct lookup *lookup = self;
    struct roof roof = {.degree = op->degree, .busy = op->busy};
    for (int r = 0; r < lookup->n_roofs; r++)
        if (lookup->roofs[r].degree == op->degree && lookup->roofs[r].busy == op->busy)
            roof = lookup->roofs[r];
    int32_t devices = op_is_collective(op->kind) || op->degree < 1 ? 1 : op->degree;
    const struct profile *profile = lookup->profile;
    if (roof.flop_per_us <= 0 && profile != NULL)
        roof.flop_per_us = profile->peak_flops * devices * 1e-6;
    if (roof.bytes_per_us <= 0 && profile != NULL)
        roof.bytes_per_us = profile->peak_bytes_per_s * devices * 1e-6;
    if (roof.flop_per_us <= 0)
        roof.flop_per_us = device_flops(&lookup->device, op) * devices * 1e-6;
    if (roof.bytes_per_us <= 0)
        roof.bytes_per_us = lookup->device.bytes_per_s * devices * 1e-6;
    const struct imported_ceilings imported = imported_ceilings(lookup->imported);
    if (roof.flop_per_us <= 0)
        roof.flop_per_us = imported.flops * devices * 1e-6;
    if (roof.bytes_per_us <= 0)
        roof.bytes_per_us = imported.bytes_per_s * devices * 1e-6;
    if (roof.flop_per_us <= 0)
        roof.flop_per_us = FALLBACK_FLOPS * devices * 1e-6;
    if (roof.bytes_per_us <= 0)
        roof.bytes_per_us = FALLBACK_BYTES_PER_S * devices * 1e-6;
    return roof;
}

struct lookup *lookup_open_device(
        const struct profile *profile, const struct lookup_device *device, struct err *err)
{
    struct lookup *lookup = calloc(1, sizeof *lookup);
    if (lookup == NULL) {
        err_set(err, ERR_ENV, "no memory for the index of the profile");
        return NULL;
    }
    lookup->profile = profile;
    if (device != NULL)
        lookup->device = *device;
    lookup->memo = memo_open(sizeof(struct cost), MEMO_MOST);
    if (profile != NULL && profile->n > 0) {
        int64_t n;
        const struct profile_point *points = sorted_points(lookup, &n);
        learn_roofs(lookup, points, n);
        learn_sites(lookup, points, n);
        lookup->imported = imported_open(profile);
        fit_widths_learn(&lookup->widths, lookup->sites, lookup->n_sites, roof_of, lookup);
        lookup->measured_roof = lookup->n_roofs > 0 || profile->peak_flops > 0
                                || imported_ceilings(lookup->imported).flops > 0;
    }
    return lookup;
}

struct lookup *lookup_open(const struct profile *profile, struct err *err)
{
    return lookup_open_device(profile, NULL, err);
}

double lookup_roof_us(const struct lookup *lookup, const struct op *op, bool *memory)
{
    struct roof roof = roof_of(lookup, op);
    double compute_us = op_flop(op) / roof.flop_per_us;
    double memory_us = op_bytes(op) / roof.bytes_per_us;
    if (memory != NULL)
        *memory = memory_us >= compute_us;
    return fmax(compute_us, memory_us);
}

/* From the sizes of a site, with the interval that its kind has earned. */
static struct cost site_cost(const struct lookup *lookup, const struct fit_site *site,
        const struct op *op, const struct roof *roof)
{
    struct cost cost = fit_site_cost(site, op, roof);
    if (cost.source == COST_INTERPOLATED || cost.source == COST_ESTIMATED)
        fit_widths_apply(&lookup->widths, &cost, op->kind);
    return cost;
}

static void widen(struct cost *cost, double by, enum cost_source source)
{
    cost->lo_us *= 1 - by;
    cost->hi_us *= 1 + by;
    cost->source = source;
}

/* First site not before the op's own. */
static int64_t site_at(const struct lookup *lookup, const struct op *op)
{
    int64_t lo = 0;
    int64_t hi = lookup->n_sites;
    while (lo < hi) {
        int64_t mid = lo + (hi - lo) / 2;
        if (fit_compare_sites(&lookup->sites[mid].points->op, op) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static const struct fit_site *find_site(const struct lookup *lookup, const struct op *op)
{
    int64_t at = site_at(lookup, op);
    if (at < lookup->n_sites && fit_compare_sites(&lookup->sites[at].points->op, op) == 0)
        return &lookup->sites[at];
    return NULL;
}

/* The same site where another number of ranks (busy) or threads (degree) was at work; nearest first. */
static const struct fit_site *find_similar(
        const struct lookup *lookup, const struct op *op, bool any_degree)
{
    const struct fit_site *best = NULL;
    double best_distance = HUGE_VAL;
    for (int64_t i = 0; i < lookup->n_sites; i++) {
        const struct op *at = &lookup->sites[i].points->op;
        struct op like = *op;
        like.busy = at->busy;
        if (any_degree) {
            like.degree = at->degree;
            like.nodes = op->nodes > 0 && at->nodes > 0 ? at->nodes : op->nodes;
        }
        if (at->kind != op->kind || fit_compare_sites(at, &like) != 0)
            continue;
        double distance = fabs(log((at->busy + 0.1) / (op->busy + 0.1)))
                          + 10 * fabs(log((at->degree + 0.1) / (op->degree + 0.1)));
        if (distance < best_distance) {
            best = &lookup->sites[i];
            best_distance = distance;
        }
    }
    return best;
}

/* Sites of other dimensions in the same layout, by distance; the op's utilisation is their mean. */
static bool from_neighbours(struct cost *out, struct lookup *lookup, const struct op *op)
{
    double weight_sum = 0;
    double log_us = 0;
    double lo = 0;
    double hi = 0;
    double sd = 0;
    const struct roof roof = roof_of(lookup, op);
    for (int64_t i = 0; i < lookup->n_sites; i++) {
        const struct op *at = &lookup->sites[i].points->op;
        if (at->kind != op->kind || at->dtype != op->dtype || at->degree != op->degree
                || at->busy != op->busy || at->nodes != op->nodes)
            continue;
        double distance = fit_distance(at, op);
        if (distance > 4) /* four powers of two away says nothing */
            continue;
        struct op there = fit_move(op, at);
        struct cost cost = site_cost(lookup, &lookup->sites[i], &there, &roof);
        double ratio = fit_roof_us(op, &roof) / fit_roof_us(&there, &roof);
        double weight = 1 / (0.01 + distance * distance * distance * distance);
        weight_sum += weight;
        log_us += weight * log(fmax(cost.us * ratio, 1e-6));
        lo += weight * cost.lo_us / cost.us;
        hi += weight * cost.hi_us / cost.us;
        sd += weight * cost.sd_frac;
    }
    if (weight_sum <= 0)
        return false;
    out->us = exp(log_us / weight_sum);
    out->lo_us = out->us * lo / weight_sum;
    out->hi_us = out->us * hi / weight_sum;
    out->sd_frac = sd / weight_sum;
    widen(out, WIDEN_NEIGHBOURS, COST_INTERPOLATED);
    return true;
}

static struct cost from_roofline(const struct lookup *lookup, const struct op *op)
{
    struct cost cost = {0};
    if (op_is_collective(op->kind)) {
        const struct lookup_device *device = &lookup->device;
        double rate = op->nodes > 0 ? device->between_bytes_per_s : device->link_bytes_per_s;
        if (rate <= 0)
            rate = roof_of(lookup, op).bytes_per_us * 1e6 / 4; /* in and out of memory, twice */
        double start_us = op->nodes > 0 ? device->between_us : device->link_us;
        if (start_us <= 0)
            start_us = op->nodes > 0 ? 50 : 5;
        double rounds = fmax(1, ceil(log2(fmax(2, op->degree))));
        cost.us = start_us * rounds + op_exchange_bytes(op) * op_bus_share(op) / rate * 1e6;
    } else {
        cost.us = imported_ceilings(lookup->imported).launch_us
                  + lookup_roof_us(lookup, op, NULL) / TYPICAL_UTILISATION;
    }
    cost.lo_us = cost.hi_us = cost.us;
    widen(&cost, WIDEN_ROOFLINE, COST_ESTIMATED);
    return cost;
}

/* Another degree of the same site: compute scales with the threads, a collective is taken as it is. */
static bool from_other_degree(struct cost *out, const struct lookup *lookup, const struct op *op)
{
    const struct fit_site *site = find_similar(lookup, op, true);
    if (site == NULL)
        return false;
    struct op like = *op;
    like.degree = site->points->op.degree;
    like.busy = site->points->op.busy;
    like.nodes = site->points->op.nodes;
    const struct roof there = roof_of(lookup, &like);
    *out = site_cost(lookup, site, &like, &there);
    double scale = 1;
    if (!op_is_collective(op->kind))
        scale = lookup_roof_us(lookup, op, NULL) / fmax(1e-9, fit_roof_us(&like, &there));
    out->us *= scale;
    out->lo_us *= scale;
    out->hi_us *= scale;
    widen(out, WIDEN_OTHER_DEGREE, COST_ESTIMATED);
    return true;
}

static struct cost find_cost(struct lookup *lookup, const struct op *op)
{
    struct cost cost = {0};
    const struct fit_site *site = find_site(lookup, op);
    const struct roof roof = roof_of(lookup, op);
    struct op alone = *op; /* imports: what others on the host do does not matter */
    alone.busy = 0;
    if (site == NULL && op->busy != 0)
        site = find_site(lookup, &alone);
    if (site != NULL)
        return site_cost(lookup, site, site->points->op.busy == 0 ? &alone : op, &roof);
    site = find_similar(lookup, op, false);
    if (site != NULL) {
        struct op like = *op;
        like.busy = site->points->op.busy;
        cost = site_cost(lookup, site, &like, &roof);
        widen(&cost, WIDEN_OTHER_BUSY, COST_ESTIMATED);
        return cost;
    }
    if (from_neighbours(&cost, lookup, op) || from_other_degree(&cost, lookup, op))
        return cost;
    return from_roofline(lookup, op);
}

struct cost lookup_cost(struct lookup *lookup, const struct op *op)
{
    if (op->dim[0] <= 0)
        return (struct cost){.source = COST_MEASURED}; /* nothing to do takes no time */
    struct cost imported;                              /* had as quickly as remembered */
    if (lookup->imported != NULL && find_site(lookup, op) == NULL
            && imported_cost(&imported, lookup->imported, op))
        return imported;
    struct memo_key key = {{(int64_t)op->kind << 48 | (int64_t)op->nodes << 8 | (int64_t)op->dtype,
            (int64_t)op->degree << 32 | (uint32_t)op->busy, op->dim[0], op->dim[1], op->dim[2],
            op->dim[3], op->dim[4], op->dim[5], op->dim[6], op->dim[7]}};
    const struct cost *known = memo_find(lookup->memo, &key);
    if (known != NULL)
        return *known;
    struct cost cost = find_cost(lookup, op);
    *(struct cost *)memo_add(lookup->memo, &key) = cost;
    return cost;
}

bool lookup_has_imported(const struct lookup *lookup, enum op_kind kind)
{
    return imported_have(lookup->imported, kind);
}

int64_t lookup_left_out(struct left_out **out, const struct lookup *lookup, struct arena *arena)
{
    int64_t room = 0;
    int64_t n = 0;
    for (int64_t s = 0; s < lookup->n_sites; s++)
        room += lookup->sites[s].n;
    *out = ARENA_NEW(arena, struct left_out, room + 1);
    for (int64_t s = 0; s < lookup->n_sites; s++) {
        const struct roof roof = roof_of(lookup, &lookup->sites[s].points->op);
        n += fit_left_out(*out + n, &lookup->sites[s], &roof);
    }
    return n;
}
