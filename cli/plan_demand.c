#include "cli/plan_demand.h"

#include <string.h>

#include "core/str.h"

struct unit {
    const char *name;
    bool tokens;
};

static const struct unit units[] = {
        {"req/s", false}, {"requests/s", false}, {"tok/s", true}, {"tokens/s", true}};

static bool parse(
        double *rate, bool *tokens, const char *text, struct arena *arena, struct err *err)
{
    for (size_t u = 0; u < sizeof units / sizeof units[0]; u++) {
        size_t len = strlen(text);
        size_t tail = strlen(units[u].name);
        struct err reason = {0};
        if (len <= tail || strcmp(text + len - tail, units[u].name) != 0)
            continue;
        char *number = arena_strdup(arena, text);
        number[len - tail] = 0;
        *tokens = units[u].tokens;
        if (str_to_double(rate, number, &reason) && *rate >= 1e-6 && *rate <= 1e9)
            return true;
    }
    return err_set(err, ERR_INPUT,
            "--demand %s: expected a rate from 1e-6 to 1e9 with its unit, as 20req/s or 5000tok/s "
            "(tokens of output)",
            text);
}

static double mean_output(const struct requests *requests)
{
    double sum = 0;
    for (int64_t i = 0; i < requests->n; i++)
        sum += (double)requests->items[i].output_len;
    return sum / (double)requests->n;
}

bool plan_demand(struct requests *out, struct workload *w, const char *text, struct arena *arena,
        struct err *err)
{
    double rate;
    bool tokens;
    if (!workload_requests(out, w, arena, err))
        return false;
    if (text == NULL)
        return true;
    if (!parse(&rate, &tokens, text, arena, err))
        return false;
    if (out->n == 0)
        return true;
    if (tokens)
        rate /= mean_output(out);
    int64_t last_ns = out->items[out->n - 1].arrival_ns;
    if (w->arrival.process == ARRIVAL_TRACE && last_ns > 0)
        w->trace.time_scale *= rate / ((double)out->n / ((double)last_ns * 1e-9));
    else if (w->arrival.process != ARRIVAL_UNIFORM)
        w->arrival.process = ARRIVAL_POISSON;
    w->arrival.per_s = rate;
    return workload_requests(out, w, arena, err);
}
