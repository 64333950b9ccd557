#ifndef KERNELS_CPU_ISA_H
#define KERNELS_CPU_ISA_H

#include "kernels/dev.h"

struct cpu_isa {
    const char *name;
};

const struct cpu_isa *cpu_isa_find(enum dev_isa isa, bool deterministic);

#endif
