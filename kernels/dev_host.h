/*
 * dev_host - what ops on the host device may know of it, beyond dev.h.
 */
#ifndef KERNELS_DEV_HOST_H
#define KERNELS_DEV_HOST_H

#include "kernels/dev.h"

struct cpu_isa; /* kernels/cpu/isa.h */

const struct cpu_isa *dev_cpu(const struct dev *dev);
bool dev_reference(const struct dev *dev);
/* The first failure of work on a GPU; work after it does nothing. */
struct err *dev_failure(struct dev *dev);
struct op;
struct op_args;
/* An op on the GPU. */
void dev_start(struct dev *dev, const struct op *op, const struct op_args *args);
/* Memory of one thread, 64-byte aligned, kept between calls and grown when more is asked for than ever
 * before; contents are lost at the next call for the same part. Ends the process when there is none. */
void *dev_scratch(struct dev *dev, int part, int64_t bytes);
/* The same for memory that all threads share; only the caller's thread may ask. */
void *dev_shared(struct dev *dev, int64_t bytes);
/* Another one, of cpu_gemm: other ops call it while they hold the shared one. */
void *dev_packed(struct dev *dev, int64_t bytes);

#endif
