/* What the test and the stand-in for cuBLASLt tell each other. */
#ifndef TESTS_FAKES_FAKE_CUBLASLT_H
#define TESTS_FAKES_FAKE_CUBLASLT_H

#include <stdbool.h>

enum {
    FAKE_ALGORITHMS = 4 /* 1 to this */
};

struct fake_cublaslt {
    double ms[FAKE_ALGORITHMS + 1]; /* that an algorithm takes */
    int broken;                     /* an algorithm that refuses to run; 0 = none */
    bool no_scales;                 /* it takes f8 with one scale a tensor alone */
    bool old;                       /* it does not know other scales at all */
    int asked, started, last;       /* heuristics, products, the algorithm of the last one */
    int open;                       /* descriptors that were not destroyed */
    double clock_ms;                /* of what was started */
};

#endif
