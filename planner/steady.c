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

/* The prompts of a step that takes q tokens of them: a part of one, or several whole ones. */
static void take_prompts(struct steady *out, const struct demand *demand, double q)
{
    double each = fmin(q, demand->prompt);
    int64_t n = at_least_one(q / demand->prompt);
    out->mixed.n_prefill = n < STEADY_PROMPTS ? (int)n : STEADY_PROMPTS;
    out->mixed.prefill = out->seq;
    /* A chunk of a prompt sees on average half of it before itself. */
    for (int i = 0; i < out->mixed.n_prefill; i++)
        out->seq[i] =
                (struct seq_shape){at_least_one(each), at_least_one((each + demand->prompt) / 2)};
}

/* Nothing but prompts: one token of output each. */
static void prompts_only(
        struct steady *out, const struct demand *demand, int max_tokens, int n_groups)
{
    double q = max_tokens;
    out->mixed_frac = 1;
    out->requests_per_step = q / demand->prompt;
    out->prefill_steps = fmax(1, demand->prompt / q);
    out->mixed.tokens = at_least_one(q);
    out->mixed.group_tokens = out->mixed.tokens * n_groups;
    out->mixed.logits_rows = at_least_one(q / demand->prompt);
    take_prompts(out, demand, q);
    out->pure = out->mixed;
}

static void outputs_only(struct steady *out, const struct demand *demand, double seqs, int n_groups)
{
    int64_t d = at_least_one(seqs);
    out->requests_per_step = seqs / (demand->output - 1);
    out->pure.tokens = d;
    out->pure.group_tokens = d * n_groups;
    out->pure.decode_batch = d;
    out->pure.decode_kv_tokens = d * at_least_one(demand->prompt + demand->output / 2);
    out->pure.logits_rows = d;
    out->mixed = out->pure;
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

int64_t demand_role_blocks(const struct demand *demand, enum replica_role role, int max_seqs,
        int in_flight, int n_groups)
{
    struct demand prompts = *demand;
    prompts.output = 0;
    return demand_blocks(role == ROLE_PREFILL ? &prompts : demand, max_seqs, in_flight, n_groups);
}

bool steady_of_role(struct steady *out, const struct demand *demand, enum replica_role role,
        double seqs, int max_tokens, int n_groups)
{
    if (role == ROLE_MIXED)
        return steady_of(out, demand, seqs, max_tokens, n_groups);
    memset(out, 0, sizeof *out);
    if (seqs < 1 || demand->output < 1.5 || max_tokens < seqs + 8)
        return false;
    if (role == ROLE_DECODE)
        outputs_only(out, demand, seqs, n_groups);
    else
        prompts_only(out, demand, (int)fmin(max_tokens, seqs * demand->prompt), n_groups);
    return true;
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
    out->mixed = out->pure;
    out->mixed.tokens = d + at_least_one(q);
    out->mixed.group_tokens = out->mixed.tokens * n_groups;
    out->mixed.logits_rows = d + at_least_one(q / prompt);
    take_prompts(out, demand, q);
    return true;
}
