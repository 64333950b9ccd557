/*
 * serve_pools - what the ranks of separate prefill and decode replicas do beside stepping. Private to serve.
 *
 * The leader of a prefill replica has its ranks send the caches of prompts that have their first token, then tells
 * the leader of the decode replica. That one lets its scheduler know, and when the scheduler has found a place, the
 * batch says which caches come first. A prefill replica says of every request that could go on whether it does.
 */
#ifndef RUNTIME_SERVE_POOLS_H
#define RUNTIME_SERVE_POOLS_H

#include "runtime/serve.h"

MUST_CHECK bool serve_pools_open(struct serve *serve, struct arena *arena, struct err *err);
/* The requests of a decode replica as its scheduler sees them: they come when they are told of, in that order. */
const struct requests *serve_coming(struct serve *serve, struct arena *arena);

/* Every rank: a message of BATCH_CACHES or BATCH_DROP, and the caches that come with a step. */
void serve_move_caches(struct serve *serve, const struct batch *batch);
void serve_take_caches(struct serve *serve, const struct batch *batch);

/* Leader of a prefill replica: a step's tokens are known and its blocks not yet free; a request ended here. */
void serve_hand_over(struct serve *serve, const struct batch *batch);
void serve_refuse(struct serve *serve, int64_t request);
/* Leader of a decode replica: what has come; which caches a batch needs; waiting with nothing to step. */
void serve_hear(struct serve *serve);
void serve_mark_caches(struct serve *serve, struct batch *batch);
void serve_await(struct serve *serve, int64_t wake_ns);
/* Leaders: there will be no more steps. */
void serve_leave(struct serve *serve);

#endif
