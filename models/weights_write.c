/*
 * weights_write - a seeded random checkpoint. Every file is written beside its name by several threads, each
 * making and writing its own blocks; names are given at the end, that of the index (or the only file) last,
 * after what an older checkpoint would need to open was taken away.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "core/file.h"
#include "core/json.h"
#include "core/str.h"
#include "models/safetensors.h"
#include "models/weights_random.h"

enum {
    BLOCK_BYTES = 4 << 20,
    MAX_THREADS = 8
};

struct shard {
    int64_t first, end; /* tensors */
    int64_t bytes;      /* of data */
    int64_t header_bytes;
    char *header;
    const char *name, *path, *temp;
};

struct job {
    const struct model *model;
    const char *dir;
    const struct weights_options *options;
    struct tensor_spec *specs;
    int64_t *begin; /* of each tensor, in the data of its shard */
    int64_t n;
    struct shard *shards;
    int n_shards;
    int64_t total_bytes;
    struct arena *arena;
    /* the shard being written */
    struct shard *shard;
    int fd;
    atomic_llong next_block, done_bytes;
    atomic_int failed; /* errno of the first failure */
};

static int64_t tensor_bytes(const struct job *job, int64_t i)
{
    return safetensors_elements(job->specs[i].dim, job->specs[i].n_dims)
           * dtype_bytes(job->options->dtype);
}

int64_t weights_bytes(const struct model *model, enum dtype dtype)
{
    struct model_facts facts;
    model_facts(&facts, model);
    return facts.total_params * dtype_bytes(dtype);
}

/* ---- layout ---- */

static void lay_out(struct job *job)
{
    struct shard *shard = NULL;
    int64_t most = job->options->shard_bytes;

    job->begin = ARENA_NEW(job->arena, int64_t, job->n);
    job->shards = ARENA_NEW(job->arena, struct shard, job->n);
    for (int64_t i = 0; i < job->n; i++) {
        int64_t bytes = tensor_bytes(job, i);
        if (!shard || (most > 0 && shard->bytes > 0 && shard->bytes + bytes > most)) {
            shard = &job->shards[job->n_shards++];
            shard->first = i;
        }
        job->begin[i] = shard->bytes;
        shard->bytes += bytes;
        shard->end = i + 1;
        job->total_bytes += bytes;
    }
    for (int i = 0; i < job->n_shards; i++) {
        shard = &job->shards[i];
        shard->name = job->n_shards == 1
                              ? "model.safetensors"
                              : arena_printf(job->arena, "model-%05d-of-%05d.safetensors", i + 1,
                                      job->n_shards);
        shard->path = arena_printf(job->arena, "%s/%s", job->dir, shard->name);
        shard->temp = arena_printf(job->arena, "%s.part", shard->path);
    }
}

/* Length and JSON, padded with spaces so that the data starts at a multiple of 64. */
static void make_header(struct job *job, struct shard *shard)
{
    struct json_writer w = {0};

    json_object_begin(&w, NULL);
    json_object_begin(&w, "__metadata__");
    json_put_string(&w, "format", "pt");
    json_end(&w);
    for (int64_t i = shard->first; i < shard->end; i++) {
        const struct tensor_spec *spec = &job->specs[i];
        json_object_begin(&w, spec->name);
        json_put_string(&w, "dtype", safetensors_dtype(job->options->dtype));
        json_array_begin(&w, "shape");
        for (int d = 0; d < spec->n_dims; d++)
            json_put_int(&w, NULL, spec->dim[d]);
        json_end(&w);
        json_array_begin(&w, "data_offsets");
        json_put_int(&w, NULL, job->begin[i]);
        json_put_int(&w, NULL, job->begin[i] + tensor_bytes(job, i));
        json_end(&w);
        json_end(&w);
    }
    json_end(&w);

    int64_t whole = (8 + w.len + 63) / 64 * 64, len = whole - 8;
    shard->header = arena_alloc(job->arena, whole);
    shard->header_bytes = whole;
    memset(shard->header, ' ', (size_t)whole);
    for (int i = 0; i < 8; i++)
        shard->header[i] = (char)((uint64_t)len >> (8 * i) & 0xff);
    memcpy(shard->header + 8, w.text, (size_t)w.len);
    json_writer_free(&w);
}

