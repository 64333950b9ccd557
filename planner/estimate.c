#include "planner/estimate.h"

#include <math.h>
#include <string.h>

/* Median wait of a request before its prompt is begun, and the prompts that are ahead of it then. */
static double queue_us(
        const struct demand *demand, const struct config *config, double requests_per_us)
{
    double slots = (double)config->max_seqs * config->in_flight * config->dp;
    double half = (double)demand->n / 2;
    if (isinf(demand->requests_per_s))
        return fmax(0, half - slots) / requests_per_us;
    /* Offered more than it can do: the queue grows by the difference. */
    double offered_per_us = demand->requests_per_s * 1e-6;
    if (offered_per_us <= requests_per_us)
        return 0;
    return half * (1 / requests_per_us - 1 / offered_per_us);
}

void estimate_of(struct estimate *out, const struct planner_input *input,
        const struct demand *demand, const struct config *config, double pace_us)
{
    memset(out, 0, sizeof *out);
    int groups = config->layout->split.attention_dp;
    struct steady steady;
    if (!steady_of(&steady, demand, (double)config->max_seqs / groups, config->max_tokens, groups)
            || pace_us <= 0)
        return;
    double requests_per_us = steady.requests_per_step * groups * config->dp / pace_us;
    out->tokens_per_s = requests_per_us * demand->output * 1e6;
    /* A sequence steps once while every micro-batch in flight steps once. */
    out->tpot_us = pace_us * config->in_flight;
    double prefill_steps = steady.prefill_steps;
    if (isinf(demand->requests_per_s)) {
        /* All prompts come at once: half of those that fit are ahead of the median one. */
        double slots = (double)config->max_seqs * config->in_flight * config->dp;
        double ahead = fmin((double)demand->n, slots) / 2 / config->dp;
        prefill_steps = fmax(prefill_steps, ahead * demand->prompt / config->max_tokens / groups);
    }
    out->ttft_us = queue_us(demand, config, requests_per_us) + prefill_steps * out->tpot_us;
    double offered = demand->requests_per_s * demand->output;
    switch ((enum plan_objective)input->objective) {
    case OBJECTIVE_THROUGHPUT:
    case OBJECTIVE_PRICE: /* whole.c knows prices */
        out->score = fmin(out->tokens_per_s, offered);
        break;
    case OBJECTIVE_TTFT:
        out->score = -out->ttft_us;
        break;
    case OBJECTIVE_TPOT:
        out->score = -out->tpot_us;
        break;
    }
}
