/* CUPTI with records from a list: every flush hands them over in buffers of two. */
#include <string.h>

#include <cupti.h>

#include "tests/fakes/fake_cupti.h"

#if CUPTI_API_VERSION >= 130000
typedef CUpti_ActivityKernel10 kernel_record;
#else
typedef CUpti_ActivityKernel9 kernel_record;
#endif

struct fake_cupti fake;
static CUpti_BuffersCallbackRequestFunc request;
static CUpti_BuffersCallbackCompleteFunc complete;
static bool recording;

CUptiResult cuptiActivityRegisterCallbacks(CUpti_BuffersCallbackRequestFunc funcBufferRequested,
        CUpti_BuffersCallbackCompleteFunc funcBufferCompleted)
{
    request = funcBufferRequested;
    complete = funcBufferCompleted;
    return fake.fail_start ? CUPTI_ERROR_NOT_INITIALIZED : CUPTI_SUCCESS;
}

CUptiResult cuptiActivityEnable(CUpti_ActivityKind kind)
{
    recording = true;
    return kind == CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL ? CUPTI_SUCCESS : CUPTI_ERROR_INVALID_KIND;
}

CUptiResult cuptiActivityDisable(CUpti_ActivityKind kind)
{
    (void)kind;
    recording = false;
    return CUPTI_SUCCESS;
}

CUptiResult cuptiActivityFlushAll(uint32_t flag)
{
    (void)flag;
    for (int i = 0; recording && i < fake.n; i += 2) {
        uint8_t *buffer = NULL;
        size_t size = 0, most = 0;
        request(&buffer, &size, &most);
        int n = fake.n - i < 2 ? fake.n - i : 2;
        memset(buffer, 0, (size_t)n * sizeof(kernel_record));
        for (int k = 0; k < n; k++) {
            kernel_record *record = (kernel_record *)(void *)buffer + k;
            record->kind = fake.other_kind ? CUPTI_ACTIVITY_KIND_MEMCPY
                                           : CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL;
            record->start = fake.start_ns[i + k];
            record->end = fake.end_ns[i + k];
        }
        complete(NULL, 0, buffer, size, (size_t)n * sizeof(kernel_record));
    }
    return CUPTI_SUCCESS;
}

CUptiResult cuptiActivityGetNextRecord(
        uint8_t *buffer, size_t validBufferSizeBytes, CUpti_Activity **record)
{
    uint8_t *next = *record == NULL ? buffer : (uint8_t *)*record + sizeof(kernel_record);
    if (next >= buffer + validBufferSizeBytes)
        return CUPTI_ERROR_MAX_LIMIT_REACHED;
    *record = (CUpti_Activity *)(void *)next;
    return CUPTI_SUCCESS;
}

CUptiResult cuptiActivityGetNumDroppedRecords(CUcontext context, uint32_t streamId, size_t *dropped)
{
    (void)context;
    (void)streamId;
    *dropped = fake.dropped;
    fake.dropped = 0;
    return CUPTI_SUCCESS;
}

CUptiResult cuptiGetResultString(CUptiResult result, const char **str)
{
    *str = result == CUPTI_ERROR_NOT_INITIALIZED ? "CUPTI_ERROR_NOT_INITIALIZED" : "other";
    return CUPTI_SUCCESS;
}
