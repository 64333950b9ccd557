#include "reports/table.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/str.h"

struct cell *table_row(struct table *table)
{
    if (table->n_rows == table->cap) {
        const int64_t cap = table->cap > 0 ? 2 * table->cap : 16;
        table->cells = arena_grow(table->arena, table->cells, table->n_rows * table->n_columns,
                cap * table->n_columns, (int64_t)sizeof *table->cells);
        table->strong = arena_grow(
                table->arena, table->strong, table->n_rows, cap, (int64_t)sizeof *table->strong);
        table->cap = cap;
    }
    struct cell *row = table->cells + table->n_rows * table->n_columns;
    for (int i = 0; i < table->n_columns; i++)
        row[i] = (struct cell){NULL, (double)NAN};
    table->strong[table->n_rows] = false;
    table->n_rows++;
    return row;
}

void table_mark(struct table *table)
{
    table->strong[table->n_rows - 1] = true;
}

struct cell cell_text(const char *text)
{
    return (struct cell){text, (double)NAN};
}

struct cell cell_number(double number)
{
    return (struct cell){NULL, number};
}

static const char *group_thousands(const char *digits, struct arena *arena)
{
    const char *start = digits + (*digits == '-');
    const int whole = (int)strspn(start, "0123456789");
    char *out = arena_alloc(arena, (int64_t)strlen(digits) * 2 + 1), *to = out;
    if (start != digits)
        *to++ = '-';
    for (int i = 0; i < whole; i++) {
        if (i > 0 && (whole - i) % 3 == 0)
            *to++ = ',';
        *to++ = start[i];
    }
    memcpy(to, start + whole, strlen(start + whole) + 1);
    return out;
}

const char *number_show(double number, struct arena *arena)
{
    if (!isfinite(number))
        return "";
    if (number == 0)
        return "0";
    /* The exponent after rounding: 9.996 is 10.0, not 10.00. */
    char rounded[32];
    snprintf(rounded, sizeof rounded, "%.2e", number);
    const long exponent = strtol(strchr(rounded, 'e') + 1, NULL, 10);
    if (exponent < -6)
        return arena_strdup(arena, rounded);
    const int decimals = exponent >= 2 ? 0 : (int)(2 - exponent);
    return group_thousands(arena_printf(arena, "%.*f", decimals, number), arena);
}

const char *cell_show(const struct cell *cell, enum unit unit, struct arena *arena)
{
    if (cell->text != NULL)
        return cell->text;
    const double number = cell->number;
    if (!isfinite(number))
        return "";
    switch (unit) {
    case UNIT_TEXT:
    case UNIT_NUMBER:
    case UNIT_SHORT:
    case UNIT_S:
        return number_show(number, arena);
    case UNIT_ID:
        return arena_printf(arena, "%.0f", number);
    case UNIT_COUNT:
        return group_thousands(arena_printf(arena, "%.0f", number), arena);
    case UNIT_US:
        return number_show(number / 1e3, arena);
    case UNIT_BYTES:
        return number_show(number / (1 << 20), arena);
    case UNIT_FRAC:
        return arena_printf(arena, "%.1f", 100 * number);
    case UNIT_ERROR:
        return arena_printf(arena, "%+.1f", 100 * number);
    }
    return "";
}

const char *figure_show(double number, const char *unit, struct arena *arena)
{
    char buf[64];
    if (!isfinite(number))
        return "";
    if (unit != NULL && strcmp(unit, "count") == 0)
        return group_thousands(arena_printf(arena, "%.0f", number), arena);
    if (unit == NULL || unit[0] == '\0')
        return number_show(number, arena);
    if (strcmp(unit, "us") == 0)
        return arena_strdup(arena, str_show_us(buf, number));
    if (strcmp(unit, "B") == 0 || strcmp(unit, "bytes") == 0)
        return arena_strdup(arena, str_show_bytes(buf, number));
    if (strcmp(unit, "frac") == 0 || strcmp(unit, "fraction") == 0)
        return arena_printf(arena, "%.1f %%", 100 * number);
    if (strcmp(unit, "1/s") == 0)
        return arena_printf(arena, "%s /s", number_show(number, arena));
    return arena_printf(arena, "%s %s", number_show(number, arena), unit);
}
