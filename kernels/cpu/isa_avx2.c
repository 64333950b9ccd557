#define ISA_TABLE cpu_isa_avx2
#define ISA_NAME  "avx2"
#include "kernels/cpu/table.h"
