#include "core/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Nothing that is read whole is larger; weights are mapped, not read. */
#define MOST_BYTES ((int64_t)1 << 31)

static enum err_kind kind_of(int error)
{
    switch (error) {
    case ENOENT:
    case EISDIR:
    case ENOTDIR:
    case EACCES:
    case ELOOP:
    case ENAMETOOLONG:
        return ERR_INPUT;
    default:
        return ERR_ENV;
    }
}

static const char *advice(int error)
{
    switch (error) {
    case ENOENT:
        return "; check the name";
    case EACCES:
        return "; check its permissions";
    case EISDIR:
        return "; give a file";
    case ENOSPC:
    case EDQUOT:
        return "; free some space or write elsewhere";
    default:
        return "";
    }
}

static bool fail(struct err *err, const char *path, const char *verb)
{
    int error = errno;
    return err_set(
            err, kind_of(error), "%s: cannot %s: %s%s", path, verb, strerror(error), advice(error));
}

/* Reads to the end of fd into a malloc'd text that is always one byte longer than len. */
static bool drain(char **text, int64_t *len, int fd, const char *path, struct err *err)
{
    int64_t room = 1 << 16;
    int64_t used = 0;
    char *bytes = malloc((size_t)room);
    while (bytes != NULL) {
        ssize_t n = read(fd, bytes + used, (size_t)(room - used - 1));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            free(bytes);
            return fail(err, path, "read");
        }
        if (n == 0)
            break;
        used += n;
        if (used > MOST_BYTES) {
            free(bytes);
            return err_set(err, ERR_INPUT, "%s: is larger than 2GiB, expected a text file", path);
        }
        if (used + 1 == room) {
            room *= 2;
            char *more = realloc(bytes, (size_t)room);
            if (more == NULL)
                free(bytes);
            bytes = more;
        }
    }
    if (bytes == NULL)
        return err_set(err, ERR_ENV, "%s: not enough memory to read it", path);
    bytes[used] = '\0';
    *text = bytes;
    *len = used;
    return true;
}

bool file_read(char **text, int64_t *len, const char *path, struct arena *arena, struct err *err)
{
    bool is_stdin = strcmp(path, "-") == 0;
    int fd = is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return fail(err, path, "open");
    char *bytes = NULL;
    bool ok = drain(&bytes, len, fd, is_stdin ? "stdin" : path, err);
    if (!is_stdin)
        close(fd);
    if (!ok)
        return false;
    *text = arena_strndup(arena, bytes, *len);
    free(bytes);
    return true;
}

static bool write_all(int fd, const char *text, int64_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, text, (size_t)(len < (1 << 30) ? len : 1 << 30));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return false;
        text += n;
        len -= n;
    }
    return true;
}

/* A device, pipe or socket cannot be replaced by a rename: it is written in place. */
static bool is_special(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode);
}

static bool write_in_place(int fd, const char *path, const char *text, int64_t len, struct err *err)
{
    return write_all(fd, text, len) || fail(err, path, "write");
}

/* The new name reaches the disk with the directory. */
static void sync_directory(const char *path)
{
    struct arena arena = {0};
    int fd = open(file_beside(path, ".", &arena), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        fsync(fd); /* some file systems cannot; the data itself was synced */
        close(fd);
    }
    arena_free(&arena);
}

static bool write_beside(const char *path, const char *text, int64_t len, struct err *err)
{
    char beside[PATH_MAX];
    int n = snprintf(beside, sizeof beside, "%s.new-%ld", path, (long)getpid());
    if (n < 0 || n >= (int)sizeof beside)
        return err_set(err, ERR_INPUT, "%.200s...: the path is too long", path);
    int fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0)
        return fail(err, path, "create");
    bool ok = write_all(fd, text, len) && fsync(fd) == 0;
    int error = errno;
    ok = close(fd) == 0 && ok;
    if (ok && rename(beside, path) == 0) {
        sync_directory(path);
        return true;
    }
    if (ok)
        error = errno;
    unlink(beside);
    errno = error;
    return fail(err, path, "write");
}

bool file_write(const char *path, const char *text, int64_t len, struct err *err)
{
    if (strcmp(path, "-") == 0) {
        fflush(stdout); /* keep the order of what was printed before */
        return write_in_place(STDOUT_FILENO, "stdout", text, len, err);
    }
    if (!is_special(path))
        return write_beside(path, text, len, err);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return fail(err, path, "open");
    bool ok = write_in_place(fd, path, text, len, err);
    close(fd);
    return ok;
}

bool file_make_dirs(const char *path, struct err *err)
{
    struct arena arena = {0};
    char *part = arena_strdup(&arena, path);
    bool ok = true;
    for (char *p = part; ok && *p != '\0'; p++) {
        if (p[1] != '/' && p[1] != '\0')
            continue;
        char next = p[1];
        p[1] = '\0';
        ok = mkdir(part, 0777) == 0 || errno == EEXIST || errno == EISDIR;
        p[1] = next;
    }
    struct stat st;
    if (!ok)
        fail(err, path, "create the directory");
    else if (stat(path, &st) != 0 || !S_ISDIR(st.st_mode))
        ok = err_set(err, ERR_INPUT, "%s: is not a directory, expected one", path);
    arena_free(&arena);
    return ok;
}

const char *file_beside(const char *path, const char *name, struct arena *arena)
{
    const char *slash = strrchr(path, '/');
    if (name[0] == '/' || slash == NULL)
        return arena_strdup(arena, name);
    return arena_printf(arena, "%.*s/%s", (int)(slash - path), path, name);
}

static bool has_models(const char *dir)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/models", dir);
    return access(path, R_OK | X_OK) == 0;
}

const char *file_data_dir(const char *override, struct arena *arena)
{
    if (override != NULL)
        return arena_strdup(arena, override);
    char program[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
    if (n > 0) {
        program[n] = '\0';
        /* installed: bin/shardwright beside share/shardwright */
        const char *dir = file_beside(program, "../share/shardwright", arena);
        if (has_models(dir))
            return dir;
    }
    return SHARDWRIGHT_SOURCE_DIR;
}
