#include "planner/steady.h"

#include <math.h>
#include <string.h>

enum {
    ENDLESS = 1 << 30
};

void demand_of(struct demand *out, const struct requests *requests)
{
    memset(out, 0, sizeof *out);
    out->n = requests->n;
    out->requests_per_s = HUGE_VAL;
    if (requests->n == 0)
        return;
    for (int64_t i = 0; i < requests->n; i++) {
        const struct request *r = &requests->items[i];
        out->prompt += (double)r->prompt_len / (double)requests->n;
        out->output += (double)r->output_len / (double)requests->n;
        if (r->prompt_len + r->output_len > out->max_len)
            out->max_len = r->prompt_len + r->output_len;
        if (r->prompt_len > out->max_prompt)
            out->max_prompt = r->prompt_len;
    }
    if (requests->unpaced) { /* as many as can be served: none is the last one */
        out->n = ENDLESS;
        return;
    }
    int64_t last_ns = requests->items[requests->n - 1].arrival_ns;
    if (last_ns > 0)
        out->requests_per_s = (double)requests->n / ((double)last_ns * 1e-9);
}

static int64_t at_least_one(double value)
{
    return value < 1 ? 1 : llround(value);
}

/* Nothing but prompts: one token of output each. */
static void prompts_only(
        struct steady *out, const struct demand *demand, int max_tokens, int n_groups)
{
    double q = max_tokens;
    out->mixed_frac = 1;
    out->requests_per_step = q / demand->prompt;
    out->prefill_steps = fmax(1, demand->prompt / q);
    int64_t prompts = q > demand->prompt ? llround(q / demand->prompt) : 1;
    out->seq.q_len = at_least_one(fmin(q, demand->prompt));
    out->seq.kv_len = out->seq.q_len;
    out->mixed.tokens = out->seq.q_len * prompts;
    out->mixed.group_tokens = out->mixed.tokens * n_groups;
    out->mixed.prefill = &out->seq;
    out->mixed.n_prefill = 1;
    out->mixed.logits_rows = prompts;
    out->pure = out->mixed;
}

static int64_t blocks_of(double tokens)
{
    return (int64_t)ceil(tokens / PLAN_BLOCK_TOKENS);
}

int64_t demand_longest_blocks(const struct demand *demand)
{
    return blocks_of((double)demand->max_len);
}

int64_t demand_blocks(const struct demand *demand, int max_seqs, int in_flight, int n_groups)
{
    double seqs = ceil((double)max_seqs * in_flight / n_groups);
    int64_t mean = (int64_t)(seqs * (double)blocks_of(demand->prompt + demand->output / 2 + 1));
    int64_t longest = demand_longest_blocks(demand) + 1;
    return mean > longest ? mean : longest;
}

bool steady_of(
        struct steady *out, const struct demand *demand, double seqs, int max_tokens, int n_groups)
{
    memset(out, 0, sizeof *out);
    double prompt = demand->prompt;
    double steps = demand->output - 1;
    if (max_tokens < seqs + 8 || seqs <= 0)
        return false;
    if (steps < 0.5) {
        prompts_only(out, demand, max_tokens, n_groups);
        return true;
    }
    double q = fmin(prompt, max_tokens - seqs);
    double decoding = seqs / (1 + prompt / (steps * q));
    double mixed_frac = decoding * prompt / (steps * q);
    if (mixed_frac > 1) {
        /* Prompts come faster than one a step: several share a step, up to the budget. */
        mixed_frac = 1;
        decoding = seqs / (1 + 1 / steps);
        if (decoding * (1 + prompt / steps) > max_tokens)
            decoding = max_tokens / (1 + prompt / steps);
        q = decoding * prompt / steps;
    }
    out->mixed_frac = mixed_frac;
    out->requests_per_step = decoding / steps;
    out->prefill_steps = fmax(1, prompt / q);

    int64_t d = at_least_one(decoding);
    out->pure.tokens = d;
    out->pure.group_tokens = d * n_groups;
    out->pure.decode_batch = d;
    out->pure.decode_kv_tokens = d * at_least_one(prompt + demand->output / 2);
    out->pure.logits_rows = d;
    /* A chunk of a prompt sees on average half of it before itself. */
    out->seq.q_len = at_least_one(fmin(q, prompt));
    out->seq.kv_len = at_least_one((fmin(q, prompt) + prompt) / 2);
    out->mixed = out->pure;
    out->mixed.tokens = d + at_least_one(q);
    out->mixed.group_tokens = out->mixed.tokens * n_groups;
    out->mixed.prefill = &out->seq;
    out->mixed.n_prefill = 1;
    out->mixed.logits_rows = d + at_least_one(q / prompt);
    return true;
}
