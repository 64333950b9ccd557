#ifndef TESTS_FAKES_FAKE_NCCL_H
#define TESTS_FAKES_FAKE_NCCL_H

#include <stdbool.h>

struct fake_nccl {
    long pending; /* that many questions are answered with ncclInProgress */
    bool error;   /* then this */
    int calls, aborted, destroyed;
};
extern struct fake_nccl fake;

#endif
