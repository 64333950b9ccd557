#include "cli/child.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    TAIL_BYTES = 700
};

/* What the child wrote last, without its trailing newlines. */
static const char *tail_of(FILE *file, struct arena *arena)
{
    char *tail = arena_alloc(arena, TAIL_BYTES + 1);
    if (fseek(file, -TAIL_BYTES, SEEK_END) != 0)
        rewind(file);
    size_t len = fread(tail, 1, TAIL_BYTES, file);
    while (len > 0 && (tail[len - 1] == '\n' || tail[len - 1] == ' '))
        len--;
    tail[len] = '\0';
    return tail;
}

static bool read_all(char **out, int64_t *len, int from, struct arena *arena, struct err *err)
{
    int64_t cap = 65536;
    *out = arena_alloc(arena, cap);
    *len = 0;
    for (;;) {
        if (*len + 1 == cap) {
            *out = arena_grow(arena, *out, *len, 2 * cap, 1);
            cap *= 2;
        }
        const ssize_t n = read(from, *out + *len, (size_t)(cap - *len - 1));
        if (n == 0)
            return true;
        if (n < 0 && errno != EINTR)
            return err_set(err, ERR_ENV, "reading what a child printed: %s", strerror(errno));
        if (n > 0)
            *len += n;
    }
}

static bool judge(
        int status, char *const argv[], FILE *errors, struct arena *arena, struct err *err)
{
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return true;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
        return err_set(err, ERR_ENV, "%s: cannot be run: %s", argv[0], tail_of(errors, arena));
    enum err_kind kind = ERR_ENV;
    if (WIFEXITED(status)
            && (WEXITSTATUS(status) <= ERR_INCONCLUSIVE || WEXITSTATUS(status) == ERR_BUSY))
        kind = (enum err_kind)WEXITSTATUS(status);
    /* The answer "no" is the caller's to give. */
    if (kind == ERR_NO)
        kind = ERR_INPUT;
    if (WIFSIGNALED(status))
        return err_set(err, kind, "%s %s: killed by signal %d; it said: %s", argv[0],
                argv[1] != NULL ? argv[1] : "", WTERMSIG(status), tail_of(errors, arena));
    return err_set(err, kind, "%s %s: ended with status %d; it said: %s", argv[0],
            argv[1] != NULL ? argv[1] : "", WEXITSTATUS(status), tail_of(errors, arena));
}

static _Noreturn void become(char *const argv[], int out, int errors)
{
    if (dup2(out, STDOUT_FILENO) >= 0 && dup2(errors, STDERR_FILENO) >= 0)
        execvp(argv[0], argv);
    const char *why = strerror(errno);
    const ssize_t written = write(STDERR_FILENO, why, strlen(why));
    _exit(written < 0 ? 126 : 127);
}

bool child_run(char **out, int64_t *len, char *const argv[], struct arena *arena, struct err *err)
{
    bool ok = false;
    int ends[2] = {-1, -1}, status = 0;
    /* Errors go through a file: nobody needs to read two pipes at once. */
    FILE *errors = tmpfile();
    if (errors == NULL || pipe(ends) != 0) {
        err_set(err, ERR_ENV, "starting %s: %s", argv[0], strerror(errno));
        goto done;
    }
    fflush(NULL);
    const pid_t child = fork();
    if (child < 0) {
        err_set(err, ERR_ENV, "starting %s: %s", argv[0], strerror(errno));
        goto done;
    }
    if (child == 0) {
        close(ends[0]);
        become(argv, ends[1], fileno(errors));
    }
    close(ends[1]);
    ends[1] = -1;
    ok = read_all(out, len, ends[0], arena, err);
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        continue;
    ok = ok && judge(status, argv, errors, arena, err);
done:
    for (int i = 0; i < 2; i++)
        if (ends[i] >= 0)
            close(ends[i]);
    if (errors != NULL)
        fclose(errors);
    return ok;
}
