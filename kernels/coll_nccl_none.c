/* A build without the headers of NCCL. */
#include "kernels/coll_nccl.h"

#include <stddef.h>

static const char *const missing =
        "this build has no NCCL: install its headers (libnccl-dev) and build again with "
        "SHARDWRIGHT_NCCL=ON";

// NOLINTNEXTLINE(readability-non-const-parameter): the same signature as with NCCL
bool coll_nccl_id(unsigned char id[COLL_NCCL_ID_BYTES], struct err *err)
{
    (void)id;
    return err_set(err, ERR_ENV, "%s", missing);
}

const char *coll_nccl_version(void)
{
    return NULL;
}

struct coll *coll_nccl_open(
        struct dev_cuda *dev, const struct coll_nccl_group *group, struct err *err)
{
    (void)dev;
    (void)group;
    err_set(err, ERR_ENV, "%s", missing);
    return NULL;
}

struct coll *coll_nccl_open_on(
        const struct coll_nccl_stream *stream, const struct coll_nccl_group *group, struct err *err)
{
    (void)stream;
    (void)group;
    err_set(err, ERR_ENV, "%s", missing);
    return NULL;
}

bool coll_nccl_check(struct coll *coll, struct err *err)
{
    (void)coll;
    return err_set(err, ERR_ENV, "%s", missing);
}

void coll_nccl_abort(struct coll *coll)
{
    (void)coll;
}
