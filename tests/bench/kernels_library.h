/*
 * kernels_library - products by the libraries that are installed, loaded at run time, one thread.
 */
#ifndef TESTS_BENCH_KERNELS_LIBRARY_H
#define TESTS_BENCH_KERNELS_LIBRARY_H

#include <stdbool.h>
#include <stdint.h>

struct library {
    const char *name, *path;
    void *cblas, *dnnl; /* whichever it has */
};

/* OpenBLAS, BLIS, oneDNN. */
extern const struct library libraries[3];
bool library_open(struct library *library);
/* y[m, n] = x[m, k] w[n, k]^T */
void library_gemm(const struct library *library, const float *x, const float *w, float *y,
        int64_t m, int64_t n, int64_t k);

#endif
