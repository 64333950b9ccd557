/*
 * pairs - what stages of a pattern come to in two figures, as long as no other stages beat them in both.
 */
#ifndef TESTS_ORACLE_PAIRS_H
#define TESTS_ORACLE_PAIRS_H

/* All that matters for the pace. */
struct pair {
    double slowest, sum; /* sum: hand-overs included */
};

/* By slowest, which ascends while sum descends; zeroed = none. Whoever has them frees items. */
struct pairs {
    int n, cap;
    struct pair *items;
};

/* The pair joins unless one of them is as good in both figures; those that it beats go. */
void pairs_add(struct pairs *pairs, struct pair pair);

#endif
