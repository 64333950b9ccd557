#include "kernels/ref/ref.h"

void ref_sample(const struct op *op, const struct op_args *args)
{
    const struct sample_args *a = &args->sample;
    for (int64_t row = 0; row < op->dim[0]; row++) {
        const float *logits = a->logits + row * a->ld;
        int64_t best = 0;
        for (int64_t i = 1; i < op->dim[1]; i++)
            if (logits[i] > logits[best])
                best = i;
        a->token[row] = (int32_t)(a->first + best);
        a->value[row] = logits[best];
    }
}
