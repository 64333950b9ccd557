#include "kernels/dev_cuda.h"

#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/file.h"
#include "core/str.h"
#include "kernels/cuda/module.h"

#define MODULE_FILE "shardwright-cuda.so"

struct dev_cuda {
    const struct cuda_module *module;
    struct cuda_context *context;
};

/* Loaded once; a failure is kept too, so that everybody gets the same reason. */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static const struct cuda_module *loaded;
static char reason[512];

/* Beside the program (a build tree), or where it is installed. */
static void *open_module(struct arena *arena)
{
    const char *asked = getenv("SHARDWRIGHT_CUDA_MODULE");
    if (asked != NULL)
        return dlopen(asked, RTLD_NOW | RTLD_LOCAL);
    char program[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
    if (n <= 0)
        return NULL;
    program[n] = '\0';
    static const char *const places[] = {MODULE_FILE, "../lib/shardwright/" MODULE_FILE};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        const char *path = file_beside(program, places[i], arena);
        if (access(path, R_OK) == 0)
            return dlopen(path, RTLD_NOW | RTLD_LOCAL);
    }
    snprintf(reason, sizeof reason,
            "%s is not installed: build with SHARDWRIGHT_CUDA=ON on a machine with the CUDA "
            "toolkit",
            MODULE_FILE);
    return NULL;
}

static void load(void)
{
    struct arena arena = {0};
    void *handle = open_module(&arena);
    if (handle == NULL) {
        const char *why = reason[0] == '\0' ? dlerror() : NULL;
        if (reason[0] == '\0')
            snprintf(reason, sizeof reason, "the CUDA module cannot be loaded: %s",
                    why == NULL ? "unknown" : why);
        goto done;
    }
    const struct cuda_module *module = dlsym(handle, CUDA_MODULE_SYMBOL);
    if (module == NULL || module->version != CUDA_MODULE_VERSION) {
        snprintf(reason, sizeof reason,
                "the CUDA module is of another build (version %d, expected %d): install both "
                "together",
                module == NULL ? 0 : module->version, CUDA_MODULE_VERSION);
        dlclose(handle);
        goto done;
    }
    loaded = module;
done:
    arena_free(&arena);
}

static const struct cuda_module *find_module(struct err *err)
{
    pthread_once(&once, load);
    if (loaded == NULL)
        err_set(err, ERR_ENV, "%s", reason);
    return loaded;
}

bool dev_cuda_count(int *n, struct err *err)
{
    *n = 0;
    const struct cuda_module *module = find_module(err);
    if (module == NULL)
        return false;
    const char *why = module->count(n);
    return why == NULL
           || err_set(err, ERR_ENV, "no NVIDIA driver that can be used (%s): install or update it",
                   why);
}

const char *dev_cuda_describe(struct arena *arena)
{
    struct err err = {0};
    int n = 0;
    if (!dev_cuda_count(&n, &err))
        return arena_strdup(arena, err.text);
    if (n == 0)
        return "the driver is there, but no GPU";
    struct cuda_device_info info;
    const char *why = loaded->describe(&info, 0);
    if (why != NULL)
        return arena_strdup(arena, why);
    char memory[32];
    return arena_printf(arena, "%d x %s, %s, compute %d.%d", n, info.name,
            str_show_bytes(memory, (double)info.memory_bytes), info.major, info.minor);
}

struct dev_cuda *dev_cuda_open(int device, struct err *err)
{
    int n = 0;
    if (!dev_cuda_count(&n, err))
        return NULL;
    if (device < 0 || device >= n) {
        err_set(err, ERR_ENV, "GPU %d was asked for, but there are %d", device, n);
        return NULL;
    }
    struct dev_cuda *dev = calloc(1, sizeof *dev);
    if (dev == NULL) {
        err_set(err, ERR_ENV, "not enough memory");
        return NULL;
    }
    dev->module = loaded;
    const char *why = loaded->open(&dev->context, device);
    if (why != NULL) {
        err_set(err, ERR_ENV, "GPU %d: %s", device, why);
        free(dev);
        return NULL;
    }
    return dev;
}

void dev_cuda_close(struct dev_cuda *dev)
{
    if (dev == NULL)
        return;
    dev->module->close(dev->context);
    free(dev);
}

