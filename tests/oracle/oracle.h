/*
 * oracle - the best plan of an instance, found another way: it shares nothing with the planner but
 * planner/instance.h, and asks the instance for the price of every piece itself (no classes, no shapes).
 *
 * Two ways to the patterns, one to the cluster:
 *
 *   oracle_brute    every sequence of stages, by recursion. Small instances.
 *   oracle_dynamic  for every limits and every f in {1, S}, over stages placed, layers done and devices taken of each
 *                   kind (tests/oracle/dynamic.c): the least T for each number of devices, exact. Left out are patterns
 *                   that miss a service objective, and those that serve no more than known ones do on the same devices.
 *   the cluster     the best pattern for each vector of devices, then a knapsack over vectors: with n devices, the
 *                   most that patterns of a role serve is the most over m of one pattern on m and the rest on n - m.
 *                   Roles meet in devices and in min(prefill, decode) alone, so that all ways to share n among them
 *                   are tried: exact, pools and the least price for a demand included.
 *
 * Not covered: instances whose vectors of devices (counted in the greatest common divisor of a kind's group sizes)
 * times layers times stages exceed ORACLE_CELLS, 48 bytes each; they answer `done = false`. 64 devices of 4 kinds in groups
 * of 4 and 8, 126 layers and up to 8 stages are 714,375.
 */
#ifndef TESTS_ORACLE_ORACLE_H
#define TESTS_ORACLE_ORACLE_H

#include "planner/columns.h"
#include "planner/partition.h"

enum {
    ORACLE_CELLS = 1 << 22
};

struct oracle_answer {
    bool done;        /* false: too large */
    bool feasible;    /* the demand can be met, or anything be served */
    double value;     /* requests a second, or the least price; 0 when infeasible */
    double most;      /* requests a second with all devices, whatever the objective */
    int64_t patterns; /* sequences of stages looked at, or pairs kept */
};

void oracle_brute(struct oracle_answer *out, const struct instance *instance);
void oracle_dynamic(struct oracle_answer *out, const struct instance *instance);

/*
 * The least pace of a partition of one replica, HUGE_VAL when there is none. With M(A) the least sum of a path of
 * n_stages arcs, none above A, by dynamic programming over layers and groups used of each kind: the answer is the
 * least max(A, M(A) / in_flight) over the times A of arcs; M falls and A grows, so it lies where they cross.
 */
double oracle_partition(const struct partition_problem *problem);

/* An answer of the planner, read off the instance alone: stages cover all layers in order, families and budgets are
 * kept, every stage fits, paces, rates and the value are what they are said to be, and the bound is on its side. NULL,
 * or what is wrong. */
const char *oracle_judge(const struct instance *instance, const struct columns_result *result);

#endif
