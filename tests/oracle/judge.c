#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/spec/plan.h"
#include "tests/oracle/oracle.h"

#define CLOSE 1e-9

static bool alike(double a, double b)
{
    return fabs(a - b) <= CLOSE * fmax(fabs(a), fabs(b));
}

static const char *judge_stage(
        const struct instance *in, const struct pattern *p, int s, struct instance_price *price)
{
    const struct pattern_stage *at = &p->stages[s];
    if (at->kind < 0 || at->kind >= in->n_kinds || at->config < 0 || at->config >= in->n_configs)
        return "a stage is on no kind or in no configuration";
    if (at->first != (s == 0 ? 0 : p->stages[s - 1].end) || at->end <= at->first
            || at->end > in->n_layers)
        return "a stage does not begin where the last one ends";
    if (in->configs[at->config].devices[at->kind] < 1)
        return "a configuration is on a kind that does not allow it";
    if (in->configs[at->config].family != in->limits[p->limits].family)
        return "a configuration is not of the family of the limits";
    in->price(in->self, price, at->kind, at->config, p->limits, at->first, at->end);
    if (price->most_in_flight < p->in_flight)
        return "a stage does not fit";
    return NULL;
}

static const char *judge_pattern(const struct instance *in, const struct pattern *p)
{
    int most = in->max_stages > 0 ? in->max_stages : in->n_layers;
    if (p->limits < 0 || p->limits >= in->n_limits)
        return "a pattern has no limits";
    if (p->n_stages < 1 || p->n_stages > most)
        return "a pattern has too many stages";
    if (p->in_flight != 1 && p->in_flight != p->n_stages)
        return "neither one micro-batch in flight nor one a stage";
    double slowest = 0;
    double sum = 0;
    int64_t devices[INSTANCE_KINDS] = {0};
    for (int s = 0; s < p->n_stages; s++) {
        struct instance_price price = {0};
        const char *wrong = judge_stage(in, p, s, &price);
        if (wrong != NULL)
            return wrong;
        const struct pattern_stage *at = &p->stages[s];
        slowest = fmax(slowest, price.us);
        sum += price.us + (at->end < in->n_layers ? price.send_us : 0);
        devices[at->kind] += in->configs[at->config].devices[at->kind];
    }
    if (p->stages[p->n_stages - 1].end != in->n_layers)
        return "a pattern does not hold all layers";
    if (memcmp(devices, p->devices, sizeof *devices * (size_t)in->n_kinds) != 0)
        return "a pattern takes other devices than it says";
    double pace = fmax(slowest, sum / p->in_flight);
    double rate = in->limits[p->limits].requests / pace * 1e6;
    if (!alike(pace, p->pace_us) || !alike(pace * p->in_flight, p->round_us)
            || !alike(rate, p->requests_per_s))
        return "a pattern has another pace than it says";
    if (pace * p->in_flight > in->limits[p->limits].round_cap_us * (1 + CLOSE))
        return "a pattern misses its service objective";
    return NULL;
}

const char *oracle_judge(const struct instance *in, const struct columns_result *r)
{
    double served[ROLE_DECODE + 1] = {0};
    double price = 0;
    int64_t devices[INSTANCE_KINDS] = {0};
    for (int i = 0; i < r->n_picks; i++) {
        const struct pattern *p = &r->picks[i].pattern;
        const char *wrong = judge_pattern(in, p);
        if (wrong != NULL)
            return wrong;
        if (r->picks[i].count < 1)
            return "a pattern is picked less than once";
        served[in->limits[p->limits].role] += (double)r->picks[i].count * p->requests_per_s;
        for (int k = 0; k < in->n_kinds; k++) {
            devices[k] += r->picks[i].count * p->devices[k];
            price += (double)(r->picks[i].count * p->devices[k]) * in->kinds[k].price;
        }
    }
    for (int k = 0; k < in->n_kinds; k++)
        if (devices[k] > in->kinds[k].devices)
            return "more devices are taken than there are";
    if (r->feasible != (r->n_picks > 0))
        return "feasible without replicas, or the reverse";
    if (!r->feasible)
        return NULL;
    double rate = served[ROLE_MIXED] + fmin(served[ROLE_PREFILL], served[ROLE_DECODE]);
    if (!alike(rate, r->requests_per_s))
        return "the replicas serve another rate than the answer says";
    bool priced = in->objective == INSTANCE_PRICE;
    if (!alike(r->value, priced ? price : rate))
        return "the value is not that of the replicas";
    if (priced && rate < in->demand * (1 - CLOSE))
        return "the demand is not served";
    if (priced ? r->bound > r->value * (1 + CLOSE) : r->bound < r->value * (1 - CLOSE))
        return "the bound is on the wrong side of the value";
    return NULL;
}
