/* What holds the chosen plan back, which better ones were refused, and what it loses where costs are worse. */
#include "reports/sections.h"

static const struct column limit_columns[] = {
        {"limit", "Limit", UNIT_TEXT},
        {"unit", NULL, UNIT_TEXT},
        {"there_is", "There is", UNIT_NUMBER},
        {"taken", "Taken", UNIT_NUMBER},
        {"shadow_price", "Dual price", UNIT_NUMBER},
        {"more", "With more", UNIT_NUMBER},
        {"buys", "It buys", UNIT_NUMBER},
        {"buys_least", NULL, UNIT_NUMBER},
        {"buys_most", NULL, UNIT_NUMBER},
        {"buys_each", "That is", UNIT_TEXT},
        {"then", "With another plan", UNIT_TEXT},
};

/* Kept as a number, shown in its own unit; nothing where it is 0. */
static struct cell amount(double value, const char *unit, struct arena *arena)
{
    struct cell cell = cell_number(value);
    cell.text = value > 0 ? plan_limit_amount(value, unit, arena) : "";
    return cell;
}

static void limits_table(const struct chapter *chapter, const struct plan_why *why)
{
    struct table table = TABLE("limits",
            "What the plan runs into. Solved again with more of each: by how much the best plan's "
            "steady state is "
            "better then, in the unit of the objective. A dual price is that of one device more.",
            limit_columns, chapter->arena);
    for (int i = 0; i < why->n_limits; i++) {
        const struct plan_limit *l = &why->limits[i];
        struct cell *row = table_row(&table);
        int at = 0;
        row[at++] = cell_text(l->name);
        row[at++] = cell_text(l->unit);
        row[at++] = amount(l->there_is, l->unit, chapter->arena);
        row[at++] = amount(l->taken, l->unit, chapter->arena);
        row[at++] = l->shadow_price > 0 ? cell_number(l->shadow_price) : cell_text("");
        row[at++] = amount(l->more, l->unit, chapter->arena);
        if (l->more > 0) {
            row[at] = cell_number(l->buys);
            row[at + 1] = cell_number(l->buys_least);
            row[at + 2] = cell_number(l->buys_most);
            row[at + 3] = cell_text(plan_limit_per_one(l, chapter->arena));
        }
        row[at + 4] = cell_text(l->then != NULL ? l->then : "");
    }
    page_table(chapter->page, &table);
}

static const struct column refused_columns[] = {
        {"plan", "Plan", UNIT_TEXT},
        {"output_tokens_per_s", "Tokens/s", UNIT_NUMBER},
        {"met_frac", "Objectives met, %", UNIT_FRAC},
        {"ttft_us", "TTFT, ms", UNIT_US},
        {"tpot_us", "TPOT, ms", UNIT_US},
        {"why", "Refused because", UNIT_TEXT},
};

static void refused_table(const struct chapter *chapter, const struct plan_why *why)
{
    struct table table = TABLE("refused",
            "Plans that the objective prefers and the simulation refused: percentiles as the "
            "service objectives "
            "ask for them.",
            refused_columns, chapter->arena);
    for (int i = 0; i < why->n_refused; i++) {
        const struct plan_refused *r = &why->refused[i];
        struct cell *row = table_row(&table);
        int at = 0;
        row[at++] = cell_text(r->what);
        row[at++] = cell_number(r->output_tokens_per_s);
        row[at++] = cell_number(r->met_frac);
        row[at++] = cell_number(r->ttft_us);
        row[at++] = cell_number(r->tpot_us);
        row[at++] = cell_text(r->why);
    }
    page_table(chapter->page, &table);
}

static void regret_text(const struct chapter *chapter, const struct plan_regret *r)
{
    page_text(chapter->page, NULL,
            "Chosen of %d plans for the least regret: with costs as told it is %.2f %% behind the "
            "best of them, "
            "with %s %.2f %%. The best with costs as told would then be %.2f %% behind.",
            r->plans, r->nominal_regret_frac * 100, r->costs, r->inflated_regret_frac * 100,
            r->nominal_best_regret_frac * 100);
}

static void sharding_text(const struct chapter *chapter, const struct plan_sharding *s)
{
    if (s->runs)
        page_text(chapter->page, NULL,
                "Sharding each op of a layer for itself would save nothing in the busiest stage "
                "(replica %d, stage %d).",
                s->replica, s->stage);
    else
        page_text(chapter->page, NULL,
                "Sharding each op of a layer for itself would take %s instead of %s of the busiest "
                "stage's decode step (replica %d, stage %d): %s. The runtime does not execute "
                "that.",
                figure_show(s->best_us, "us", chapter->arena),
                figure_show(s->executed_us, "us", chapter->arena), s->replica, s->stage, s->ways);
}

void why_tables(const struct chapter *chapter)
{
    const struct plan_why *why = &chapter->focus->run->plan.why;
    if (why->n_limits > 0)
        limits_table(chapter, why);
    if (why->sharding.executed_us > 0)
        sharding_text(chapter, &why->sharding);
    if (why->regret.costs != NULL)
        regret_text(chapter, &why->regret);
    if (why->n_refused > 0)
        refused_table(chapter, why);
}
