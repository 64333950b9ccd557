#include "runtime/meter.h"

#include <stdlib.h>
#include <string.h>

enum {
    USES = 1 << 14 /* shapes; a decode has one for each batch size and mean length */
};

/* Pages are touched here, so that no step pays for first use and memory stays flat. One byte of each, behind the
 * compiler's back: it makes calloc, which touches nothing, of malloc and memset. */
static void *touched(int64_t n, size_t each)
{
    const size_t page = 4096;
    size_t bytes = (size_t)(n + 1) * each;
    void *memory = calloc(1, bytes);
    volatile char *byte = memory;

    for (size_t at = 0; memory && at < bytes; at += page)
        byte[at] = 0;
    return memory;
}

/* The median of a few rounds: the machine may look away during one. */
static double measure_cost(struct meter *meter)
{
    enum {
        ROUNDS = 5,
        OPS = 1000
    };
    const struct op op = {.kind = OP_RMSNORM, .degree = 1, .busy = 1, .dim = {1, 1}};
    double ns[ROUNDS];

    for (int r = 0; r < ROUNDS; r++) {
        int64_t began = clock_now_ns();
        int at = r;

        for (int i = 0; i < OPS; i++)
            meter_op(meter, &op);
        double took = (double)(clock_now_ns() - began) / OPS;
        for (; at > 0 && ns[at - 1] > took; at--)
            ns[at] = ns[at - 1];
        ns[at] = took;
    }
    return ns[ROUNDS / 2];
}

bool meter_open(struct meter *meter, int64_t steps, int64_t events, struct err *err)
{
    *meter = (struct meter){.cap_uses = USES, .cap_steps = steps, .cap_events = events};
    meter->uses = touched(USES, sizeof *meter->uses);
    meter->steps = touched(steps, sizeof *meter->steps);
    if (events > 0)
        meter->events = touched(events, sizeof *meter->events);
    if (!meter->uses || !meter->steps || (events > 0 && !meter->events)) {
        meter_close(meter);
        return err_set(err, ERR_ENV, "not enough memory to record %lld steps and %lld events",
                (long long)steps, (long long)events);
    }
    meter_mark(meter);
    meter->op_cost_ns = measure_cost(meter);
    meter_reset(meter);
    return true;
}

void meter_close(struct meter *meter)
{
    free(meter->uses);
    free(meter->steps);
    free(meter->events);
    *meter = (struct meter){0};
}

void meter_reset(struct meter *meter)
{
    struct meter kept = *meter;

    memset(meter->uses, 0, sizeof *meter->uses * (size_t)meter->cap_uses);
    *meter = (struct meter){.uses = kept.uses,
            .cap_uses = kept.cap_uses,
            .steps = kept.steps,
            .cap_steps = kept.cap_steps,
            .events = kept.events,
            .cap_events = kept.cap_events,
            .op_cost_ns = kept.op_cost_ns,
            .mark_ns = clock_now_ns()};
}

int64_t meter_own_ns(const struct meter *meter)
{
    int64_t n = 0;

    for (int kind = 0; kind < OP_KIND_COUNT; kind++)
        n += meter->kind_count[kind];
    return (int64_t)((double)n * meter->op_cost_ns);
}

void meter_mark(struct meter *meter)
{
    meter->mark_ns = clock_now_ns();
}

static uint64_t hash_op(const struct op *op)
{
    uint64_t h = (uint64_t)op->kind * 31 + (uint64_t)op->dtype;

    h = h * 1000003 + (uint64_t)op->degree * 64 + (uint64_t)op->busy;
    h = h * 1000003 + (uint64_t)op->nodes;
    for (int i = 0; i < OP_DIMS; i++)
        h = (h ^ (h >> 29)) * 0x9e3779b97f4a7c15u + (uint64_t)op->dim[i];
    return h ^ (h >> 32);
}

static struct meter_use *find_use(struct meter *meter, const struct op *op)
{
    uint64_t mask = (uint64_t)meter->cap_uses - 1;

    for (uint64_t at = hash_op(op) & mask;; at = (at + 1) & mask) {
        struct meter_use *use = &meter->uses[at];

        if (use->count > 0 && op_compare(&use->op, op) == 0)
            return use;
        if (use->count > 0)
            continue;
        if (meter->n_uses >= meter->cap_uses / 4 * 3)
            return NULL;
        meter->n_uses++;
        use->op = *op;
        return use;
    }
}

void meter_op(struct meter *meter, const struct op *op)
{
    int64_t now = clock_now_ns(), took = now - meter->mark_ns;
    struct meter_use *use = find_use(meter, op);

    if (meter->events) {
        if (meter->n_events < meter->cap_events)
            meter->events[meter->n_events] =
                    (struct run_event){.start_ns = meter->mark_ns - meter->start_ns,
                            .took_ns = took,
                            .kind = (int32_t)op->kind,
                            .step = (int32_t)meter->n_steps};
        meter->n_events++;
    }
    meter->mark_ns = now;
    meter->kind_ns[op->kind] += took;
    meter->kind_count[op->kind]++;
    if (use) {
        use->ns += took;
        use->count++;
    } else {
        meter->lost_ns[op->kind] += took;
        meter->lost_count[op->kind]++;
    }
}

void meter_step(struct meter *meter, const struct run_step *step)
{
    if (meter->n_steps < meter->cap_steps)
        meter->steps[meter->n_steps] = *step;
    meter->n_steps++;
    meter->busy_ns += step->busy_ns;
    meter->wait_ns += step->wait_ns;
}

static int compare_uses(const void *a, const void *b)
{
    const struct meter_use *left = a, *right = b;

    return op_compare(&left->op, &right->op);
}

void meter_finish(struct meter *meter)
{
    int64_t n = 0;

    for (int64_t i = 0; i < meter->cap_uses; i++)
        if (meter->uses[i].count > 0)
            meter->uses[n++] = meter->uses[i];
    meter->n_uses = n;
    qsort(meter->uses, (size_t)n, sizeof *meter->uses, compare_uses);
}
