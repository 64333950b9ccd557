#include "reports/text.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void reserve(struct text *text, int64_t more)
{
    const int64_t need = text->len + more + 1;
    if (need <= text->cap)
        return;
    int64_t cap = text->cap > 0 ? text->cap : 256;
    while (cap < need)
        cap *= 2;
    text->data = arena_grow(text->arena, text->data, text->len, cap, 1);
    text->cap = cap;
}

void text_add_n(struct text *text, const char *piece, int64_t len)
{
    reserve(text, len);
    memcpy(text->data + text->len, piece, (size_t)len);
    text->len += len;
    text->data[text->len] = '\0';
}

void text_add(struct text *text, const char *piece)
{
    text_add_n(text, piece, (int64_t)strlen(piece));
}

void text_printf(struct text *text, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    const int len = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    if (len < 0)
        return;
    reserve(text, len);
    va_start(args, fmt);
    vsnprintf(text->data + text->len, (size_t)len + 1, fmt, args);
    va_end(args);
    text->len += len;
}

static const char *entity(char c)
{
    switch (c) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '"':
        return "&quot;";
    case '\'':
        return "&#39;";
    default:
        break;
    }
    const unsigned char byte = (unsigned char)c;
    return (byte < 0x20 && c != '\n' && c != '\t') || byte == 0x7f ? "\xef\xbf\xbd" : NULL;
}

void text_html(struct text *text, const char *piece)
{
    if (piece == NULL)
        return;
    const char *from = piece;
    for (; *piece != '\0'; piece++) {
        const char *instead = entity(*piece);
        if (instead == NULL)
            continue;
        text_add_n(text, from, piece - from);
        text_add(text, instead);
        from = piece + 1;
    }
    text_add_n(text, from, piece - from);
}

void text_csv(struct text *text, const char *piece)
{
    if (piece == NULL)
        return;
    if (piece[strcspn(piece, ",\"\r\n")] == '\0') {
        text_add(text, piece);
        return;
    }
    text_add(text, "\"");
    for (const char *at = piece; *at != '\0'; at++) {
        if (*at == '"')
            text_add(text, "\"");
        text_add_n(text, at, 1);
    }
    text_add(text, "\"");
}

void text_number(struct text *text, double value)
{
    if (!isfinite(value))
        return;
    char buf[40];
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(buf, sizeof buf, "%.*g", digits, value);
        if (strtod(buf, NULL) == value)
            break;
    }
    text_add(text, buf);
}
