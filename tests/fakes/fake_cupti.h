#ifndef TESTS_FAKES_FAKE_CUPTI_H
#define TESTS_FAKES_FAKE_CUPTI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fake_cupti {
    int n;
    uint64_t start_ns[16], end_ns[16];
    size_t dropped;
    bool other_kind, fail_start;
};
extern struct fake_cupti fake;

#endif
