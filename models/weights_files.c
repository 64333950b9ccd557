/*
 * weights_files - the files of a checkpoint: one, or shards that an index names.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/file.h"
#include "core/json.h"
#include "models/safetensors.h"
#include "models/weights_state.h"

static bool map_file(struct weights *w, const char *name, struct err *err)
{
    const char *path = arena_printf(&w->arena, "%s/%s", w->dir, name);
    struct safetensors_entry *entries;
    struct stat st;
    int64_t n;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0 || fstat(fd, &st) != 0) {
        err_set(err, ERR_INPUT, "%s: %s", path, strerror(errno));
        if (fd >= 0)
            close(fd);
        return false;
    }
    struct mapping *m = &w->mappings[w->n_mappings];
    m->name = name;
    m->bytes = st.st_size;
    m->base = st.st_size > 0 ? mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0) : NULL;
    close(fd);
    if (m->base == MAP_FAILED) {
        m->base = NULL;
        return err_set(err, ERR_ENV, "%s: cannot be mapped: %s", path, strerror(errno));
    }
    w->n_mappings++;
    if (!safetensors_read(&entries, &n, m->base, m->bytes, path, &w->arena, err))
        return false;
    if (w->n + n > w->cap) {
        w->cap = 2 * w->cap + n;
        w->tensors = arena_grow(&w->arena, w->tensors, w->n, w->cap, sizeof(*w->tensors));
    }
    for (int64_t i = 0; i < n; i++) {
        struct named *t = &w->tensors[w->n++];
        t->name = entries[i].name;
        t->file = m->name;
        t->tensor.dtype = entries[i].dtype;
        t->tensor.n_dims = entries[i].n_dims;
        memcpy(t->tensor.dim, entries[i].dim, sizeof(t->tensor.dim));
        t->tensor.data = (const char *)m->base + entries[i].begin;
    }
    return true;
}

/* A shard must be a plain name in the same directory. */
static bool shard_name_ok(const char *name)
{
    size_t n = strlen(name);
    return n > 12 && n < 200 && strcmp(name + n - 12, ".safetensors") == 0 && !strchr(name, '/')
           && name[0] != '.';
}

static int text_order(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Maps the shards that the index names, each once. */
static bool map_shards(
        struct weights *w, const struct json_node *map, const char *path, struct err *err)
{
    int64_t n = json_count(map), files = 0;
    const char **names = ARENA_NEW(&w->arena, const char *, n + 1);

    for (void *m = json_first(map); m; m = json_next(map, m)) {
        const char *tensor;
        const char *file = json_text(json_member_value(m, &tensor), "");
        if (!shard_name_ok(file))
            return err_set(err, ERR_INPUT,
                    "%s: tensor %s is said to be in \"%s\", expected the name of a .safetensors "
                    "file in the same "
                    "directory",
                    path, tensor, file);
        names[files++] = file;
    }
    qsort(names, (size_t)files, sizeof(*names), text_order);
    w->mappings = ARENA_NEW(&w->arena, struct mapping, files);
    for (int64_t i = 0; i < files; i++)
        if (i == 0 || strcmp(names[i], names[i - 1]) != 0)
            if (!map_file(w, arena_strdup(&w->arena, names[i]), err))
                return false;
    return true;
}

/* Tensors and index agree: each tensor once, in the file that the index names. */
static bool index_agrees(
        struct weights *w, const struct json_node *map, const char *path, struct err *err)
{
    for (int64_t i = 0; i < w->n; i++) {
        const char *file = json_text(json_get(map, w->tensors[i].name), NULL);
        if (!file || strcmp(file, w->tensors[i].file) != 0)
            return err_set(err, ERR_INPUT, "%s: tensor %s is in %s, the index says %s", path,
                    w->tensors[i].name, w->tensors[i].file, file ? file : "nothing of it");
    }
    if (w->n == json_count(map))
        return true;
    for (void *m = json_first(map); m; m = json_next(map, m)) {
        const char *name;
        json_member_value(m, &name);
        if (!weights_find(w, name))
            return err_set(err, ERR_INPUT, "%s: tensor %s is in none of the files", path, name);
    }
    return true;
}

static bool sort_tensors(struct weights *w, struct err *err)
{
    if (w->n > 0)
        qsort(w->tensors, (size_t)w->n, sizeof(*w->tensors), weights_by_name);
    for (int64_t i = 1; i < w->n; i++)
        if (strcmp(w->tensors[i].name, w->tensors[i - 1].name) == 0)
            return err_set(err, ERR_INPUT, "%s: tensor %s is in %s and in %s", w->dir,
                    w->tensors[i].name, w->tensors[i - 1].file, w->tensors[i].file);
    return true;
}

static bool open_index(struct weights *w, const char *path, struct err *err)
{
    char *text;
    int64_t len;

    if (!file_read(&text, &len, path, &w->arena, err))
        return false;
    struct json *doc = json_read(text, len, path, err);
    if (!doc)
        return false;
    const struct json_node *map = json_get(json_root(doc), "weight_map");
    bool ok = json_kind(map) == JSON_KIND_OBJECT
              || err_set(err, ERR_INPUT, "%s: no object weight_map", path);
    ok = ok && map_shards(w, map, path, err) && sort_tensors(w, err)
         && index_agrees(w, map, path, err);
    json_close(doc);
    return ok;
}

bool weights_map(struct weights *w, struct err *err)
{
    const char *single = arena_printf(&w->arena, "%s/model.safetensors", w->dir);
    const char *index = arena_printf(&w->arena, "%s/model.safetensors.index.json", w->dir);

    if (access(single, F_OK) == 0) {
        w->mappings = ARENA_NEW(&w->arena, struct mapping, 1);
        return map_file(w, "model.safetensors", err) && sort_tensors(w, err);
    }
    if (access(index, F_OK) == 0)
        return open_index(w, index, err);
    return err_set(err, ERR_INPUT,
            "%s: neither model.safetensors nor model.safetensors.index.json is there; expected the "
            "directory of a "
            "complete checkpoint (`shardwright weights` makes one)",
            w->dir);
}
