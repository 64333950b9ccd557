#include <dlfcn.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "profiler/nvml.h"
#include "profiler/probe.h"

static int *n_gpus;

static void every_gpu_says_what_it_can(void **state)
{
    (void)state;
    struct arena arena = {0};
    *n_gpus = 2;
    assert_string_equal(nvml_describe(&arena),
            "GPU 0: SM 1200 of 1980 MHz, memory 2619 MHz, 690 of 700 W, throttled by power, "
            "throttled by temperature; GPU 1: SM 1201 of 1980 MHz, memory 2619 MHz, not throttled");
    arena_free(&arena);
}

static void measurements_record_it(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct provenance provenance = {0};
    *n_gpus = 1;
    probe_provenance(&provenance, &arena);
    assert_non_null(provenance.clocks);
    assert_non_null(strstr(provenance.clocks, "GPU 0: SM 1200 of 1980 MHz"));
    arena_free(&arena);
}

static void without_gpu_driver_or_library_there_is_nothing(void **state)
{
    (void)state;
    struct arena arena = {0};
    *n_gpus = 0;
    assert_null(nvml_describe(&arena));
    *n_gpus = -1;
    assert_null(nvml_describe(&arena));
    assert_int_equal(setenv("SHARDWRIGHT_NVML_LIBRARY", "/nowhere/libnvidia-ml.so", 1), 0);
    assert_null(nvml_describe(&arena));
    arena_free(&arena);
}

int main(void)
{
    void *handle = dlopen(FAKE, RTLD_NOW | RTLD_LOCAL); /* the same instance that nvml.c opens */
    n_gpus = handle == NULL ? NULL : dlsym(handle, "fake_nvml_gpus");
    if (n_gpus == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        return 1;
    }
    const struct CMUnitTest tests[] = {
            cmocka_unit_test(every_gpu_says_what_it_can),
            cmocka_unit_test(measurements_record_it),
            cmocka_unit_test(without_gpu_driver_or_library_there_is_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
