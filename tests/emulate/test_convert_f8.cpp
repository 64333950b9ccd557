// kernels/cuda/convert_f8.cu against core/half.h: every f8 is the nearest one, every scale that of the largest value.
#include <cmath>
#include <cstdio>
#include <vector>

#include <cuda_runtime.h>

extern "C" {
#include "core/half.h"
}
#include "kernels/cuda/launch.h"
#include "kernels/scale.h"

namespace
{

int failures;

void expect(bool ok, const char *what, int64_t at)
{
    if (!ok && failures++ < 5)
        fprintf(stderr, "%s at %lld\n", what, static_cast<long long>(at));
}

template <typename T> T *upload(const std::vector<T> &from)
{
    void *to = nullptr;
    cudaMalloc(&to, from.size() * sizeof(T));
    cudaMemcpyAsync(to, from.data(), from.size() * sizeof(T), cudaMemcpyHostToDevice, nullptr);
    return static_cast<T *>(to);
}

template <typename T> std::vector<T> download(const T *from, size_t n)
{
    std::vector<T> to(n);
    cudaMemcpyAsync(to.data(), from, n * sizeof(T), cudaMemcpyDeviceToHost, nullptr);
    return to;
}

// Values of many sizes, a row of zeros, one of very small ones.
std::vector<float> values(int64_t rows, int64_t ld)
{
    std::vector<float> x(static_cast<size_t>(rows * ld));
    for (int64_t i = 0; i < rows * ld; i++)
        x[static_cast<size_t>(i)] = i / ld == 1 ? 0.0f
                                    : i / ld == 2
                                            ? 1e-38f * static_cast<float>(i % 9)
                                            : std::sin(static_cast<float>(i))
                                                      * std::exp(static_cast<float>(i % 23) - 11);
    return x;
}

void converted(int64_t rows, int64_t cols, int64_t ld, int64_t columns)
{
    std::vector<float> x = values(rows, ld);
    int64_t parts = (cols + columns - 1) / columns;
    auto n = static_cast<size_t>(rows * cols), n_scales = static_cast<size_t>(rows * parts);
    struct cuda_f8 to = {
            upload(std::vector<uint8_t>(n)), upload(std::vector<float>(n_scales)), columns};
    struct cuda_on on = {};
    cuda_to_f8(&on, &to, upload(x), rows, cols, ld);
    std::vector<uint8_t> out = download(static_cast<uint8_t *>(to.out), n);
    std::vector<float> scale = download(to.scale, n_scales);
    for (int64_t row = 0; row < rows; row++)
        for (int64_t part = 0; part < parts; part++) {
            float most = 0, s = scale[static_cast<size_t>(part * rows + row)];
            int64_t end = (part + 1) * columns < cols ? (part + 1) * columns : cols;
            for (int64_t i = part * columns; i < end; i++)
                most = std::fmax(most, std::fabs(x[static_cast<size_t>(row * ld + i)]));
            expect(s == std::fmax(most / F8_MOST, 1e-30f), "scale", row * parts + part);
            for (int64_t i = part * columns; i < end; i++) {
                float want = x[static_cast<size_t>(row * ld + i)] * (1.0f / s);
                uint8_t got = out[static_cast<size_t>(row * cols + i)];
                expect(f8_widen(got) == f8_widen(f8_narrow(want)), "f8", row * cols + i);
            }
        }
}

void finished(bool scales, bool bias)
{
    constexpr int64_t m = 5, n = 300, ld = 304;
    std::vector<float> y = values(m, ld), xs = values(1, m), ws = values(1, n), b = values(1, n);
    struct cuda_finish finish = {upload(y), ld, m, n, scales ? upload(xs) : nullptr,
            scales ? upload(ws) : nullptr, bias ? upload(b) : nullptr};
    struct cuda_on on = {};
    cuda_gemm_finish(&on, &finish);
    std::vector<float> out = download(finish.y, y.size());
    for (int64_t i = 0; i < m * ld; i++) {
        auto at = static_cast<size_t>(i), row = static_cast<size_t>(i / ld),
             col = static_cast<size_t>(i % ld);
        double want = y[at];
        if (i % ld < n) {
            want *= scales ? static_cast<double>(xs[row]) * static_cast<double>(ws[col]) : 1.0;
            want += bias ? static_cast<double>(b[col]) : 0.0;
        }
        expect(std::fabs(out[at] - want) <= 1e-5 * std::fabs(want) + 1e-30, "finished", i);
    }
}

} // namespace

int main()
{
    converted(4, 272, 280, 272);
    converted(4, 272, 280, SCALE_BLOCK);
    converted(9, 1, 3, 1);
    converted(3, 128, 128, SCALE_BLOCK);
    for (int i = 0; i < 4; i++)
        finished((i & 1) != 0, (i & 2) != 0);
    printf("%d wrong\n", failures);
    return failures > 0;
}
