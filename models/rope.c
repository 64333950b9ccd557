#include "models/rope.h"

#include <math.h>

static const double pi = 3.14159265358979323846;

int64_t rope_dims(const struct model *model)
{
    return model->mla.kv_rank > 0 ? model->mla.rope_dim : model->head_dim;
}

/* Long waves are stretched, short ones kept, those between a mixture. */
static double llama3_frequency(double freq, const struct model *model)
{
    double old = (double)model->rope.original_len, wave = 2 * pi / freq;
    double low = model->rope.low_freq_factor, high = model->rope.high_freq_factor;

    if (wave > old / low)
        return freq / model->rope.factor;
    if (wave < old / high)
        return freq;
    double smooth = (old / wave - low) / (high - low);
    return (1 - smooth) * freq / model->rope.factor + smooth * freq;
}

/* The dimension that turns so often over the original length. */
static double yarn_dim(const struct model *model, double rotations)
{
    return (double)rope_dims(model) * log((double)model->rope.original_len / (rotations * 2 * pi))
           / (2 * log(model->rope.theta));
}

static double yarn_frequency(double freq, const struct model *model, int64_t i)
{
    double low = yarn_dim(model, model->rope.beta_fast);
    double high = yarn_dim(model, model->rope.beta_slow);

    if (model->rope.truncate) {
        low = floor(low);
        high = ceil(high);
    }
    low = fmax(low, 0);
    high = fmin(high, (double)rope_dims(model) - 1);
    if (high - low < 1e-9)
        high = low + 0.001; /* as transformers does */
    double stretched = fmax(0, fmin(1, ((double)i - low) / (high - low)));
    return freq / model->rope.factor * stretched + freq * (1 - stretched);
}

void rope_frequencies(float *out, const struct model *model)
{
    int64_t dims = rope_dims(model);

    for (int64_t i = 0; i < dims / 2; i++) {
        double freq = 1.0 / pow(model->rope.theta, 2.0 * (double)i / (double)dims);

        switch ((enum rope_scaling)model->rope.scaling) {
        case ROPE_PLAIN:
            break;
        case ROPE_LLAMA3:
            freq = llama3_frequency(freq, model);
            break;
        case ROPE_YARN:
            freq = yarn_frequency(freq, model, i);
            break;
        }
        out[i] = (float)freq;
    }
}

static double yarn_mscale(const struct model *model, double mscale)
{
    return model->rope.factor <= 1 ? 1 : 0.1 * mscale * log(model->rope.factor) + 1;
}

double rope_scale(const struct model *model)
{
    if (model->rope.scaling != ROPE_YARN)
        return 1;
    if (model->rope.attention_factor > 0)
        return model->rope.attention_factor;
    if (model->rope.mscale > 0 && model->rope.mscale_all_dim > 0)
        return yarn_mscale(model, model->rope.mscale)
               / yarn_mscale(model, model->rope.mscale_all_dim);
    return yarn_mscale(model, 1);
}

double rope_attention_scale(const struct model *model)
{
    if (model->mla.kv_rank == 0)
        return 1 / sqrt((double)model->head_dim);

    double scale = 1 / sqrt((double)(model->mla.nope_dim + model->mla.rope_dim));
    if (model->rope.scaling != ROPE_YARN || model->rope.mscale_all_dim == 0)
        return scale;
    double mscale = yarn_mscale(model, model->rope.mscale_all_dim);
    return scale * mscale * mscale;
}
