#include "planner/what_if_sweep.h"

#include <math.h>
#include <string.h>

#include "core/str.h"

#define MOST_POINTS 1000

/* "0.5x..4x/7" and "8..64": the ends as numbers. */
static bool read_ends(struct what_if_sweep *s, const char *text, const char *range, double *lo,
        double *hi, struct arena *arena, struct err *err)
{
    const char *dots = strstr(range, "..");
    char *first = dots != NULL ? arena_strndup(arena, range, dots - range) : NULL;
    char *last = dots != NULL ? arena_strdup(arena, dots + 2) : NULL;
    size_t a = first != NULL ? strlen(first) : 0;
    size_t b = last != NULL ? strlen(last) : 0;
    if (a == 0 || b == 0)
        return err_set(err, ERR_INPUT,
                "--sweep %s: expected TARGET=FROM..TO such as h200.memory=0.5x..4x", text);
    s->factor = first[a - 1] == 'x' && last[b - 1] == 'x';
    if (s->factor)
        first[a - 1] = last[b - 1] = '\0';
    if (!str_to_double(lo, first, err) || !str_to_double(hi, last, err))
        return err_context(err, "--sweep %s", text);
    if (*lo > 0 && *hi > *lo)
        return true;
    return err_set(
            err, ERR_INPUT, "--sweep %s: expected two values above 0, the smaller one first", text);
}

bool what_if_sweep_read(
        struct what_if_sweep *out, const char *text, struct arena *arena, struct err *err)
{
    *out = (struct what_if_sweep){0};
    const char *equals = strchr(text, '=');
    char *range = arena_strdup(arena, equals != NULL ? equals + 1 : "");
    char *slash = strchr(range, '/');
    int64_t n = 7;
    double lo = 1;
    double hi = 1;
    if (slash != NULL) {
        *slash = '\0';
        if (!str_to_i64(&n, slash + 1, err))
            return err_context(err, "--sweep %s", text);
    }
    if (n < 2 || n > MOST_POINTS)
        return err_set(err, ERR_INPUT, "--sweep %s: found %lld points, expected 2 to %d", text,
                (long long)n, MOST_POINTS);
    if (!read_ends(out, text, range, &lo, &hi, arena, err))
        return false;
    out->target = arena_strndup(arena, text, equals - text);
    size_t len = strlen(out->target);
    bool count = len > 6 && strcmp(out->target + len - 6, ".count") == 0;
    if (!out->factor && !count)
        return err_set(err, ERR_INPUT,
                "--sweep %s: expected factors such as 0.5x..4x; only a count may be swept as such",
                text);
    out->values = ARENA_NEW(arena, double, n);
    for (int i = 0; i < n; i++) {
        double value = lo * pow(hi / lo, (double)i / (double)(n - 1));
        value = out->factor ? round(value * 1e4) / 1e4 : round(value);
        if (out->n_values == 0 || value > out->values[out->n_values - 1])
            out->values[out->n_values++] = value;
    }
    return true;
}

const char *what_if_sweep_change(const struct what_if_sweep *sweep, int point, struct arena *arena)
{
    char value[32];
    return arena_printf(arena, "%s=%s%s", sweep->target,
            str_from_double(value, sweep->values[point]), sweep->factor ? "x" : "");
}
