#define ISA_TABLE cpu_isa_avx512
#define ISA_NAME  "avx512"
#include "kernels/cpu/table.h"
