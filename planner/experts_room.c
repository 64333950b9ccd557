/*
 * Lower bounds that need no program (docs/ilp.md, X2 to X4): the mean, the largest share that the spare
 * slots leave, and the slots that devices with a large share cannot fill. The last decides where slots are
 * scarce: a device whose largest share leaves room for two small experts has two slots less than it seems.
 */
#include <math.h>
#include <stdlib.h>

#include "planner/experts_state.h"

struct room {
    const struct experts_problem *problem;
    int most;
    double *small; /* n_experts: the least that a share of each may weigh, ascending; scratch */
};

struct prices {
    double toll, rate;
};

static int by_value(const void *a, const void *b)
{
    const double *x = a;
    const double *y = b;
    return (*x > *y) - (*x < *y);
}

static int least_replicas(const struct room *room, int expert, double cap)
{
    return (int)fmax(1, ceil(room->problem->load[expert] / cap * (1 - 1e-12)));
}

/* Most replicas whose shares are reckoned with: one where a spare replica is reckoned to weigh nothing
 * (contradiction), which is right only for what is small with one. */
static int most_copies(const struct room *room, int expert, double cap, int spare)
{
    int first = least_replicas(room, expert, cap);
    return first == 1 && room->problem->load[expert] <= cap / 2 ? 1 : first + spare;
}

/* Shares that can lie beside one that takes more than half of the cap. */
static int fit_beside(const struct room *room, double share, double cap)
{
    double left = cap * (1 + 1e-12) - share;
    int most = room->problem->slots - 1;
    int n = 0;
    for (; n < most && n < room->problem->n_experts && room->small[n] <= left; n++)
        left -= room->small[n];
    return n;
}

/* Slots that the experts take in the least, when a replica costs `toll` besides; rate > 0 counts what lies
 * beside large shares by the load that is left there. replicas: the numbers that do it, or NULL. */
static double least_slots(
        const struct room *room, double cap, int spare, struct prices prices, int *replicas)
{
    const struct experts_problem *p = room->problem;
    double sum = 0;
    for (int e = 0; e < p->n_experts; e++) {
        int first = least_replicas(room, e, cap);
        double least = HUGE_VAL;
        for (int r = first; r <= first + spare && r <= p->n_devices; r++) {
            double share = p->load[e] / r;
            double beside = p->slots - 1;
            if (share > cap / 2)
                beside = fit_beside(room, share, cap);
            if (share > cap / 2 && prices.rate > 0)
                beside = fmin(beside, prices.rate * (cap - share) * (1 + 1e-12));
            double slots = r * (p->slots - beside + prices.toll);
            if (slots < least && replicas != NULL)
                replicas[e] = r;
            least = fmin(least, slots);
            if (share <= cap / 2)
                break; /* more replicas only cost more */
        }
        sum += least;
    }
    return sum;
}

/* The most that lies beside large shares besides rate times the load left there: every share once. */
static double pool(const struct room *room, double cap, int spare, double rate)
{
    const struct experts_problem *p = room->problem;
    double sum = 0;
    for (int e = 0; e < p->n_experts; e++) {
        int copies = most_copies(room, e, cap, spare);
        sum += copies * fmax(0, 1 - rate * p->load[e] / copies);
    }
    return sum;
}

static const double tolls[] = {0, 0.25, 0.5, 1, 1.5, 2, 3, 4, 6, 8, 16};
#define N_RATES 16 /* one over the load of every sixteenth expert */
#define N_TOLLS ((int)(sizeof tolls / sizeof tolls[0]))

/* Replicas left when every expert has the least, and the small shares of that; negative: not even those fit. */
static int64_t survey(struct room *room, double cap)
{
    const struct experts_problem *p = room->problem;
    int64_t spare = room->most;
    for (int e = 0; e < p->n_experts; e++)
        spare -= least_replicas(room, e, cap);
    if (spare < 0)
        return spare;
    for (int e = 0; e < p->n_experts; e++)
        room->small[e] = p->load[e] / most_copies(room, e, cap, (int)spare);
    qsort(room->small, (size_t)p->n_experts, sizeof *room->small, by_value);
    return spare;
}

/* X4 for one toll and rate. A small expert with r > 1 replicas has smaller shares than room->small says: they are
 * taken to weigh nothing, so that each makes a slot more of use. That costs r - 1 of the spare replicas and
 * gains 1 + toll - r toll, which is at most 1 - toll for each of them. */
static bool contradiction(const struct room *room, double cap, int spare, struct prices prices)
{
    const struct experts_problem *p = room->problem;
    double slots = (double)p->n_devices * p->slots + fmax(0, 1 - prices.toll) * spare
                   + prices.toll * room->most;
    if (prices.rate > 0)
        slots += pool(room, cap, spare, prices.rate);
    return least_slots(room, cap, spare, prices, NULL) > slots * (1 + 1e-12);
}

/* Proven: no placement has a fullest device of `cap` or less (X4). */
static bool too_small(struct room *room, double cap)
{
    int n = room->problem->n_experts;
    int64_t spare = survey(room, cap);
    if (spare < 0)
        return true;
    for (int i = 0; i < N_TOLLS; i++) {
        struct prices prices = {.toll = tolls[i]};
        if (contradiction(room, cap, (int)spare, prices))
            return true;
        for (int k = 1; k < N_RATES; k++) {
            double load = room->small[(int64_t)n * k / N_RATES];
            prices.rate = load > 0 ? 1 / load : 0;
            if (contradiction(room, cap, (int)spare, prices))
                return true;
        }
    }
    return false;
}

void experts_simple_bound(struct experts_bound *bound, const struct experts_problem *p, int most,
        double found, struct arena *arena)
{
    struct room room = {p, most, ARENA_NEW(arena, double, p->n_experts)};
    int *replicas = ARENA_NEW(arena, int, p->n_experts);
    double sum = 0;
    double largest = 0;
    bool spread = experts_replicate(p, HUGE_VAL, most, replicas);
    for (int e = 0; e < p->n_experts; e++) {
        sum += p->load[e];
        largest = fmax(largest, spread ? p->load[e] / replicas[e] : 0);
    }
    bound->value = sum / p->n_devices;
    bound->proof = "the mean load of a device";
    if (largest > bound->value) {
        bound->value = largest;
        bound->proof = "the largest share that the spare slots leave";
    }
    double lo = bound->value;
    double hi = found;
    for (int i = 0; i < 30 && hi - lo > 1e-6 * hi; i++) {
        double cap = (lo + hi) / 2;
        if (!too_small(&room, cap)) {
            hi = cap;
            continue;
        }
        lo = cap;
        bound->value = cap;
        bound->proof = "the slots that large shares leave unused";
    }
}

bool experts_room_replicas(const struct experts_problem *p, int most, double cap, int which,
        int *replicas, struct arena *arena)
{
    struct room room = {p, most, ARENA_NEW(arena, double, p->n_experts)};
    int64_t spare = survey(&room, cap);
    if (spare < 0 || which >= N_TOLLS)
        return false;
    least_slots(&room, cap, (int)spare, (struct prices){.toll = tolls[which]}, replicas);
    int64_t sum = 0;
    for (int e = 0; e < p->n_experts; e++)
        sum += replicas[e];
    return sum <= most;
}
