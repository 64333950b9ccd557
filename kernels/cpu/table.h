/*
 * table - the kernels beside it as the table ISA_TABLE. Included by isa_*.c, once per set.
 */
#include "kernels/cpu/attend.h"
#include "kernels/cpu/dot.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/mix.h"
#include "kernels/cpu/outer.h"
#include "kernels/cpu/panel.h"
#include "kernels/cpu/rows.h"

const struct cpu_isa ISA_TABLE = {
        .name = ISA_NAME,
        .dot_pack_floats = dot_pack_floats,
        .dot_scratch_floats = panel_floats,
        .dot_pack = dot_pack,
        .dot_run = dot_run,
        .mix = mix_run,
        .widen = rows_widen,
        .outer_rows = OUTER_ROWS,
        .outer_pass = OUTER_PASS,
        .outer_floats = outer_floats,
        .outer_scratch_floats = outer_scratch_floats,
        .outer_pack = outer_pack_job,
        .outer_run = outer_run,
        .attend_floats = attend_floats,
        .attend_run = attend_run,
        .rmsnorm = rows_rmsnorm,
        .silu = rows_silu,
        .swiglu_clamped = rows_swiglu_clamped,
        .add_scaled = rows_add_scaled,
        .soften = rows_soften,
        .arg_max = rows_arg_max,
        .angles = rows_angles,
        .rotate = rows_rotate,
};
