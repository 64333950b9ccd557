#include "core/str.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct unit {
    const char *name;
    double scale;
};

/* Ordered from large to small: writers take the first that gives a short exact number. */
static const struct unit byte_units[] = {{"PiB", 0x1p50}, {"TiB", 0x1p40}, {"GiB", 0x1p30},
        {"MiB", 0x1p20}, {"KiB", 0x1p10}, {"PB", 1e15}, {"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6},
        {"kB", 1e3}, {"B", 1}, {NULL, 0}};
static const struct unit time_units[] = {
        {"h", 3.6e9}, {"min", 6e7}, {"s", 1e6}, {"ms", 1e3}, {"us", 1}, {"ns", 1e-3}, {NULL, 0}};
static const struct unit rate_units[] = {{"PB/s", 1e15}, {"TB/s", 1e12}, {"GB/s", 1e9},
        {"MB/s", 1e6}, {"kB/s", 1e3}, {"B/s", 1}, {"TiB/s", 0x1p40}, {"GiB/s", 0x1p30},
        {"MiB/s", 0x1p20}, {"KiB/s", 0x1p10}, {"Tbit/s", 1.25e11}, {"Gbit/s", 1.25e8},
        {"Mbit/s", 1.25e5}, {"kbit/s", 125}, {"bit/s", 0.125}, {NULL, 0}};

/* Digits, point and exponent only: strtod alone would also take hexadecimal, "inf" and "nan". */
static const char *number_end(const char *text)
{
    const char *p = text;
    if (*p == '-' || *p == '+')
        p++;
    const char *digits = p;
    while (isdigit((unsigned char)*p))
        p++;
    int n = (int)(p - digits);
    if (*p == '.') {
        p++;
        const char *fraction = p;
        while (isdigit((unsigned char)*p))
            p++;
        n += (int)(p - fraction);
    }
    if (n == 0)
        return text;
    if (*p == 'e' || *p == 'E') {
        const char *q = p + 1;
        if (*q == '-' || *q == '+')
            q++;
        if (isdigit((unsigned char)*q)) {
            while (isdigit((unsigned char)*q))
                q++;
            p = q;
        }
    }
    return p;
}

static bool refuse(struct err *err, const char *text, const char *expected)
{
    return err_set(err, ERR_INPUT, "found \"%.60s\", expected %s", text, expected);
}

static const struct unit *unit_named(const struct unit *units, const char *name)
{
    for (; units->name != NULL; units++) {
        if (strcmp(units->name, name) == 0)
            return units;
    }
    return NULL;
}

/* Splits text into number and unit. unit is left NULL for a bare zero. */
static bool split(double *value, const struct unit **unit, const char *text,
        const struct unit *units, const char *expected, struct err *err)
{
    const char *end = number_end(text);
    if (end == text)
        return refuse(err, text, expected);
    *value = strtod(text, NULL);
    *unit = NULL;
    if (!isfinite(*value))
        return refuse(err, text, expected);
    while (*end == ' ')
        end++;
    if (*end == '\0') {
        if (*value == 0)
            return true;
        return err_set(
                err, ERR_INPUT, "found \"%.60s\" without a unit, expected %s", text, expected);
    }
    *unit = unit_named(units, end);
    if (*unit == NULL)
        return err_set(err, ERR_INPUT,
                "found \"%.60s\" with the unknown unit \"%.20s\", expected %s", text, end,
                expected);
    return true;
}

bool str_to_bytes(int64_t *out, const char *text, struct err *err)
{
    static const char expected[] = "a size such as 80GiB, 512MiB, 1.5GB or 4096B";
    double value = 0;
    const struct unit *unit = NULL;
    if (!split(&value, &unit, text, byte_units, expected, err))
        return false;
    if (unit == NULL) {
        *out = 0;
        return true;
    }
    if (value < 0)
        return err_set(err, ERR_INPUT, "found \"%.60s\", a size cannot be negative", text);
    /* Whole numbers are exact up to 63 bits; a double alone would round above 2^53. */
    errno = 0;
    char *end = NULL;
    long long whole = strtoll(text, &end, 10);
    int64_t bytes = 0;
    if (end == number_end(text)) {
        if (errno != 0 || __builtin_mul_overflow(whole, (int64_t)unit->scale, &bytes))
            return err_set(err, ERR_INPUT, "found \"%.60s\", a size must be under 8EiB", text);
        *out = bytes;
        return true;
    }
    value *= unit->scale;
    if (value >= 0x1p63)
        return err_set(err, ERR_INPUT, "found \"%.60s\", a size must be under 8EiB", text);
    *out = (int64_t)llround(value);
    return true;
}

bool str_to_us(double *out, const char *text, struct err *err)
{
    static const char expected[] = "a duration such as 2.5ms, 10us, 3s, 90min or 2h";
    const struct unit *unit = NULL;
    double value = 0;
    if (!split(&value, &unit, text, time_units, expected, err))
        return false;
    if (value < 0)
        return err_set(err, ERR_INPUT, "found \"%.60s\", a duration cannot be negative", text);
    /* Division is exact where 1e-3 is not. */
    if (unit != NULL)
        value = unit->scale < 1 ? value / 1000 : value * unit->scale;
    if (!isfinite(value))
        return refuse(err, text, expected);
    *out = value;
    return true;
}

bool str_to_bytes_per_s(double *out, const char *text, struct err *err)
{
    static const char expected[] = "a rate such as 400Gbit/s, 25GB/s or 10MiB/s";
    const struct unit *unit = NULL;
    double value = 0;
    if (!split(&value, &unit, text, rate_units, expected, err))
        return false;
    if (value < 0)
        return err_set(err, ERR_INPUT, "found \"%.60s\", a rate cannot be negative", text);
    value *= unit == NULL ? 1 : unit->scale;
    if (!isfinite(value))
        return refuse(err, text, expected);
    *out = value;
    return true;
}

bool str_to_i64(int64_t *out, const char *text, struct err *err)
{
    static const char expected[] = "a whole number";
    char *end = NULL;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (end == text || *end != '\0' || isspace((unsigned char)text[0]))
        return refuse(err, text, expected);
    if (errno == ERANGE)
        return refuse(err, text, "a whole number of at most 63 bits");
    *out = value;
    return true;
}

bool str_to_double(double *out, const char *text, struct err *err)
{
    const char *end = number_end(text);
    if (end == text || *end != '\0')
        return refuse(err, text, "a number");
    double value = strtod(text, NULL);
    if (!isfinite(value))
        return refuse(err, text, "a number within the range of a double");
    *out = value;
    return true;
}

/* The fewest significant digits that read back as the same double. */
static int shortest(char *buf, size_t room, double value)
{
    int n = 0;
    for (int digits = 1; digits <= 17; digits++) {
        n = snprintf(buf, room, "%.*g", digits, value);
        if (strtod(buf, NULL) == value)
            break;
    }
    return n;
}

char *str_from_double(char *buf, double value)
{
    shortest(buf, 32, value);
    /* Every digit of a large whole number is known: 250000 reads better than 2.5e+05. */
    if (strchr(buf, 'e') != NULL && fabs(value) < 1e15 && value == nearbyint(value))
        snprintf(buf, 32, "%.0f", value);
    return buf;
}

static char *zero(char *buf)
{
    return memcpy(buf, "0", sizeof "0");
}

char *str_from_bytes(char *buf, int64_t bytes)
{
    if (bytes == 0)
        return zero(buf);
    for (const struct unit *unit = byte_units; unit->name != NULL; unit++) {
        int64_t scale = (int64_t)unit->scale;
        if (bytes % scale == 0) {
            snprintf(buf, 32, "%lld%s", (long long)(bytes / scale), unit->name);
            return buf;
        }
    }
    return buf;
}

static char *from_value(char *buf, double value, const struct unit *units,
        bool (*back)(double *, const char *, struct err *))
{
    char best[40] = "", text[40], number[32];
    for (const struct unit *unit = units; unit->name != NULL; unit++) {
        double scaled = unit->scale < 1 ? value * (1 / unit->scale) : value / unit->scale;
        if (!isfinite(scaled))
            continue;
        snprintf(text, sizeof text, "%s%s", str_from_double(number, scaled), unit->name);
        struct err ignored = {0};
        double check = 0;
        if (!back(&check, text, &ignored) || check != value || strlen(text) >= 32)
            continue;
        /* Prefer short, then the larger unit. */
        if (best[0] == '\0' || strlen(text) < strlen(best))
            memcpy(best, text, sizeof best);
    }
    memcpy(buf, best, 32);
    buf[31] = '\0';
    return buf;
}

char *str_from_us(char *buf, double us)
{
    return us == 0 ? zero(buf) : from_value(buf, us, time_units, str_to_us);
}

char *str_from_bytes_per_s(char *buf, double rate)
{
    return rate == 0 ? zero(buf) : from_value(buf, rate, rate_units, str_to_bytes_per_s);
}

/* Three significant digits without an exponent. */
static void show(char *buf, double value, const char *unit)
{
    double size = fabs(value);
    int decimals = size >= 99.95 ? 0 : size >= 9.995 ? 1 : 2;
    snprintf(buf, 32, "%.*f %s", decimals, value, unit);
}

char *str_show_bytes(char *buf, double bytes)
{
    double size = fabs(bytes);
    const struct unit *unit = byte_units;
    while (unit->scale > 1024 && size < unit->scale * 0.9995)
        unit++;
    if (size < 1023.5)
        snprintf(buf, 32, "%.0f B", bytes);
    else
        show(buf, bytes / unit->scale, unit->name);
    return buf;
}

char *str_show_us(char *buf, double us)
{
    double size = fabs(us);
    if (size == 0)
        return memcpy(buf, "0 us", sizeof "0 us");
    if (size >= 1.2e8 * 60)
        show(buf, us / 3.6e9, "h");
    else if (size >= 1.2e8)
        show(buf, us / 6e7, "min");
    else if (size >= 999500)
        show(buf, us / 1e6, "s");
    else if (size >= 999.5)
        show(buf, us / 1e3, "ms");
    else if (size >= 0.9995)
        show(buf, us, "us");
    else
        show(buf, us * 1e3, "ns");
    return buf;
}

char *str_show_bytes_per_s(char *buf, double rate)
{
    double size = fabs(rate);
    const struct unit *unit = rate_units;
    while (unit->scale > 1 && size < unit->scale * 0.9995)
        unit++;
    if (size < 999.5)
        snprintf(buf, 32, "%.0f B/s", rate);
    else
        show(buf, rate / unit->scale, unit->name);
    return buf;
}

/* Levenshtein distance that also counts swapped neighbours as one; text is cut at the room. */
#define NAME_ROOM 64

static int least(int a, int b, int c)
{
    int m = a < b ? a : b;
    return m < c ? m : c;
}

static int distance(const char *a, const char *b)
{
    int n = (int)strnlen(a, NAME_ROOM), m = (int)strnlen(b, NAME_ROOM);
    int before[NAME_ROOM + 1], last[NAME_ROOM + 1], now[NAME_ROOM + 1];
    for (int j = 0; j <= m; j++)
        last[j] = j;
    memcpy(before, last, sizeof before);
    for (int i = 1; i <= n; i++) {
        now[0] = i;
        for (int j = 1; j <= m; j++) {
            int cost = tolower((unsigned char)a[i - 1]) != tolower((unsigned char)b[j - 1]);
            now[j] = least(last[j] + 1, now[j - 1] + 1, last[j - 1] + cost);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]
                    && before[j - 2] + 1 < now[j])
                now[j] = before[j - 2] + 1;
        }
        memcpy(before, last, sizeof before);
        memcpy(last, now, sizeof last);
    }
    return last[m];
}

const char *str_nearest(const char *text, const char *const *names, int n)
{
    const char *best = NULL;
    int best_distance = (int)strnlen(text, NAME_ROOM) / 2 + 1;
    for (int i = 0; i < n; i++) {
        int d = distance(text, names[i]);
        if (d < best_distance) {
            best = names[i];
            best_distance = d;
        }
    }
    return best;
}
