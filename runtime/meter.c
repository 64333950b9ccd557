#include "runtime/meter.h"

#include <stdlib.h>
#include <string.h>

enum {
    USES = 1 << 14 /* shapes; a decode has one for each batch size and mean length */
};

bool meter_open(struct meter *meter, int64_t steps, struct err *err)
{
    *meter = (struct meter){.cap_uses = USES, .cap_steps = steps};
    meter->uses = calloc(USES, sizeof *meter->uses);
    meter->steps = calloc((size_t)steps + 1, sizeof *meter->steps);
    if (meter->uses && meter->steps)
        return true;
    meter_close(meter);
    return err_set(err, ERR_ENV, "not enough memory to record %lld steps", (long long)steps);
}

void meter_close(struct meter *meter)
{
    free(meter->uses);
    free(meter->steps);
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
            .mark_ns = clock_now_ns()};
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
