/*
 * Local search for X1. The fullest device is relieved by the step that leaves the smallest load among the
 * devices it touches; when no step helps, a few random swaps shake the placement and the descent starts
 * again. Steps: a share moves; two shares change places; an expert of the fullest device gets one more
 * replica in a free slot, or in the slot of an expert that can do with one less; the fullest device gives
 * up a share that its other holders take over.
 */
#include <math.h>

#include "core/clock.h"
#include "core/random.h"
#include "planner/experts_state.h"

enum step_kind {
    STEP_NONE,
    STEP_MOVE,
    STEP_SWAP,
    STEP_SPLIT,
    STEP_TAKE_OVER,
    STEP_GIVE_UP
};

struct step {
    enum step_kind kind;
    double value; /* the largest load among the devices it touches */
    int expert;   /* of the fullest device */
    int other;    /* expert that goes the other way */
    int device;   /* where to */
};

static bool holds(const struct experts_state *s, int device, int expert)
{
    return s->holds[device * s->problem->n_experts + expert];
}

static double share(const struct experts_state *s, int expert, int more)
{
    return s->problem->load[expert] / (s->replicas[expert] + more);
}

/* Copies that a step adds to those made against the current map. */
static int copies(const struct experts_state *s, int from, const struct step *step)
{
    int there = experts_copy(s, step->device, step->expert);
    int back = experts_copy(s, from, step->expert);
    switch (step->kind) {
    case STEP_MOVE:
        return there - back;
    case STEP_SWAP:
        return there - back + experts_copy(s, from, step->other)
               - experts_copy(s, step->device, step->other);
    case STEP_SPLIT:
        return there;
    case STEP_TAKE_OVER:
        return there - experts_copy(s, step->device, step->other);
    case STEP_GIVE_UP:
        return -back;
    case STEP_NONE:
        break;
    }
    return 0;
}

static void offer(struct step *best, const struct experts_state *s, int from, struct step step)
{
    if (step.value < best->value && s->moved + copies(s, from, &step) <= s->budget)
        *best = step;
}

/* The largest load of those who hold an expert besides `but` when their share grows by `more`. */
static double holders_max(const struct experts_state *s, int expert, int but, double more)
{
    double most = 0;
    for (int d = 0; d < s->problem->n_devices; d++)
        if (d != but && holds(s, d, expert))
            most = fmax(most, s->load[d] + more);
    return most;
}

/* e of the fullest device and what device b has. */
static void try_exchange(struct step *best, const struct experts_state *s, int from, int e, int b)
{
    const struct experts_problem *p = s->problem;
    double split = share(s, e, 1);
    double relief = share(s, e, 0) - split; /* of every holder when there is one more */
    double left = s->load[from] - relief;
    for (int i = 0; i < s->used[b]; i++) {
        int f = s->slot[b * p->slots + i];
        if (!holds(s, from, f)) {
            double swapped = share(s, e, 0) - share(s, f, 0);
            double value = fmax(s->load[from] - swapped, s->load[b] + swapped);
            offer(best, s, from, (struct step){STEP_SWAP, value, e, f, b});
        }
        if (s->replicas[f] < 2)
            continue;
        double grown = share(s, f, -1) - share(s, f, 0);
        double value =
                fmax(left + (holds(s, from, f) ? grown : 0), s->load[b] - share(s, f, 0) + split);
        if (value < best->value)
            offer(best, s, from,
                    (struct step){
                            STEP_TAKE_OVER, fmax(value, holders_max(s, f, b, grown)), e, f, b});
    }
}

static struct step best_step(const struct experts_state *s, int from)
{
    const struct experts_problem *p = s->problem;
    struct step best = {.value = s->load[from] * (1 - 1e-12)};
    for (int i = 0; i < s->used[from]; i++) {
        int e = s->slot[from * p->slots + i];
        double mine = share(s, e, 0);
        if (mine <= 0)
            continue;
        double split = share(s, e, 1);
        if (s->replicas[e] > 1) {
            double value = holders_max(s, e, from, share(s, e, -1) - mine);
            offer(&best, s, from,
                    (struct step){STEP_GIVE_UP, fmax(value, s->load[from] - mine), e, 0, 0});
        }
        for (int b = 0; b < p->n_devices; b++) {
            if (b == from || holds(s, b, e))
                continue;
            try_exchange(&best, s, from, e, b);
            if (s->used[b] == p->slots)
                continue;
            double value = fmax(s->load[from] - mine, s->load[b] + mine);
            offer(&best, s, from, (struct step){STEP_MOVE, value, e, 0, b});
            if (s->total < s->most) {
                value = fmax(s->load[from] - mine + split, s->load[b] + split);
                offer(&best, s, from, (struct step){STEP_SPLIT, value, e, 0, b});
            }
        }
    }
    return best;
}

