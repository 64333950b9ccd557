#include "kernels/op_table.h"

#include <assert.h>
#include <stddef.h>

#include "kernels/cpu/cpu.h"
#include "kernels/dev_host.h"
#include "kernels/ref/ref.h"
#include "kernels/scale.h"

struct entry {
    void (*fast)(struct dev *dev, const struct op *op, const struct op_args *args);
    void (*reference)(const struct op *op, const struct op_args *args);
};

static const struct entry table[OP_KIND_COUNT] = {
        [OP_GEMM] = {cpu_gemm, ref_gemm},
        [OP_LM_HEAD] = {cpu_gemm, ref_gemm},
        [OP_ATTENTION_PREFILL] = {cpu_attention, ref_attention},
        [OP_ATTENTION_DECODE] = {cpu_attention, ref_attention},
        [OP_RMSNORM] = {cpu_rmsnorm, ref_rmsnorm},
        [OP_ROPE] = {cpu_rope, ref_rope},
        [OP_ACTIVATION] = {cpu_activation, ref_activation},
        [OP_ROUTER] = {cpu_router, ref_router},
        [OP_PERMUTE] = {cpu_permute, ref_permute},
        [OP_EXPERT_GEMM] = {cpu_expert, ref_expert},
        [OP_COMBINE] = {cpu_combine, ref_combine},
        [OP_EMBEDDING] = {cpu_embedding, ref_embedding},
        [OP_SAMPLE] = {cpu_sample, ref_sample},
        [OP_COPY] = {cpu_copy, ref_copy},
        [OP_MLA_PREFILL] = {cpu_mla_prefill, ref_mla},
        [OP_MLA_DECODE] = {cpu_mla_decode, ref_mla},
        [OP_MLA_ROPE] = {cpu_mla_rope, ref_mla_rope},
};

void op_run(struct dev *dev, const struct op *op, const struct op_args *args)
{
    const struct entry *entry = &table[op->kind];
    assert(entry->reference && "a collective is not an op of a device");
    if (dev_remote(dev))
        dev_start(dev, op, args);
    else if (entry->fast && !dev_reference(dev) && !scale_wanted(op->dtype))
        entry->fast(dev, op, args);
    else
        entry->reference(op, args);
}
