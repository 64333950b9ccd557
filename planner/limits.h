/*
 * limits - what the plan runs into, and what moving each limit would buy.
 *
 * Shadow prices are the duals of the device budgets (C8 of docs/ilp.md). Gains come from solving the same program
 * again for a changed cluster (planner/what_if.h): one machine more, a tenth more memory, bandwidth, FLOP/s or
 * link, objectives a tenth looser. docs/method.md, "Why this plan".
 */
#ifndef PLANNER_LIMITS_H
#define PLANNER_LIMITS_H

#include "planner/choose.h"

struct limits_question {
    const struct solve *solve;
    const struct solved *solved;
    const struct finalist *chosen;
};

/* What is known without solving again: devices, memory, service objectives, offered requests. */
void limits_list(struct plan_why *why, const struct limits_question *question, struct arena *arena);
/* Solves again for every limit, and adds those that only so are known. */
MUST_CHECK bool limits_move(struct plan_why *why, const struct limits_question *question,
        struct arena *arena, struct err *err);

#endif