static void take(struct experts_state *s, int from, const struct step *step)
{
    switch (step->kind) {
    case STEP_MOVE:
        experts_state_drop(s, from, step->expert);
        experts_state_add(s, step->device, step->expert);
        break;
    case STEP_SWAP:
        experts_state_drop(s, from, step->expert);
        experts_state_drop(s, step->device, step->other);
        experts_state_add(s, step->device, step->expert);
        experts_state_add(s, from, step->other);
        break;
    case STEP_SPLIT:
        experts_state_add(s, step->device, step->expert);
        break;
    case STEP_TAKE_OVER:
        experts_state_drop(s, step->device, step->other);
        experts_state_add(s, step->device, step->expert);
        break;
    case STEP_GIVE_UP:
        experts_state_drop(s, from, step->expert);
        break;
    case STEP_NONE:
        break;
    }
}

void experts_descend(struct experts_state *s)
{
    /* Every step lowers the sorted list of loads; the count only guards against rounding. */
    int64_t most = 64 * (int64_t)s->problem->n_devices * s->problem->slots;
    for (int64_t i = 0; i < most; i++) {
        int from;
        experts_state_max(s, &from);
        struct step step = best_step(s, from);
        if (step.kind == STEP_NONE)
            return;
        take(s, from, &step);
    }
}

/* Work that a search may take, in devices x slots x slots looked at: about two seconds, and the same
 * placement wherever the time limit does not come first. */
#define SHAKE_WORK  INT64_C(25000000)
#define MOST_SHAKES 20000

struct dice {
    uint64_t seed, n;
};

static int roll(struct dice *dice, int n)
{
    return (int)random_below(dice->seed, dice->n++, n);
}

/* Two devices change a share each, where that is legal. */
static void swap_at_random(struct experts_state *s, struct dice *dice, int a)
{
    const struct experts_problem *p = s->problem;
    int b = roll(dice, p->n_devices);
    if (a == b || s->used[a] == 0 || s->used[b] == 0)
        return;
    int e = s->slot[a * p->slots + roll(dice, s->used[a])];
    int f = s->slot[b * p->slots + roll(dice, s->used[b])];
    if (e == f || holds(s, a, f) || holds(s, b, e))
        return;
    struct step swap = {STEP_SWAP, 0, e, f, b};
    if (s->moved + copies(s, a, &swap) <= s->budget)
        take(s, a, &swap);
}

/* One replica goes from one expert to another, chosen at random. */
static void shift_replica(struct experts_state *s, struct dice *dice)
{
    const struct experts_problem *p = s->problem;
    int d = roll(dice, p->n_devices);
    if (s->used[d] == 0)
        return;
    int f = s->slot[d * p->slots + roll(dice, s->used[d])];
    int from;
    experts_state_max(s, &from);
    if (from == d || s->used[from] == 0)
        return;
    int e = s->slot[from * p->slots + roll(dice, s->used[from])];
    if (s->replicas[f] < 2 || e == f || holds(s, d, e))
        return;
    struct step step = {STEP_TAKE_OVER, 0, e, f, d};
    if (s->moved + copies(s, from, &step) <= s->budget)
        take(s, from, &step);
}

void experts_shake(struct experts_state *s, double enough, int64_t deadline_ns, struct arena *arena)
{
    struct experts_state now;
    struct experts_state next;
    struct dice dice = {.seed = 1};
    experts_state_init(&now, s->problem, arena);
    experts_state_init(&next, s->problem, arena);
    experts_descend(s);
    experts_state_copy(&now, s);
    double best = experts_state_max(s, NULL);
    const struct experts_problem *p = s->problem;
    int64_t rounds = SHAKE_WORK / ((int64_t)p->n_devices * p->slots * p->slots);
    rounds = rounds < MOST_SHAKES ? rounds : MOST_SHAKES;
    for (; rounds > 0 && best > enough && clock_now_ns() < deadline_ns; rounds--) {
        experts_state_copy(&next, &now);
        int fullest;
        experts_state_max(&next, &fullest);
        swap_at_random(&next, &dice, fullest);
        for (int n = 1 + roll(&dice, 3); n > 0; n--)
            swap_at_random(&next, &dice, roll(&dice, p->n_devices));
        if (roll(&dice, 4) == 0)
            shift_replica(&next, &dice);
        experts_descend(&next);
        double value = experts_state_max(&next, NULL);
        if (value > experts_state_max(&now, NULL) * (1 + 1e-4))
            continue;
        experts_state_copy(&now, &next);
        if (value < best) {
            best = value;
            experts_state_copy(s, &next);
        }
    }
}
