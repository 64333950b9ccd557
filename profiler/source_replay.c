/*
 * Hands out recorded samples in the order they were taken, in rounds as large as asked for.
 */
#include <stdlib.h>
#include <string.h>

#include "profiler/record.h"
#include "profiler/source.h"

struct replay {
    struct recorded *ops;
    int64_t n;
    const struct recorded *now;
    int next;
};

static int by_op(const void *a, const void *b)
{
    const struct recorded *x = a, *y = b;
    return op_compare(&x->op, &y->op);
}

static enum source_answer replay_begin(void *self, const struct op *op, struct err *err)
{
    struct replay *replay = self;
    const struct recorded key = {.op = *op};
    (void)err;
    replay->now = replay->n == 0 ? NULL
                                 : bsearch(&key, replay->ops, (size_t)replay->n, sizeof key, by_op);
    replay->next = 0;
    return replay->now ? SOURCE_OK : SOURCE_SKIP;
}

static bool replay_sample(void *self, int n, struct batch *out)
{
    struct replay *replay = self;
    int left = replay->now->n - replay->next;

    *out = (struct batch){0};
    if (left == 0)
        return false;
    out->n = n < left ? n : left;
    out->n = out->n < SOURCE_MOST ? out->n : SOURCE_MOST;
    memcpy(out->us, replay->now->samples + replay->next, (size_t)out->n * sizeof *out->us);
    replay->next += out->n;
    return true;
}

static void replay_end(void *self)
{
    (void)self;
}

bool source_replay(struct source *out, const char *path, struct arena *arena, struct err *err)
{
    struct replay *replay = ARENA_NEW(arena, struct replay, 1);
    *out = (struct source){
            replay, replay_begin, replay_sample, replay_end, replay_end, .cold = true};
    return record_read(&replay->ops, &replay->n, path, arena, err);
}
