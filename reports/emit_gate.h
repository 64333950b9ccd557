/*
 * emit_gate - a gate's verdict for CI: a JUnit test case, and a Markdown table.
 */
#ifndef REPORTS_EMIT_GATE_H
#define REPORTS_EMIT_GATE_H

#include "reports/gate.h"
#include "reports/text.h"

struct gate_report {
    const struct gate_state *state;
    const struct gate_rule *rule;
    const char *figure;                       /* "output_tokens_per_s" */
    const char *baseline, *candidate;         /* names of the sides */
    double baseline_median, candidate_median; /* over all rounds */
    double seconds;                           /* it took */
};

/* One sentence: "pass: the candidate is 0.3 % faster (-0.4 to +1.0 %), 12 runs". */
const char *gate_sentence(const struct gate_report *report, struct arena *arena);
void gate_junit(struct text *out, const struct gate_report *report);
void gate_markdown(struct text *out, const struct gate_report *report);

#endif
