#include "cli/software.h"

#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "kernels/dev_cuda.h"

const char *const software_state_names[] = {"here", "missing", "not needed", NULL};

/* A symbol as a function: POSIX promises the conversion, ISO C has no cast for it. */
#define FUNCTION(out, handle, name) (*(void **)&(out) = dlsym((handle), (name)))

struct probe {
    struct software *items;
    int n;
    struct arena *arena;
};

static void add(struct probe *p, const char *name, const char *role, const char *version,
        enum software_state otherwise, const char *hint)
{
    p->items[p->n++] = (struct software){
            .name = name,
            .role = role,
            .state = version ? SOFTWARE_HERE : otherwise,
            .version = version ? version : "",
            .hint = version ? "" : hint,
    };
}

/* First line that a program prints, NULL when it is not there or fails. Only fixed command lines. */
static const char *first_line(struct arena *arena, const char *command)
{
    char text[256];
    FILE *pipe = popen(command, "r"); /* NOLINT(cert-env33-c): fixed command lines */
    if (!pipe)
        return NULL;
    char *got = fgets(text, sizeof text, pipe);
    while (fgetc(pipe) != EOF)
        continue;
    bool ok = pclose(pipe) == 0 && got;
    text[strcspn(text, "\n")] = '\0';
    return ok && *text ? arena_strdup(arena, text) : NULL;
}

/* Version text of a library that is linked into this program; NULL when it is not. */
static const char *linked_text(struct arena *arena, const char *symbol)
{
    const char *(*version)(void) = NULL;
    void *self = dlopen(NULL, RTLD_LAZY);
    if (!self)
        return NULL;
    FUNCTION(version, self, symbol);
    const char *text = version ? arena_strdup(arena, version()) : NULL;
    dlclose(self);
    return text;
}

static const char *mpi_version(struct arena *arena)
{
    int (*version)(char *, int *) = NULL;
    char text[8192] = ""; /* MPI_MAX_LIBRARY_VERSION_STRING is 256 to 8192 */
    int len = 0;
    void *self = dlopen(NULL, RTLD_LAZY);
    if (!self)
        return NULL;
    FUNCTION(version, self, "MPI_Get_library_version");
    const char *found = NULL;
    if (version && version(text, &len) == 0) {
        text[strcspn(text, ",\n\t")] = '\0';
        found = arena_strdup(arena, text);
    }
    dlclose(self);
    return found;
}

static const char *cuda_driver(struct arena *arena)
{
    int (*version)(int *) = NULL;
    int value = 0;
    void *lib = dlopen("libcuda.so.1", RTLD_LAZY);
    if (!lib)
        return NULL;
    FUNCTION(version, lib, "cuDriverGetVersion");
    const char *text = NULL;
    if (version && version(&value) == 0)
        text = arena_printf(arena, "CUDA %d.%d", value / 1000, value % 1000 / 10);
    dlclose(lib);
    return text;
}

static const char *nccl_version(struct arena *arena)
{
    int (*version)(int *) = NULL;
    int value = 0;
    void *lib = dlopen("libnccl.so.2", RTLD_LAZY);
    if (!lib)
        return NULL;
    FUNCTION(version, lib, "ncclGetVersion");
    const char *text = NULL;
    if (version && version(&value) == 0)
        text = arena_printf(arena, "%d.%d.%d", value / 10000, value % 10000 / 100, value % 100);
    dlclose(lib);
    return text;
}

static const char *cupti_version(struct arena *arena)
{
    static const char *const names[] = {"libcupti.so", "libcupti.so.13", "libcupti.so.12",
            "/usr/local/cuda/extras/CUPTI/lib64/libcupti.so", "/usr/local/cuda/lib64/libcupti.so"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        int (*version)(uint32_t *) = NULL;
        uint32_t value = 0;
        /* CUPTI leaks what its constructors allocated when it is unloaded. */
        void *lib = dlopen(names[i], RTLD_LAZY | RTLD_NODELETE);
        if (!lib)
            continue;
        FUNCTION(version, lib, "cuptiGetVersion");
        bool ok = version && version(&value) == 0;
        dlclose(lib);
        if (ok)
            return arena_printf(arena, "API %u", value);
    }
    return NULL;
}

