#include "planner/conformal.h"

#include <math.h>
#include <stdlib.h>

int conformal_by_value(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

double conformal_width(double *errors, int64_t n, double unknown)
{
    if (n < CONFORMAL_LEAST)
        return unknown;
    qsort(errors, (size_t)n, sizeof *errors, conformal_by_value);
    int64_t rank = (int64_t)ceil(CONFORMAL_COVERAGE * (double)(n + 1)) - 1;
    return errors[rank < n ? rank : n - 1];
}
