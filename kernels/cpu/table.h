/*
 * table - the kernels beside it as the table ISA_TABLE. Included by isa_*.c, once per set.
 */
#include "kernels/cpu/dot.h"
#include "kernels/cpu/isa.h"

const struct cpu_isa ISA_TABLE = {
        .name = ISA_NAME,
        .dot_pack_floats = dot_pack_floats,
        .dot_pack = dot_pack,
        .dot_run = dot_run,
        .widen = widen,
};
