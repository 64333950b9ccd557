#include "core/spec/plan_why.h"

#include <string.h>

#include "core/str.h"

#define AT(member) offsetof(struct plan_limit, member)
static const struct conf_field limit_fields[] = {
        {"name", CONF_STRING, AT(name), .required = true,
                .help = "as --what-if names it, or a service objective"},
        {"unit", CONF_STRING, AT(unit), .help = "of there_is, taken and more"},
        {"there_is", CONF_DOUBLE, AT(there_is), .help = "of one device or link; devices: in all"},
        {"taken", CONF_DOUBLE, AT(taken), .help = "by the plan, where that is known"},
        {"shadow_price", CONF_DOUBLE, AT(shadow_price),
                .help = "dual price of a device: one more brings the objective at most this"},
        {"more", CONF_DOUBLE, AT(more), .help = "solved again with so much more"},
        {"buys", CONF_DOUBLE, AT(buys), .help = "by how much the objective is better then"},
        {"buys_least", CONF_DOUBLE, AT(buys_least), .help = "whatever the gaps hide, at least"},
        {"buys_most", CONF_DOUBLE, AT(buys_most), .help = "and at most"},
        {"then", CONF_STRING, AT(then), .help = "the best plan then, where it is another one"},
        {0}};
static const struct conf_table limit_table = {.size = sizeof(struct plan_limit),
        .fields = limit_fields,
        .help = "what the plan runs into, and what moving it buys"};
#undef AT

#define AT(member) offsetof(struct plan_refused, member)
static const struct conf_field refused_fields[] = {
        {"what", CONF_STRING, AT(what), .required = true, .help = "its layout in short"},
        {"output_tokens_per_s", CONF_DOUBLE, AT(output_tokens_per_s), .help = "simulated"},
        {"met_frac", CONF_DOUBLE, AT(met_frac), .help = "requests that met every objective"},
        {"ttft", CONF_US, AT(ttft_us), .help = "at the percentile of the objectives"},
        {"tpot", CONF_US, AT(tpot_us), .help = "likewise"},
        {"why", CONF_STRING, AT(why), .help = "the percentile that is too high"}, {0}};
static const struct conf_table refused_table = {.size = sizeof(struct plan_refused),
        .fields = refused_fields,
        .help = "a better plan that misses the service objectives when simulated"};
#undef AT

#define AT(member) offsetof(struct plan_regret, member)
static const struct conf_field regret_fields[] = {
        {"costs", CONF_STRING, AT(costs), .help = "what was inflated, as --robust says it"},
        {"plans", CONF_INT, AT(plans), .help = "compared under both sets of costs"},
        {"nominal", CONF_DOUBLE, AT(nominal), .help = "objective with the costs as told"},
        {"inflated", CONF_DOUBLE, AT(inflated), .help = "objective with the inflated costs"},
        {"nominal_regret_frac", CONF_DOUBLE, AT(nominal_regret_frac),
                .help = "behind the best of them, costs as told"},
        {"inflated_regret_frac", CONF_DOUBLE, AT(inflated_regret_frac),
                .help = "behind the best of them, costs inflated"},
        {"nominal_best", CONF_STRING, AT(nominal_best), .help = "the best plan with costs as told"},
        {"nominal_best_inflated", CONF_DOUBLE, AT(nominal_best_inflated),
                .help = "its objective with the inflated costs"},
        {"nominal_best_regret_frac", CONF_DOUBLE, AT(nominal_best_regret_frac),
                .help = "how far behind the best it is then"},
        {0}};
static const struct conf_table regret_table = {.size = sizeof(struct plan_regret),
        .fields = regret_fields,
        .help = "what the plan loses at worst, costs as told or inflated"};
#undef AT

#define AT(member) offsetof(struct plan_sharding, member)
static const struct conf_field sharding_fields[] = {
        {"replica", CONF_INT, AT(replica), .help = "whose stage is the busiest, counted from 0"},
        {"stage", CONF_INT, AT(stage), .help = "that stage"},
        {"executed", CONF_US, AT(executed_us), .help = "its layers in a full decode step"},
        {"best", CONF_US, AT(best_us), .help = "the same with each op sharded for itself"},
        {"ways", CONF_STRING, AT(ways), .help = "how each op is sharded then"},
        {"runs", CONF_BOOL, AT(runs), .help = "whether that is what run executes"}, {0}};
static const struct conf_table sharding_table = {.size = sizeof(struct plan_sharding),
        .fields = sharding_fields,
        .help = "what sharding inside a layer would save"};
#undef AT

#define AT(member) offsetof(struct plan_why, member)
static const struct conf_field why_fields[] = {
        {"limits", CONF_STRUCT_LIST, AT(limits), .count = AT(n_limits), .sub = &limit_table,
                .help = "what the plan runs into"},
        {"refused", CONF_STRUCT_LIST, AT(refused), .count = AT(n_refused), .sub = &refused_table,
                .help = "plans that the simulation refused"},
        {"regret", CONF_STRUCT, AT(regret), .sub = &regret_table, .help = "of --robust"},
        {"sharding", CONF_STRUCT, AT(sharding), .sub = &sharding_table,
                .help = "what sharding inside a layer would save"},
        {0}};
const struct conf_table plan_why_table = {.size = sizeof(struct plan_why),
        .fields = why_fields,
        .help = "limits, refused plans, regret"};
#undef AT

const char *plan_limit_amount(double value, const char *unit, struct arena *arena)
{
    static const char *const prefix[] = {"", "k", "M", "G", "T", "P", "E"};
    char text[32];
    unit = unit != NULL ? unit : "";
    if (strcmp(unit, "us") == 0)
        return arena_strdup(arena, str_show_us(text, value));
    if (strcmp(unit, "devices") == 0 || strcmp(unit, "requests/s") == 0 || strcmp(unit, "x") == 0)
        return arena_printf(arena, "%.4g%s", value, unit[0] == 'x' ? unit : "");
    int p = 0;
    for (; p < 6 && value >= 999.5; p++)
        value /= 1000;
    return arena_printf(arena, "%.3g %s%s", value, prefix[p], unit);
}

const char *plan_limit_per_one(const struct plan_limit *limit, struct arena *arena)
{
    static const struct {
        const char *unit, *one;
        double size;
    } ones[] = {{"devices", "device", 1}, {"B", "GB", 1e9}, {"B/s", "GB/s", 1e9},
            {"FLOP/s", "TFLOP/s", 1e12}, {"us", "ms", 1e3}, {"requests/s", "request/s", 1}};
    for (size_t i = 0; i < sizeof ones / sizeof *ones && limit->more > 0 && limit->buys != 0; i++)
        if (limit->unit != NULL && strcmp(ones[i].unit, limit->unit) == 0)
            return arena_printf(
                    arena, "%.4g a %s", limit->buys / limit->more * ones[i].size, ones[i].one);
    return "";
}