void *dev_cuda_alloc(struct dev_cuda *dev, int64_t bytes, struct err *err)
{
    void *memory = NULL;
    char size[32];
    const char *why = dev->module->allocate(dev->context, &memory, bytes);
    if (why != NULL) {
        err_set(err, ERR_ENV, "%s of GPU memory: %s", str_show_bytes(size, (double)bytes), why);
        return NULL;
    }
    return memory;
}

void dev_cuda_free(struct dev_cuda *dev, void *memory)
{
    if (memory != NULL)
        dev->module->release(dev->context, memory);
}

static bool check(const char *why, struct err *err)
{
    return why == NULL || err_set(err, ERR_ENV, "GPU: %s", why);
}

bool dev_cuda_upload(
        struct dev_cuda *dev, void *to, const void *from, int64_t bytes, struct err *err)
{
    return check(dev->module->upload(dev->context, to, from, bytes), err);
}

bool dev_cuda_download(
        struct dev_cuda *dev, void *to, const void *from, int64_t bytes, struct err *err)
{
    return check(dev->module->download(dev->context, to, from, bytes), err);
}

bool dev_cuda_available(struct dev_cuda *dev, int64_t *bytes, struct err *err)
{
    return check(dev->module->available(dev->context, bytes), err);
}

const char *dev_cuda_products(struct dev_cuda *dev)
{
    return dev->module->products(dev->context);
}

bool dev_cuda_prefer(struct dev_cuda *dev, const struct algorithm_book *book, struct err *err)
{
    struct algorithm_site here;

    if (!check(dev->module->site(dev->context, &here), err))
        return false;
    for (int64_t i = 0; i < book->n; i++)
        if (algorithm_same_site(&book->items[i].site, &here))
            dev->module->prefer(dev->context, &book->items[i].algorithm);
    return true;
}

bool dev_cuda_collect(struct dev_cuda *dev, struct algorithm_book *book, struct err *err)
{
    struct algorithm_site here;
    struct algorithm found;

    if (!check(dev->module->site(dev->context, &here), err))
        return false;
    for (int i = 0; dev->module->timed(dev->context, i, &found); i++)
        algorithm_note(book, &here, &found);
    return true;
}

bool dev_cuda_stage(
        struct dev_cuda *dev, void *to, const void *from, int64_t bytes, struct err *err)
{
    return check(dev->module->stage(dev->context, to, from, bytes), err);
}

bool dev_cuda_add(struct dev_cuda *dev, float *y, const float *x, int64_t n, struct err *err)
{
    return check(dev->module->add(dev->context, y, x, n), err);
}

bool dev_cuda_gather(struct dev_cuda *dev, float *out, const float *x, const int32_t *rows,
        int64_t n, int64_t cols, struct err *err)
{
    return check(dev->module->gather(dev->context, out, x, rows, n, cols), err);
}

bool dev_cuda_record(struct dev_cuda *dev, struct err *err)
{
    return check(dev->module->record(dev->context), err);
}

bool dev_cuda_recorded(struct dev_cuda *dev, struct cuda_graph **out, struct err *err)
{
    return check(dev->module->recorded(dev->context, out), err);
}

bool dev_cuda_replay(struct dev_cuda *dev, struct cuda_graph *graph, struct err *err)
{
    return check(dev->module->replay(dev->context, graph), err);
}

void dev_cuda_forget(struct dev_cuda *dev, struct cuda_graph *graph)
{
    dev->module->forget(graph);
}

bool dev_cuda_run(
        struct dev_cuda *dev, const struct op *op, const struct op_args *args, struct err *err)
{
    char shown[160];
    return check(dev->module->run(dev->context, op, args), err)
           || err_context(err, "%s", op_show(shown, op));
}

bool dev_cuda_synchronize(struct dev_cuda *dev, struct err *err)
{
    return check(dev->module->synchronize(dev->context), err);
}

bool dev_cuda_poll(struct dev_cuda *dev, bool *idle, struct err *err)
{
    return check(dev->module->poll(dev->context, idle), err);
}

void *dev_cuda_stream(struct dev_cuda *dev)
{
    return dev->module->stream(dev->context);
}

bool dev_cuda_time_begin(struct dev_cuda *dev, struct err *err)
{
    return check(dev->module->mark(dev->context, 0), err);
}

bool dev_cuda_time_end(struct dev_cuda *dev, double *us, struct err *err)
{
    return check(dev->module->mark(dev->context, 1), err)
           && check(dev->module->elapsed(dev->context, us), err);
}
