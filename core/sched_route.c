/* Replicas of one speed differ in their clocks alone: a heap for each speed, and the tops are compared. */
#include "core/sched_route.h"

#include <math.h>
#include <stdlib.h>

struct class
{
    double speed;
    int *heap; /* replicas: the first is done first */
    int n;
};

struct router {
    struct arena arena;
    struct class *classes;
    int n_classes;
    int *replicas;   /* the heaps */
    double *free_ns; /* by replica: when it will have worked off everything */
    bool timeless;
};

static bool sooner(const struct router *router, int a, int b)
{
    return router->free_ns[a] != router->free_ns[b] ? router->free_ns[a] < router->free_ns[b]
                                                    : a < b;
}

static int by_speed(const void *a, const void *b)
{
    const double *x = a;
    const double *y = b;
    return (*x > *y) - (*x < *y);
}

struct router *router_open(const double *speed, int n)
{
    struct arena arena = {0};
    struct router *router = ARENA_NEW(&arena, struct router, 1);
    router->timeless = true;
    for (int r = 0; r < n; r++)
        router->timeless = router->timeless && !(speed[r] > 0);
    router->classes = ARENA_NEW(&arena, struct class, n);
    router->replicas = ARENA_NEW(&arena, int, n);
    router->free_ns = ARENA_NEW(&arena, double, n);
    double *sorted = ARENA_NEW(&arena, double, n);
    for (int r = 0; r < n; r++)
        sorted[r] = router->timeless ? 1 : fmax(speed[r], 1e-30);
    qsort(sorted, (size_t)n, sizeof *sorted, by_speed);
    for (int r = 0; r < n; r++)
        if (r == 0 || sorted[r] != sorted[r - 1])
            router->classes[router->n_classes++].speed = sorted[r];
    int at = 0;
    for (int c = 0; c < router->n_classes; c++) {
        struct class *class = &router->classes[c];
        class->heap = router->replicas + at;
        for (int r = 0; r < n; r++) /* ascending: that is a heap */
            if ((router->timeless ? 1 : fmax(speed[r], 1e-30)) == class->speed)
                class->heap[class->n++] = r;
        at += class->n;
    }
    router->arena = arena;
    return router;
}

void router_close(struct router *router)
{
    if (router == NULL)
        return;
    struct arena arena = router->arena; /* the router itself lies in it */
    arena_free(&arena);
}

/* The clock of the first replica went on: puts it where it belongs. */
static void sink(struct router *router, struct class *class)
{
    int moved = class->heap[0];
    int at = 0;
    for (;;) {
        int child = 2 * at + 1;
        if (child + 1 < class->n && sooner(router, class->heap[child + 1], class->heap[child]))
            child++;
        if (child >= class->n || !sooner(router, class->heap[child], moved))
            break;
        class->heap[at] = class->heap[child];
        at = child;
    }
    class->heap[at] = moved;
}

int router_pick(struct router *router, int64_t now_ns, double work)
{
    struct class *best = &router->classes[0];
    double best_ns = HUGE_VAL;
    for (int c = 0; c < router->n_classes; c++) {
        struct class *class = &router->classes[c];
        double free_ns = router->free_ns[class->heap[0]];
        double start_ns = router->timeless ? free_ns : fmax(free_ns, (double)now_ns);
        double done_ns = start_ns + work / class->speed;
        if (done_ns < best_ns
                || (done_ns == best_ns && sooner(router, class->heap[0], best->heap[0]))) {
            best = class;
            best_ns = done_ns;
        }
    }
    int replica = best->heap[0];
    router->free_ns[replica] = best_ns;
    sink(router, best);
    return replica;
}

double route_speed(const struct plan_replica *replica)
{
    double sum_us = 0;
    double most_us = 0;
    for (int s = 0; s < replica->n_stages; s++) {
        double us = replica->stages[s].step_us;
        if (!(us > 0))
            return 0;
        sum_us += us;
        most_us = fmax(most_us, us);
    }
    int tokens = replica->role == ROLE_PREFILL ? replica->max_tokens : replica->max_seqs;
    return tokens / (fmax(most_us, sum_us / replica->in_flight) * 1e3);
}

/* The replicas that take what is to be routed, and who of them is next. */
struct takers {
    int *replicas;
    struct router *router;
    int n;
};

bool route_speeds(double *speed, const struct plan *plan)
{
    bool told = true;
    bool known[2] = {true, true}; /* [1]: of those that decode */
    for (int r = 0; r < plan->n_replicas; r++)
        told = told
               && (plan->replicas[r].role == ROLE_DECODE || plan->replicas[r].requests_per_s > 0);
    for (int r = 0; r < plan->n_replicas; r++) {
        const struct plan_replica *replica = &plan->replicas[r];
        bool decode = replica->role == ROLE_DECODE;
        speed[r] = told && !decode ? replica->requests_per_s : route_speed(replica);
        known[decode] = known[decode] && speed[r] > 0;
    }
    for (int r = 0; r < plan->n_replicas; r++)
        if (!known[plan->replicas[r].role == ROLE_DECODE])
            speed[r] = 0;
    return told;
}

/* work: of a mean request, for replicas that say how many requests they take. */
static void takers_open(
        struct takers *t, const struct plan *plan, bool decode, double work, struct arena *arena)
{
    double *speed = ARENA_NEW(arena, double, plan->n_replicas);
    double unit = route_speeds(speed, plan) && !decode ? work * 1e-9 : 1;
    *t = (struct takers){.replicas = ARENA_NEW(arena, int, plan->n_replicas)};
    for (int r = 0; r < plan->n_replicas; r++) {
        if ((plan->replicas[r].role == ROLE_DECODE) != decode)
            continue;
        t->replicas[t->n] = r;
        speed[t->n++] = speed[r] * unit;
    }
    t->router = router_open(speed, t->n);
}

static int takers_pick(struct takers *t, const struct request *request, int64_t work)
{
    return t->replicas[router_pick(t->router, request->arrival_ns, (double)work)];
}

void route_outputs(
        int *out, const struct requests *requests, const struct plan *plan, const int *route)
{
    struct arena arena = {0};
    struct takers takers;
    takers_open(&takers, plan, true, 0, &arena);
    for (int64_t i = 0; i < requests->n; i++) {
        const struct request *request = &requests->items[i];
        bool goes_on = plan->replicas[route[i]].role == ROLE_PREFILL && request->output_len > 1;
        out[i] = goes_on && takers.n > 0 ? takers_pick(&takers, request, request->output_len) : -1;
    }
    router_close(takers.router);
    arena_free(&arena);
}

static int64_t work_of(const struct request *request, bool separate)
{
    return request->prompt_len + (separate ? 0 : request->output_len);
}

void route_requests(int *out, const struct requests *requests, const struct plan *plan)
{
    struct arena arena = {0};
    struct takers takers;
    bool separate = false;
    for (int r = 0; r < plan->n_replicas; r++)
        separate = separate || plan->replicas[r].role == ROLE_PREFILL;
    double work = 0;
    for (int64_t i = 0; i < requests->n; i++)
        work += (double)work_of(&requests->items[i], separate) / (double)requests->n;
    takers_open(&takers, plan, false, work, &arena);
    for (int64_t i = 0; i < requests->n; i++) {
        const struct request *request = &requests->items[i];
        out[i] = takers.n == 0 ? 0 : takers_pick(&takers, request, work_of(request, separate));
    }
    router_close(takers.router);
    arena_free(&arena);
}