/* ---- data ---- */

/* errno, or 0. */
static int write_at(int fd, const char *data, int64_t bytes, int64_t at)
{
    while (bytes > 0) {
        ssize_t n = pwrite(fd, data, (size_t)bytes, (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? errno : ENOSPC;
        data += n;
        at += n;
        bytes -= n;
    }
    return 0;
}

/* The last tensor that begins at or before `at`. */
static int64_t tensor_at(const struct job *job, int64_t at)
{
    int64_t lo = job->shard->first, hi = job->shard->end - 1;

    while (lo < hi) {
        int64_t mid = (lo + hi + 1) / 2;
        if (job->begin[mid] <= at)
            lo = mid;
        else
            hi = mid - 1;
    }
    return lo;
}

/* Data bytes [at, at + bytes) of the shard. */
static void make_block(const struct job *job, char *out, int64_t at, int64_t bytes)
{
    int64_t size = dtype_bytes(job->options->dtype);

    for (int64_t i = tensor_at(job, at); bytes > 0; i++) {
        struct random_tensor random = random_tensor(&job->specs[i], job->model, job->options->seed);
        int64_t first = (at - job->begin[i]) / size;
        int64_t part = job->begin[i] + tensor_bytes(job, i) - at;
        if (part > bytes)
            part = bytes;
        if (job->options->dtype == DTYPE_BF16)
            random_bf16((uint16_t *)(void *)out, &random, first, part / size);
        else if (job->options->dtype == DTYPE_F16)
            random_f16((uint16_t *)(void *)out, &random, first, part / size);
        else
            random_f32((float *)(void *)out, &random, first, part / size);
        out += part;
        at += part;
        bytes -= part;
    }
}

static void write_blocks(struct job *job, bool reports)
{
    char *block = malloc(BLOCK_BYTES);
    int failed = block ? 0 : ENOMEM;

    while (!failed && atomic_load(&job->failed) == 0) {
        int64_t at = (int64_t)atomic_fetch_add(&job->next_block, 1) * BLOCK_BYTES;
        if (at >= job->shard->bytes)
            break;
        int64_t bytes = job->shard->bytes - at < BLOCK_BYTES ? job->shard->bytes - at : BLOCK_BYTES;
        make_block(job, block, at, bytes);
        failed = write_at(job->fd, block, bytes, job->shard->header_bytes + at);
        int64_t done = (int64_t)atomic_fetch_add(&job->done_bytes, bytes) + bytes;
        if (reports && !failed && job->options->progress)
            job->options->progress(job->options->self, done, job->total_bytes);
    }
    if (failed)
        atomic_store(&job->failed, failed);
    free(block);
}

static void *worker(void *arg)
{
    write_blocks(arg, false);
    return NULL;
}

static int n_workers(void)
{
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    return cpus < 1 ? 1 : cpus > MAX_THREADS ? MAX_THREADS : (int)cpus;
}

static bool write_shard(struct job *job, struct shard *shard, struct err *err)
{
    pthread_t threads[MAX_THREADS];
    int n = 0, workers = n_workers();
    char size[32];

    job->shard = shard;
    atomic_store(&job->next_block, 0);
    job->fd = open(shard->temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (job->fd < 0)
        return err_set(err, ERR_ENV, "%s: %s", shard->temp, strerror(errno));
    int failed = write_at(job->fd, shard->header, shard->header_bytes, 0);
    atomic_store(&job->failed, failed);
    while (!failed && n < workers - 1 && pthread_create(&threads[n], NULL, worker, job) == 0)
        n++;
    if (!failed)
        write_blocks(job, true);
    for (int i = 0; i < n; i++)
        pthread_join(threads[i], NULL);
    failed = atomic_load(&job->failed);
    if (!failed && fsync(job->fd) != 0)
        failed = errno;
    if (close(job->fd) != 0 && !failed)
        failed = errno;
    if (!failed)
        return true;
    return err_set(err, ERR_ENV,
            "%s: %s; the checkpoint takes %s in all, nothing of it was kept: make room or "
            "choose another "
            "directory",
            shard->temp, strerror(failed), str_show_bytes(size, (double)job->total_bytes));
}

/* ---- names ---- */

static bool write_index(struct job *job, struct err *err)
{
    struct json_writer w = {.pretty = true};
    const char *path = arena_printf(job->arena, "%s/model.safetensors.index.json", job->dir);

    json_object_begin(&w, NULL);
    json_object_begin(&w, "metadata");
    json_put_int(&w, "total_size", job->total_bytes);
    json_end(&w);
    json_object_begin(&w, "weight_map");
    for (int s = 0; s < job->n_shards; s++)
        for (int64_t i = job->shards[s].first; i < job->shards[s].end; i++)
            json_put_string(&w, job->specs[i].name, job->shards[s].name);
    json_end(&w);
    json_end(&w);
    bool ok = file_write(path, w.text, w.len, err);
    json_writer_free(&w);
    return ok;
}

static bool take_away(const char *path, struct err *err)
{
    if (unlink(path) == 0 || errno == ENOENT)
        return true;
    return err_set(err, ERR_ENV, "%s: cannot be replaced: %s", path, strerror(errno));
}

static bool give_names(struct job *job, const char *config, struct err *err)
{
    const char *single = arena_printf(job->arena, "%s/model.safetensors", job->dir);
    const char *index = arena_printf(job->arena, "%s/model.safetensors.index.json", job->dir);
    const char *path = arena_printf(job->arena, "%s/config.json", job->dir);

    if (!take_away(single, err) || !take_away(index, err)
            || !file_write(path, config, (int64_t)strlen(config), err))
        return false;
    for (int i = 0; i < job->n_shards; i++)
        if (rename(job->shards[i].temp, job->shards[i].path) != 0)
            return err_set(err, ERR_ENV, "%s: %s", job->shards[i].path, strerror(errno));
    if (job->n_shards > 1 && !write_index(job, err))
        return false;
    int fd = open(job->dir, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) { /* the names, too, shall survive a power cut; not every file system can do it */
        (void)fsync(fd);
        close(fd);
    }
    return true;
}

/* Better said before an hour of writing than after it. */
static bool room(const struct job *job, struct err *err)
{
    struct statvfs fs;
    char size[32], left[32];

    if (statvfs(job->dir, &fs) != 0)
        return true;
    double available = (double)fs.f_bavail * (double)fs.f_frsize;
    if (available >= (double)job->total_bytes)
        return true;
    return err_set(err, ERR_ENV,
            "%s: the checkpoint takes %s, only %s are free: make room or choose another "
            "directory",
            job->dir, str_show_bytes(size, (double)job->total_bytes),
            str_show_bytes(left, available));
}

bool weights_write(const struct model *model, const char *dir,
        const struct weights_options *options, struct err *err)
{
    bool ok = false;
    struct arena arena = {0};
    struct job job = {.model = model, .dir = dir, .options = options, .arena = &arena};
    char *config;

    if (!weights_dtype(options->dtype))
        return err_set(err, ERR_INPUT, "random weights are written as f32, bf16 or f16, not %s",
                dtype_names[options->dtype]);
    if (!weights_specs(&job.specs, &job.n, model, &arena, err)
            || !model_write_config(&config, model, options->dtype, &arena, err)
            || !file_make_dirs(dir, err))
        goto done;
    lay_out(&job);
    ok = room(&job, err);
    for (int i = 0; ok && i < job.n_shards; i++) {
        make_header(&job, &job.shards[i]);
        ok = write_shard(&job, &job.shards[i], err);
    }
    ok = ok && give_names(&job, config, err);
    if (ok && options->progress)
        options->progress(options->self, job.total_bytes, job.total_bytes);
    for (int i = 0; !ok && i < job.n_shards; i++)
        unlink(job.shards[i].temp);
done:
    arena_free(&arena);
    return ok;
}
