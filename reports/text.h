/*
 * text - a growing text in an arena, and the three ways a report quotes: HTML, CSV and XML.
 */
#ifndef REPORTS_TEXT_H
#define REPORTS_TEXT_H

#include <stdint.h>

#include "core/arena.h"

struct text {
    struct arena *arena;
    char *data; /* NUL-terminated; NULL while empty */
    int64_t len, cap;
};

void text_add(struct text *text, const char *piece);
void text_add_n(struct text *text, const char *piece, int64_t len);
void text_printf(struct text *text, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* & < > " ' as entities, control characters as U+FFFD: safe between tags and in attributes, in HTML and
 * in XML. NULL adds nothing. */
void text_html(struct text *text, const char *piece);
/* RFC 4180: quoted only where it must be. */
void text_csv(struct text *text, const char *piece);
/* The shortest decimal that reads back as the same double; nothing for NaN and infinity. */
void text_number(struct text *text, double value);

#endif
