#define ISA_TABLE cpu_isa_portable
#define ISA_NAME  "portable"
#include "kernels/cpu/table.h"
