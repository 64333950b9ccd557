#include "tests/bench/kernels_library.h"

#include <dlfcn.h>
#include <string.h>

typedef void (*cblas_fn)(int order, int ta, int tb, int m, int n, int k, float alpha,
        const float *a, int lda, const float *b, int ldb, float beta, float *c, int ldc);
typedef int (*dnnl_fn)(char ta, char tb, int64_t m, int64_t n, int64_t k, float alpha,
        const float *a, int64_t lda, const float *b, int64_t ldb, float beta, float *c,
        int64_t ldc);

const struct library libraries[3] = {
        {"OpenBLAS", "libopenblas.so.0", NULL, NULL},
        {"BLIS", "libblis.so.4", NULL, NULL},
        {"oneDNN", "libdnnl.so.2", NULL, NULL},
};

bool library_open(struct library *library)
{
    void *handle = dlopen(library->path, RTLD_NOW | RTLD_LOCAL);
    if (!handle)
        return false;
    void *threads = dlsym(handle, "openblas_set_num_threads");
    if (threads) {
        void (*set)(int);
        memcpy(&set, &threads, sizeof(set));
        set(1);
    }
    library->cblas = dlsym(handle, "cblas_sgemm");
    library->dnnl = dlsym(handle, "dnnl_sgemm");
    return library->cblas || library->dnnl;
}

void library_gemm(const struct library *library, const float *x, const float *w, float *y,
        int64_t m, int64_t n, int64_t k)
{
    enum {
        ROW_MAJOR = 101,
        AS_IS = 111,
        TRANSPOSED = 112
    };
    if (library->cblas) {
        cblas_fn fn;
        memcpy(&fn, &library->cblas, sizeof(fn));
        fn(ROW_MAJOR, AS_IS, TRANSPOSED, (int)m, (int)n, (int)k, 1, x, (int)k, w, (int)k, 0, y,
                (int)n);
        return;
    }
    dnnl_fn fn;
    memcpy(&fn, &library->dnnl, sizeof(fn));
    fn('N', 'T', m, n, k, 1, x, k, w, k, 0, y, n);
}
