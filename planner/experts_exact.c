/*
 * The optimum where all patterns can be written down (docs/ilp.md, X5 to X9): bisection over the loads
 * that patterns have. For each, one program asks whether the patterns of at most this load are enough.
 * Devices are alike, so a pattern is a column with a count and nothing is symmetric.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "planner/experts_state.h"
#include "planner/ilp.h"

#define MOST_PATTERNS 4000

struct share {
    int expert, replicas;
    double load;
};

/* What one device holds: indices of shares. */
struct content {
    int *shares;
    int n;
    double load;
};

struct exact {
    struct experts_state *s;
    struct arena *arena;
    struct share *shares;
    int n_shares;
    struct content *contents;
    int n_contents;
    int *now; /* the content being written down */
    bool too_many;
};

static int by_load(const void *a, const void *b)
{
    const struct content *x = a;
    const struct content *y = b;
    return (x->load > y->load) - (x->load < y->load);
}

/* Every content that begins with the n shares of now; shares are in the order of their experts. */
static void enumerate(struct exact *x, int n, int next, double load, double below)
{
    for (int i = next; i < x->n_shares && !x->too_many; i++) {
        const struct share *share = &x->shares[i];
        if ((n > 0 && x->shares[x->now[n - 1]].expert == share->expert)
                || load + share->load >= below)
            continue;
        x->too_many = x->n_contents == MOST_PATTERNS;
        if (x->too_many)
            return;
        x->now[n] = i;
        struct content *content = &x->contents[x->n_contents++];
        content->shares = ARENA_NEW(x->arena, int, n + 1);
        memcpy(content->shares, x->now, sizeof(int) * (size_t)(n + 1));
        content->n = n + 1;
        content->load = load + share->load;
        if (n + 1 < x->s->problem->slots)
            enumerate(x, n + 1, i + 1, content->load, below);
    }
}

static void find_shares(struct exact *x, double below)
{
    const struct experts_problem *p = x->s->problem;
    int last = x->s->most - (p->n_experts - 1);
    last = last < p->n_devices ? last : p->n_devices;
    x->shares = ARENA_NEW(x->arena, struct share, (int64_t)p->n_experts * last);
    for (int e = 0; e < p->n_experts; e++)
        for (int r = 1; r <= last; r++)
            if (p->load[e] / r < below)
                x->shares[x->n_shares++] = (struct share){e, r, p->load[e] / r};
}

/* Contents hold what the counts of replicas say: X8 and X9. A count r is told by steps, "at least 2, at least
 * 3, ...": the solver then branches on few or many, not on this count or any other. */
static void add_counts(struct ilp *ilp, const struct exact *x, int first_share)
{
    int step = -1; /* of the share before: the column "at least r" */
    for (int i = 0; i < x->n_shares; i++) {
        const struct share *share = &x->shares[i];
        bool first = i == 0 || x->shares[i - 1].expert != share->expert;
        const char *name = arena_printf(x->arena, "atleast_%d_%d", share->expert, share->replicas);
        int col = ilp_add_col(
                ilp, &(struct ilp_col){.name = name, .lo = first, .hi = 1, .integer = true});
        ilp_add_term(ilp, first_share + i, col, -share->replicas);
        if (!first) {
            ilp_add_term(ilp, first_share + i - 1, col, x->shares[i - 1].replicas);
            int row = ilp_add_row(ilp, arena_printf(x->arena, "order_%d", col), 0, HUGE_VAL);
            ilp_add_term(ilp, row, step, 1);
            ilp_add_term(ilp, row, col, -1);
        }
        step = col;
    }
}