static const char *cuda_toolkit(struct arena *arena)
{
    const char *line = first_line(arena,
            "{ nvcc --version || /usr/local/cuda/bin/nvcc --version; } 2>/dev/null | grep release");
    const char *release = line ? strstr(line, "release ") : NULL;
    return release ? release + strlen("release ") : NULL;
}

static const char *readable(struct arena *arena, const char *path)
{
    return access(path, R_OK) == 0 ? arena_strdup(arena, path) : NULL;
}

static void add_mpi(struct probe *p)
{
    const char *library = mpi_version(p->arena);
    add(p, "MPI", "ranks and what they exchange", library, SOFTWARE_MISSING,
            "apt install libopenmpi-dev openmpi-bin, then build again");
    const char *launcher = first_line(p->arena, "{ mpirun --version | head -n1; } 2>/dev/null");
    add(p, "MPI launcher", "starts more than one rank", launcher, SOFTWARE_MISSING,
            "apt install openmpi-bin");
}

static void add_gpu(struct probe *p, bool gpu)
{
    enum software_state otherwise = gpu ? SOFTWARE_MISSING : SOFTWARE_OPTIONAL;
    add(p, "CUDA driver", "runs on NVIDIA GPUs", cuda_driver(p->arena), otherwise,
            "apt install nvidia-driver (non-free)");
    add(p, "CUDA toolkit", "builds the GPU kernels", cuda_toolkit(p->arena), otherwise,
            "apt install nvidia-cuda-toolkit (non-free), or NVIDIA's packages");
    int gpus = 0;
    struct err why = {0};
    bool usable = dev_cuda_count(&gpus, &why) && gpus > 0;
    add(p, "GPUs", "devices of kind cuda", usable ? dev_cuda_describe(p->arena) : NULL, otherwise,
            usable || why.kind == ERR_NONE ? "none in this machine"
                                           : arena_strdup(p->arena, why.text));
    add(p, "NCCL", "GPU collectives", nccl_version(p->arena), otherwise,
            "apt install libnccl-dev (non-free), or NVIDIA's packages");
    add(p, "CUPTI", "times GPU kernels", cupti_version(p->arena), otherwise,
            "apt install libcupti-dev (non-free), or NVIDIA's packages");
}

struct software *software_probe(int *n, bool gpu, struct arena *arena)
{
    enum {
        MOST = 24
    };
    struct probe p = {ARENA_NEW(arena, struct software, MOST), 0, arena};

    add_mpi(&p);
    add(&p, "GLPK", "solves the placement", linked_text(arena, "glp_version"), SOFTWARE_MISSING,
            "apt install libglpk-dev, then build again");
    add(&p, "SQLite", "keeps costs and runs", linked_text(arena, "sqlite3_libversion"),
            SOFTWARE_MISSING, "apt install libsqlite3-dev, then build again");
    add(&p, "libyaml", "reads inputs", linked_text(arena, "yaml_get_version_string"),
            SOFTWARE_MISSING, "apt install libyaml-dev, then build again");
    add(&p, "jansson", "reads models", linked_text(arena, "jansson_version_str"), SOFTWARE_MISSING,
            "apt install libjansson-dev, then build again");
    add_gpu(&p, gpu);
    add(&p, "CBC", "another solver, by plan --export-lp",
            first_line(arena, "command -v cbc 2>/dev/null"), SOFTWARE_OPTIONAL,
            "apt install coinor-cbc");
    add(&p, "Chromium", "tests of the report page", readable(arena, "/usr/bin/chromium"),
            SOFTWARE_OPTIONAL, "apt install chromium");
    *n = p.n;
    return p.items;
}
