/* NCCL of one rank, in host memory. What it answers is set by the test through `fake`. */
#include <stdlib.h>
#include <string.h>

#include <nccl.h>

#include "tests/fakes/fake_nccl.h"

/* The header declares these two without prototypes. */
ncclResult_t ncclGroupStart(void);
ncclResult_t ncclGroupEnd(void);

struct fake_nccl fake;

struct ncclComm {
    int unused;
};
static struct ncclComm only;

static ncclResult_t call(void)
{
    fake.calls++;
    if (fake.pending > 0)
        return ncclInProgress;
    return fake.error ? ncclSystemError : ncclSuccess;
}

ncclResult_t ncclGetVersion(int *version)
{
    *version = 22903;
    return ncclSuccess;
}

ncclResult_t ncclGetUniqueId(ncclUniqueId *id)
{
    memset(id, 7, sizeof *id);
    return ncclSuccess;
}

const char *ncclGetErrorString(ncclResult_t result)
{
    return result == ncclSystemError ? "system error" : "other";
}

ncclResult_t ncclCommInitRankConfig(
        ncclComm_t *comm, int n, ncclUniqueId id, int rank, ncclConfig_t *config)
{
    (void)n;
    (void)rank;
    if (config->blocking != 0 || id.internal[0] != 7)
        return ncclInvalidArgument;
    *comm = &only;
    return call();
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t *result)
{
    (void)comm;
    if (fake.pending > 0 && --fake.pending > 0)
        *result = ncclInProgress;
    else
        *result = fake.error ? ncclSystemError : ncclSuccess;
    return ncclSuccess;
}

ncclResult_t ncclCommAbort(ncclComm_t comm)
{
    (void)comm;
    fake.aborted++;
    return ncclSuccess;
}

ncclResult_t ncclCommFinalize(ncclComm_t comm)
{
    (void)comm;
    return call();
}

ncclResult_t ncclCommDestroy(ncclComm_t comm)
{
    (void)comm;
    fake.destroyed++;
    return ncclSuccess;
}

ncclResult_t ncclGroupStart(void)
{
    return ncclSuccess;
}

ncclResult_t ncclGroupEnd(void)
{
    return call();
}

ncclResult_t ncclAllReduce(const void *in, void *out, size_t count, ncclDataType_t type,
        ncclRedOp_t op, ncclComm_t comm, cudaStream_t stream)
{
    (void)op;
    (void)comm;
    (void)stream;
    if (type != ncclFloat32)
        return ncclInvalidArgument;
    memmove(out, in, 4 * count);
    return call();
}

ncclResult_t ncclAllGather(const void *in, void *out, size_t count, ncclDataType_t type,
        ncclComm_t comm, cudaStream_t stream)
{
    (void)type;
    (void)comm;
    (void)stream;
    memmove(out, in, count);
    return call();
}

ncclResult_t ncclReduceScatter(const void *in, void *out, size_t count, ncclDataType_t type,
        ncclRedOp_t op, ncclComm_t comm, cudaStream_t stream)
{
    return ncclAllReduce(in, out, count, type, op, comm, stream);
}

ncclResult_t ncclBroadcast(const void *in, void *out, size_t count, ncclDataType_t type, int root,
        ncclComm_t comm, cudaStream_t stream)
{
    (void)root;
    return ncclAllGather(in, out, count, type, comm, stream);
}

/* To itself: what was sent last is received next. */
static char mailbox[64];

ncclResult_t ncclSend(const void *data, size_t count, ncclDataType_t type, int peer,
        ncclComm_t comm, cudaStream_t stream)
{
    (void)type;
    (void)peer;
    (void)comm;
    (void)stream;
    memcpy(mailbox, data, count);
    return call();
}

ncclResult_t ncclRecv(void *data, size_t count, ncclDataType_t type, int peer, ncclComm_t comm,
        cudaStream_t stream)
{
    (void)type;
    (void)peer;
    (void)comm;
    (void)stream;
    memcpy(data, mailbox, count);
    return call();
}
