/* A build without CUPTI's headers. */
#include "profiler/source_cupti.h"

static const char *const missing = "this build has no CUPTI: install the CUDA toolkit and build "
                                   "again with SHARDWRIGHT_CUPTI=ON";

bool source_cupti_open(struct err *err)
{
    return err_set(err, ERR_ENV, "%s", missing);
}

void source_cupti_close(void)
{
}

bool source_cupti_begin(struct err *err)
{
    return err_set(err, ERR_ENV, "%s", missing);
}

bool source_cupti_end(struct cupti_window *out, struct err *err)
{
    *out = (struct cupti_window){0};
    return err_set(err, ERR_ENV, "%s", missing);
}
