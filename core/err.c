#include "core/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

__attribute__((format(printf, 3, 0))) static void fill(
        struct err *err, enum err_kind kind, const char *fmt, va_list args)
{
    err->kind = kind;
    vsnprintf(err->text, sizeof err->text, fmt, args);
}

bool err_set(struct err *err, enum err_kind kind, const char *fmt, ...)
{
    if (err->kind != ERR_NONE)
        return false;
    va_list args;
    va_start(args, fmt);
    fill(err, kind, fmt, args);
    va_end(args);
    return false;
}

bool err_at(struct err *err, struct pos pos, const char *fmt, ...)
{
    if (err->kind != ERR_NONE)
        return false;
    va_list args;
    va_start(args, fmt);
    fill(err, ERR_INPUT, fmt, args);
    va_end(args);
    if (pos.path == NULL)
        return false;
    if (pos.line > 0 && pos.column > 0)
        return err_context(err, "%s:%d:%d", pos.path, pos.line, pos.column);
    if (pos.line > 0)
        return err_context(err, "%s:%d", pos.path, pos.line);
    return err_context(err, "%s", pos.path);
}

bool err_context(struct err *err, const char *fmt, ...)
{
    char text[sizeof err->text];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (n < 0)
        return false;
    size_t used = strlen(text);
    if (used + 2 >= sizeof text)
        return false; /* the context alone fills the room: the message below says more */
    memcpy(text + used, ": ", 2);
    used += 2;
    size_t rest = strnlen(err->text, sizeof text - used - 1);
    memcpy(text + used, err->text, rest);
    text[used + rest] = '\0';
    memcpy(err->text, text, used + rest + 1);
    return false;
}

void err_clear(struct err *err)
{
    err->kind = ERR_NONE;
    err->text[0] = '\0';
}
