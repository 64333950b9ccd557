/*
 * err - one failure, described for the person who must fix it.
 *
 * A function that can fail takes `struct err *err` last and returns bool or a pointer. The first
 * failure fills err; callers only put context in front. Only cli prints errors, only main exits.
 */
#ifndef CORE_ERR_H
#define CORE_ERR_H

#include <stdbool.h>

#define MUST_CHECK              __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, first) __attribute__((format(printf, fmt, first)))

/* The value is the exit status of the program. */
enum err_kind {
    ERR_NONE = 0,
    ERR_NO = 1,           /* the answer is no: infeasible, regression */
    ERR_INPUT = 2,        /* bad usage or input */
    ERR_ENV = 3,          /* environment or limit: disk full, library missing, time limit */
    ERR_BUG = 4,          /* ours */
    ERR_INCONCLUSIVE = 5, /* too noisy to say */
    ERR_BUSY = 75         /* somebody else holds it: try again */
};

/* A place in a user's file. Lines and columns count from 1; 0 means unknown. */
struct pos {
    const char *path;
    int line, column;
};

struct err {
    enum err_kind kind;
    char text[1536];
};

/* All return false, none allocates. A second err_set on a filled err is ignored: the first wins. */
bool err_set(struct err *err, enum err_kind kind, const char *fmt, ...) PRINTF_LIKE(3, 4);
bool err_at(struct err *err, struct pos pos, const char *fmt, ...)
        PRINTF_LIKE(3, 4); /* ERR_INPUT */
/* Puts "text: " in front of what is there. */
bool err_context(struct err *err, const char *fmt, ...) PRINTF_LIKE(2, 3);
void err_clear(struct err *err);

#endif
