#include "kernels/cpu/isa.h"

/*
 * Bits depend on the width of the vectors, so deterministic devices use eight floats on every CPU that
 * can fuse multiply and add.
 */
const struct cpu_isa *cpu_isa_find(enum dev_isa isa, bool deterministic)
{
#if defined(__x86_64__)
    if (isa == ISA_AVX512 && !deterministic)
        return &cpu_isa_avx512;
    if (isa == ISA_AVX512 || isa == ISA_AVX2)
        return &cpu_isa_avx2;
#else
    (void)isa;
    (void)deterministic;
#endif
    return &cpu_isa_portable;
}
