#include "reports/emit_gate.h"

#include <math.h>

#include "reports/table.h"

const char *gate_sentence(const struct gate_report *report, struct arena *arena)
{
    const struct gate_state *state = report->state;
    if (state->n_total < 2 * report->rule->first)
        return arena_printf(arena, "%s: %d runs, and the %s rule first looks after %d",
                gate_verdict_names[state->verdict], state->n_total, report->rule->name,
                2 * report->rule->first);
    const char *range =
            state->shift_lo < state->shift_hi && isfinite(state->shift_hi - state->shift_lo)
                    ? arena_printf(arena, " (%+.1f to %+.1f %%)", 100 * state->shift_lo,
                            100 * state->shift_hi)
                    : "";
    return arena_printf(arena,
            "%s: the candidate is %.1f %% %s%s, %d runs, noise of one run %.1f %%",
            gate_verdict_names[state->verdict], 100 * fabs(state->shift_frac),
            state->shift_frac < 0 ? "worse" : "better", range, state->n_total,
            100 * state->noise_frac);
}

void gate_junit(struct text *out, const struct gate_report *report)
{
    const enum gate_verdict verdict = report->state->verdict;
    text_add(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    text_printf(out,
            "<testsuites>\n<testsuite name=\"shardwright gate\" tests=\"1\" failures=\"%d\" "
            "skipped=\"%d\" "
            "time=\"%.3f\">\n<testcase classname=\"gate.",
            verdict == GATE_REGRESSION, verdict == GATE_INCONCLUSIVE, report->seconds);
    text_html(out, report->figure);
    text_add(out, "\" name=\"");
    text_html(out, report->candidate);
    text_add(out, " against ");
    text_html(out, report->baseline);
    text_printf(out, "\" time=\"%.3f\">\n", report->seconds);
    const char *tag = verdict == GATE_REGRESSION     ? "failure"
                      : verdict == GATE_INCONCLUSIVE ? "skipped"
                                                     : "system-out";
    text_printf(out, verdict == GATE_PASS ? "<%s>" : "<%s message=\"", tag);
    text_html(out, gate_sentence(report, out->arena));
    if (verdict == GATE_PASS)
        text_printf(out, "</%s>\n", tag);
    else
        text_add(out, "\"/>\n");
    text_add(out, "</testcase>\n</testsuite>\n</testsuites>\n");
}

/* A pipe would end the cell. */
static void add_cell(struct text *out, const char *name)
{
    for (; *name != '\0'; name++)
        if (*name == '|')
            text_add(out, "\\|");
        else
            text_add_n(out, name, 1);
}

void gate_markdown(struct text *out, const struct gate_report *report)
{
    text_printf(out, "**%s**\n\n| side | what | ", gate_sentence(report, out->arena));
    add_cell(out, report->figure);
    text_add(out, ", median |\n|---|---|---:|\n| baseline | ");
    add_cell(out, report->baseline);
    text_printf(out, " | %s |\n| candidate | ", number_show(report->baseline_median, out->arena));
    add_cell(out, report->candidate);
    text_printf(out, " | %s |\n", number_show(report->candidate_median, out->arena));
}