/* The program over the first n contents: X5 to X9. Column c < n is the count of content c. */
static void build(struct ilp *ilp, const struct exact *x, int n)
{
    const struct experts_problem *p = x->s->problem;
    ilp_init(ilp, "experts_exact", x->arena);
    for (int c = 0; c < n; c++)
        ilp_add_col(ilp, &(struct ilp_col){.name = arena_printf(x->arena, "content_%d", c),
                                 .hi = p->n_devices,
                                 .integer = true});
    int devices = ilp_add_row(ilp, "devices", -HUGE_VAL, p->n_devices);
    int slots = ilp_add_row(ilp, "slots", -HUGE_VAL, x->s->most);
    int first_share = ilp->n_rows;
    for (int i = 0; i < x->n_shares; i++)
        ilp_add_row(ilp,
                arena_printf(x->arena, "held_%d_%d", x->shares[i].expert, x->shares[i].replicas), 0,
                0);
    add_counts(ilp, x, first_share);
    for (int c = 0; c < n; c++) {
        ilp_add_term(ilp, devices, c, 1);
        ilp_add_term(ilp, slots, c, x->contents[c].n);
        for (int i = 0; i < x->contents[c].n; i++)
            ilp_add_term(ilp, first_share + x->contents[c].shares[i], c, 1);
    }
}

static void take_solution(struct exact *x, const double *counts, int n)
{
    const struct experts_problem *p = x->s->problem;
    int device = 0;
    experts_state_clear(x->s);
    for (int c = 0; c < n; c++)
        for (int k = (int)(counts[c] + 0.5); k > 0 && device < p->n_devices; k--, device++)
            for (int i = 0; i < x->contents[c].n; i++)
                experts_state_add(x->s, device, x->shares[x->contents[c].shares[i]].expert);
}

/* Contents of equal load enter together: ends[g] of them make groups 0 to g. */
static int find_groups(const struct exact *x, int *ends)
{
    int n = 0;
    for (int c = 1; c <= x->n_contents; c++)
        if (c == x->n_contents || x->contents[c].load > x->contents[c - 1].load * (1 + 1e-12))
            ends[n++] = c;
    return n;
}

/* The smallest group that is enough lies in [lo, hi]; hi = n_groups stands for the placement that is known. */
static bool bisect(
        struct exact *x, struct experts_bound *bound, int64_t deadline_ns, struct err *err)
{
    int *ends = ARENA_NEW(x->arena, int, x->n_contents);
    int n_groups = find_groups(x, ends);
    int lo = 0;
    int hi = n_groups;
    while (lo < hi && x->contents[ends[lo] - 1].load < bound->value * (1 - 1e-12))
        lo++;
    while (lo < hi && clock_now_ns() < deadline_ns) {
        int mid = lo + (hi - lo) / 2;
        struct ilp ilp;
        struct ilp_result result;
        struct ilp_limits limits = {.time_s = (double)(deadline_ns - clock_now_ns()) * 1e-9};
        build(&ilp, x, ends[mid]);
        if (!ilp_solve(&result, &ilp, &limits, x->arena, err))
            return false;
        bound->programs++;
        bound->nodes += result.nodes;
        if (result.status == ILP_UNKNOWN)
            break;
        if (result.status == ILP_INFEASIBLE) {
            lo = mid + 1;
        } else {
            take_solution(x, result.x, ends[mid]);
            hi = mid;
        }
    }
    double proven = lo == hi ? experts_state_max(x->s, NULL) : x->contents[ends[lo] - 1].load;
    if (proven > bound->value) {
        bound->value = proven;
        bound->proof = "all contents of a device in one integer program";
    }
    return true;
}

bool experts_exact(struct experts_state *s, struct experts_bound *bound, int64_t deadline_ns,
        struct arena *arena, struct err *err)
{
    struct exact x = {.s = s, .arena = arena};
    double below = experts_state_max(s, NULL) * (1 - 1e-9);
    x.contents = ARENA_NEW(arena, struct content, MOST_PATTERNS);
    x.now = ARENA_NEW(arena, int, s->problem->slots);
    find_shares(&x, below);
    enumerate(&x, 0, 0, 0, below);
    if (x.too_many || x.n_contents == 0)
        return true;
    qsort(x.contents, (size_t)x.n_contents, sizeof *x.contents, by_load);
    return bisect(&x, bound, deadline_ns, err);
}
