#include "kernels/element.h"
#include "kernels/ref/ref.h"

void ref_embedding(const struct op *op, const struct op_args *args)
{
    const struct embedding_args *a = &args->embedding;
    int64_t m = op->dim[0], hidden = op->dim[1];
    for (int64_t row = 0; row < m; row++) {
        int64_t token = a->tokens[row] - a->first;
        bool mine = token >= 0 && token < a->rows;
        for (int64_t i = 0; i < hidden; i++)
            a->out[row * hidden + i] =
                    mine ? element_load(a->table, op->dtype, token * hidden + i) : 0;
    }
}
