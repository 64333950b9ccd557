/*
 * memo - a hash table from ten integers to a fixed-size value: what was computed once is not computed
 * again. Values move when it grows: a pointer into it is good until the next memo_add. One that holds answers
 * which can be had again is opened for MEMO_MOST values: when they are reached it forgets them all, so that it
 * never grows without end.
 */
#ifndef PLANNER_MEMO_H
#define PLANNER_MEMO_H

#include <stdbool.h>
#include <stdint.h>

enum {
    MEMO_MOST = 1 << 17
};

struct memo_key {
    int64_t at[10];
};

struct memo; /* hidden: it guards its slots */

/* most: values that it holds before it forgets; 0 = it never does. Memory that cannot be had ends the process, as in
 * core/arena.h. */
struct memo *memo_open(int64_t value_bytes, int64_t most);
void memo_close(struct memo *memo);
/* The value, or NULL. */
void *memo_find(const struct memo *memo, const struct memo_key *key);
/* Room for the value of a key that is not there yet; zeroed. */
void *memo_add(struct memo *memo, const struct memo_key *key);

#endif
