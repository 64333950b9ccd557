/* Stands in for coll_mpi.c in a build without MPI. */
#include <stddef.h>

#include "kernels/coll_impl.h"

struct coll *coll_mpi_open(
        const int *members, int n, const struct coll_options *options, struct err *err)
{
    (void)members;
    (void)options;
    err_set(err, ERR_ENV,
            "a group of %d ranks needs MPI, which this build is without: "
            "apt install libopenmpi-dev openmpi-bin, then configure again",
            n);
    return NULL;
}
