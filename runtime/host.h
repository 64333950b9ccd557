/* host - what the operating system says about memory; 0 where it says nothing. */
#ifndef RUNTIME_HOST_H
#define RUNTIME_HOST_H

#include <stdint.h>

/* Memory that a new program could get without swapping. */
int64_t host_free_bytes(void);
/* Of this process, in memory now. */
int64_t host_resident_bytes(void);

#endif
