/*
 * weights_random - a counter through the mixer of splitmix64 (Steele, Lea, Flood, OOPSLA 2014): any element
 * without the ones before it. Near-normal values are the sum of four 16-bit uniforms (Irwin-Hall), which is
 * cheap and never far out; what matters here is the scale, not the tail.
 */
#include "models/weights_random.h"

#include <math.h>
#include <string.h>

#include "core/half.h"

static inline uint64_t mix(uint64_t key, int64_t index)
{
    uint64_t z = key + (uint64_t)index * 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* Sum of four uniforms on 0..65535, centred: standard deviation sqrt(4 * (65536^2 - 1) / 12). */
static inline float near_normal(uint64_t bits)
{
    int sum = (int)(bits & 0xffff) + (int)(bits >> 16 & 0xffff) + (int)(bits >> 32 & 0xffff)
              + (int)(bits >> 48);
    return (float)(sum - 131070);
}

static const float near_normal_deviation = 37837.22f;

/* -1 .. 1 */
static inline float centred(uint64_t bits)
{
    return (float)((int64_t)(bits >> 40) - (1 << 23)) * (1.0f / (1 << 23));
}

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

/* Matrices that write into the residual stream: damped, so that it does not grow with depth. */
static bool into_residual(const char *name)
{
    return ends_with(name, ".o_proj.weight") || ends_with(name, ".down_proj.weight")
           || ends_with(name, ".w2.weight") || ends_with(name, ".down_proj");
}

struct random_tensor random_tensor(
        const struct tensor_spec *spec, const struct model *model, uint64_t seed)
{
    struct random_tensor t = {.key = mix(seed, 1)};

    for (const char *p = spec->name; *p; p++)
        t.key = mix(t.key ^ (unsigned char)*p, 1);
    switch (spec->role) {
    case TENSOR_NORM:
        t.uniform = true;
        t.offset = 1.0f;
        t.scale = 0.1f;
        break;
    case TENSOR_BIAS:
        t.uniform = true;
        t.scale = 0.02f;
        break;
    case TENSOR_EMBEDDING:
    case TENSOR_MATRIX: {
        /* Fused experts are stored [expert, in, out], everything else [out, in]. */
        double fan_in = (double)spec->dim[1];
        double variance = 1.0 / fan_in;
        if (into_residual(spec->name))
            variance /= 2.0 * model->n_layers;
        t.scale = (float)sqrt(variance) / near_normal_deviation;
        break;
    }
    }
    return t;
}

void random_f32(float *out, const struct random_tensor *tensor, int64_t first, int64_t n)
{
    uint64_t key = tensor->key;
    float scale = tensor->scale, offset = tensor->offset;

    if (tensor->uniform)
        for (int64_t i = 0; i < n; i++)
            out[i] = offset + scale * centred(mix(key, first + i));
    else
        for (int64_t i = 0; i < n; i++)
            out[i] = scale * near_normal(mix(key, first + i));
}

#define RANDOM_HALF(name, narrow)                                                          \
    void name(uint16_t *out, const struct random_tensor *tensor, int64_t first, int64_t n) \
    {                                                                                      \
        float part[512];                                                                   \
                                                                                           \
        for (; n > 0; first += 512, out += 512, n -= 512) {                                \
            int64_t m = n < 512 ? n : 512;                                                 \
            random_f32(part, tensor, first, m);                                            \
            for (int64_t i = 0; i < m; i++)                                                \
                out[i] = narrow(part[i]);                                                  \
        }                                                                                  \
    }

RANDOM_HALF(random_bf16, bf16_narrow)
RANDOM_HALF(random_f16, f16_narrow)
