// Scores by a product that keeps f32 (a score that is off by bf16's rounding chooses other experts), then one warp
// chooses for each row.
#include "kernels/cuda/product.cuh"
#include "kernels/cuda/reduce.cuh"
#include "kernels/cuda/start.cuh"

namespace
{

constexpr int warps = 4, most_choices = 32; // a lane keeps a choice

struct routed {
    struct router_args a;
    const float *scores; // [m, experts]
    int64_t m;
    int experts, top_k;
};

// Leaves only the best groups: the others become -infinity.
__device__ void keep_groups(float *value, float *best_of, const struct routed &r, int lane)
{
    int groups = r.a.n_group, each = r.experts / groups;
    for (int g = lane; g < groups; g += 32) {
        float first = -INFINITY, second = -INFINITY;
        for (int e = g * each; e < (g + 1) * each; e++) {
            second = fmaxf(second, fminf(first, value[e]));
            first = fmaxf(first, value[e]);
        }
        best_of[g] = each > 1 ? first + second : first;
    }
    __syncwarp();
    for (int g = lane; g < groups; g += 32) {
        int ahead = 0;
        for (int o = 0; o < groups; o++)
            ahead += best_of[o] > best_of[g] || (best_of[o] == best_of[g] && o < g);
        for (int e = g * each; e < (g + 1) * each && ahead >= r.a.top_k_group; e++)
            value[e] = -INFINITY;
    }
    __syncwarp();
}

// Fills what is chosen by; returns the largest score, and for softmax the sum that weights are shares of.
__device__ float weigh(
        float *score, float *value, float *total, const struct routed &r, int64_t row, int lane)
{
    float most = -INFINITY, sum = 0.0f;
    for (int e = lane; e < r.experts; e += 32) {
        float s = r.scores[row * r.experts + e];
        score[e] = r.a.sigmoid ? 1.0f / (1.0f + expf(-s)) : s;
        value[e] = score[e] + (r.a.sigmoid && r.a.bias != nullptr ? r.a.bias[e] : 0.0f);
        most = fmaxf(most, s);
    }
    for (int step = 16; step > 0; step /= 2)
        most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, step));
    for (int e = lane; e < r.experts && !r.a.sigmoid; e += 32)
        sum += expf(score[e] - most);
    *total = warp_sum(sum);
    __syncwarp();
    return most;
}

__global__ void __launch_bounds__(32 * warps) route(struct routed r)
{
    DYNAMIC_SHARED(shared);
    int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
    int64_t row = static_cast<int64_t>(blockIdx.x) * warps + warp;
    float *score = reinterpret_cast<float *>(shared) + warp * (2 * r.experts + ROUTER_GROUPS);
    float *value = score + r.experts, total = 0.0f;
    if (row >= r.m)
        return;
    float most = weigh(score, value, &total, r, row, lane);
    if (r.a.n_group > 1)
        keep_groups(value, value + r.experts, r, lane);
    int mine = 0;
    for (int c = 0; c < r.top_k; c++) {
        struct best b = {-INFINITY, lane < r.experts ? lane : 0};
        for (int e = lane; e < r.experts; e += 32)
            b = better(b, {value[e], e});
        b = warp_best(b);
        if (lane == c)
            mine = b.index;
        if (lane == 0)
            value[b.index] = -INFINITY;
        __syncwarp();
    }
    float weight = 0.0f;
    if (lane < r.top_k)
        weight = r.a.sigmoid ? score[mine] : expf(score[mine] - most) / total;
    float kept = warp_sum(weight);
    if (lane < r.top_k) {
        r.a.expert[row * r.top_k + lane] = mine;
        r.a.weight[row * r.top_k + lane] =
                weight / (r.a.normalise ? kept : 1.0f) * (r.a.scale != 0.0f ? r.a.scale : 1.0f);
    }
}

} // namespace

extern "C" const char *cuda_router(
        const struct cuda_on *on, const struct op *op, const struct router_args *args)
{
    int64_t m = op->dim[0], experts = op->dim[2];
    if (op->dim[3] > most_choices)
        return "the router on this device chooses up to 32 experts";
    auto *scores = static_cast<float *>(on->room(on->self, CUDA_ROOM_SCORES, m * experts * 4));
    if (scores == nullptr)
        return "not enough GPU memory for the router's scores";
    struct product p = {};
    p.x = args->x;
    p.ldx = op->dim[1];
    p.w = args->w;
    p.dtype = op->dtype;
    p.bias = args->sigmoid ? nullptr : args->bias;
    p.y = scores;
    p.ldy = experts;
    p.m = m;
    p.n = experts;
    p.k = op->dim[1];
    p.exact = true;
    product_run(on, &p, 1, 0, product_tile(m));
    struct routed r = {*args, scores, m, static_cast<int>(experts), static_cast<int>(op->dim[3])};
    size_t shared = sizeof(float) * warps * static_cast<size_t>(2 * experts + ROUTER_GROUPS);
    start({on->stream, dim3(blocks_for(m, warps)), 32 * warps, shared}, route, r);
    return nullptr;
}
