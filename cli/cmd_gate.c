/*
 * gate - runs two sides in turn until the rule of reports/gate decides. A side is a program, a plan and
 * arguments; each run is a process of its own, so that what differs between processes (memory layout,
 * page placement) is part of the noise and not of the answer.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli/child.h"
#include "cli/cli.h"
#include "core/clock.h"
#include "core/file.h"
#include "core/json.h"
#include "core/str.h"
#include "core/summary.h"
#include "reports/emit_gate.h"

struct options {
    const char *plan[2], *program[2], *args[2], *measured[2];
    const char *workload, *weights, *figure;
    const char *output, *junit, *markdown;
    bool quick;
};

#define AT(field) offsetof(struct options, field)

static const struct opt opts[] = {
        {"baseline", 0, OPT_STRING, AT(plan[0]), .value = "PLAN", .help = "plan of the known side"},
        {"candidate", 0, OPT_STRING, AT(plan[1]), .value = "PLAN",
                .help = "plan of the side in question"},
        {"workload", 0, OPT_STRING, AT(workload), .value = "FILE", .help = "workload of both"},
        {"weights", 0, OPT_STRING, AT(weights), .value = "DIR", .help = "checkpoint of both"},
        {"baseline-program", 0, OPT_STRING, AT(program[0]), .value = "PATH",
                .help = "another build of shardwright for the baseline"},
        {"candidate-program", 0, OPT_STRING, AT(program[1]), .value = "PATH",
                .help = "another build of shardwright for the candidate"},
        {"baseline-args", 0, OPT_STRING, AT(args[0]), .value = "\"ARGS\"",
                .help = "more options of `run` for the baseline, apart by spaces"},
        {"candidate-args", 0, OPT_STRING, AT(args[1]), .value = "\"ARGS\"",
                .help = "more options of `run` for the candidate"},
        {"figure", 0, OPT_STRING, AT(figure), .value = "NAME", .def = "output_tokens_per_s",
                .help = "measured figure to compare; times are better when lower"},
        {"short", 0, OPT_FLAG, AT(quick),
                .help = "fewer runs: sees slow-downs of 10 %, for every push"},
        {"measured-a", 0, OPT_STRING, AT(measured[0]), .value = "FILE",
                .help = "decide on given baseline figures, one a line, and run nothing"},
        {"measured-b", 0, OPT_STRING, AT(measured[1]), .value = "FILE",
                .help = "the candidate's figures"},
        {"output", 'o', OPT_STRING, AT(output), .value = "FILE",
                .help = "write the result as JSON"},
        {"junit", 0, OPT_STRING, AT(junit), .value = "FILE", .help = "write it as JUnit XML"},
        {"markdown", 0, OPT_STRING, AT(markdown), .value = "FILE", .help = "write it as Markdown"},
        {NULL},
};

static const char *const side_names[] = {"baseline", "candidate"};

/* A figure of either side, in the order they came. */
struct taken {
    int side, round;
    double value;
};

struct session {
    struct cli *cli;
    const struct options *options;
    struct gate_rule rule;
    struct gate_state state;
    struct taken taken[4 * GATE_MOST];
    int n_taken;
    double *given[2]; /* with --measured-a and -b */
    int64_t n_given[2], used[2];
};

static bool read_given(struct session *session, int side)
{
    struct arena *arena = session->cli->arena;
    struct err *err = session->cli->err;
    const char *path = session->options->measured[side];
    char *text = NULL, *rest = NULL;
    int64_t len = 0;
    if (!file_read(&text, &len, path, arena, err))
        return false;
    session->given[side] = ARENA_NEW(arena, double, len + 1);
    int line_number = 0;
    for (char *line = text; line != NULL; line = rest) {
        rest = strchr(line, '\n');
        if (rest != NULL)
            *rest++ = '\0';
        line_number++;
        line[strcspn(line, "\r")] = '\0';
        if (line[0] == '\0')
            continue;
        double value = 0;
        const struct pos pos = {path, line_number, 1};
        struct err inner = {0};
        if (!str_to_double(&value, line, &inner) || !(value > 0) || !isfinite(value))
            return err_at(err, pos, "found \"%.40s\", expected a measured figure: a number above 0",
                    line);
        session->given[side][session->n_given[side]++] = value;
    }
    return true;
}

static void split_words(char **argv, int *argc, int most, const char *words, struct arena *arena)
{
    char *copy = arena_strdup(arena, words != NULL ? words : "");
    for (char *save = NULL, *word = strtok_r(copy, " \t", &save); word != NULL && *argc < most;
            word = strtok_r(NULL, " \t", &save))
        argv[(*argc)++] = word;
}

static bool read_figure(double *value, const char *json, int64_t len, const struct session *session)
{
    struct err *err = session->cli->err;
    struct json *doc = json_read(json, len, "the JSON of `shardwright run`", err);
    if (doc == NULL)
        return false;
    const struct json_node *node =
            json_get(json_get(json_root(doc), "measured"), session->options->figure);
    *value = json_double(node, (double)NAN);
    json_close(doc);
    if (*value > 0 && isfinite(*value))
        return true;
    return err_set(err, ERR_INPUT,
            "--figure %s: found no such positive figure under \"measured\" in the JSON of "
            "`shardwright run`, "
            "expected one like output_tokens_per_s, ttft_p50_us or tpot_p50_us",
            session->options->figure);
}

static bool run_side(double *value, const struct session *session, int side)
{
    enum {
        MOST = 64
    };
    struct cli *cli = session->cli;
    const struct options *options = session->options;
    char *argv[MOST + 1] = {NULL}, *out = NULL;
    int argc = 0;
    int64_t len = 0;
    const char *const start[] = {
            options->program[side] != NULL ? options->program[side] : cli->full_argv[0], "run",
            options->plan[side], "--json", "--quiet",
            options->workload != NULL ? "--workload" : NULL, options->workload,
            options->weights != NULL ? "--weights" : NULL, options->weights};
    for (size_t i = 0; i < sizeof start / sizeof start[0]; i++)
        if (start[i] != NULL)
            argv[argc++] = arena_strdup(cli->arena, start[i]);
    split_words(argv, &argc, MOST, options->args[side], cli->arena);
    return (child_run(&out, &len, argv, cli->arena, cli->err)
                   && read_figure(value, out, len, session))
           || err_context(cli->err, "%s", side_names[side]);
}

/* The next figure of a side; *none when the given ones are used up. */
static bool take(double *value, bool *none, struct session *session, int side)
{
    *none = false;
    if (session->options->measured[0] == NULL)
        return run_side(value, session, side);
    *none = session->used[side] == session->n_given[side];
    if (!*none)
        *value = session->given[side][session->used[side]++];
    return true;
}

static bool decide(struct session *session)
{
    gate_begin(&session->state);
    while (session->state.verdict == GATE_MORE) {
        const int side = gate_next(&session->state);
        const int round = session->state.round;
        double value = 0;
        bool none = false;
        if (!take(&value, &none, session, side))
            return false;
        if (none) {
            session->state.verdict = GATE_INCONCLUSIVE;
            return true;
        }
        session->taken[session->n_taken++] = (struct taken){side, round, value};
        gate_add(&session->state, &session->rule, side, value);
        if (!session->cli->quiet && session->options->measured[0] == NULL)
            fprintf(stderr, "gate: %s %d, %s: %.4g\n", round == 0 ? "run" : "confirming, run",
                    session->n_taken, side_names[side], value);
    }
    return true;
}

static double median_of(const struct session *session, int side)
{
    double values[4 * GATE_MOST];
    int n = 0;
    for (int i = 0; i < session->n_taken; i++)
        if (session->taken[i].side == side)
            values[n++] = session->taken[i].value;
    struct summary summary;
    summary_of(&summary, values, n);
    return summary.median;
}

static char *to_json(const struct session *session, const struct gate_report *report)
{
    const struct gate_state *state = &session->state;
    struct json_writer w = {.pretty = true};
    json_object_begin(&w, NULL);
    json_put_string(&w, "verdict", gate_verdict_names[state->verdict]);
    json_put_string(&w, "figure", report->figure);
    json_put_string(&w, "baseline", report->baseline);
    json_put_string(&w, "candidate", report->candidate);
    json_put_double(&w, "baseline_median", report->baseline_median);
    json_put_double(&w, "candidate_median", report->candidate_median);
    json_put_double(&w, "shift_frac", state->shift_frac);
    json_put_double(&w, "shift_lo", state->shift_lo);
    json_put_double(&w, "shift_hi", state->shift_hi);
    json_put_double(&w, "p_value", state->p_value);
    json_put_double(&w, "noise_frac", state->noise_frac);
    json_object_begin(&w, "rule");
    json_put_string(&w, "name", session->rule.name);
    json_put_double(&w, "shift_frac", session->rule.shift_frac);
    json_put_double(&w, "alpha", session->rule.alpha);
    json_put_double(&w, "pass_alpha", session->rule.pass_alpha);
    json_put_int(&w, "first", session->rule.first);
    json_put_int(&w, "most", session->rule.most);
    json_end(&w);
    json_array_begin(&w, "runs");
    for (int i = 0; i < session->n_taken; i++) {
        json_object_begin(&w, NULL);
        json_put_string(&w, "side", side_names[session->taken[i].side]);
        json_put_int(&w, "round", session->taken[i].round);
        json_put_double(&w, "value", session->taken[i].value);
        json_end(&w);
    }
    json_end(&w);
    json_end(&w);
    char *text = arena_strdup(session->cli->arena, w.text);
    json_writer_free(&w);
    return text;
}

static bool write_results(const struct session *session, const struct gate_report *report)
{
    const struct options *options = session->options;
    struct cli *cli = session->cli;
    char *json = to_json(session, report);
    struct text junit = {.arena = cli->arena}, markdown = {.arena = cli->arena};
    gate_junit(&junit, report);
    gate_markdown(&markdown, report);
    if (options->output != NULL
            && !file_write(options->output, json, (int64_t)strlen(json), cli->err))
        return false;
    if (options->junit != NULL && !file_write(options->junit, junit.data, junit.len, cli->err))
        return false;
    if (options->markdown != NULL
            && !file_write(options->markdown, markdown.data, markdown.len, cli->err))
        return false;
    if (cli->json) {
        fputs(json, stdout);
        return true;
    }
    printf("%-10s %12s  %s\n", "side", "median", "what");
    printf("%-10s %12.4g  %s\n", side_names[0], report->baseline_median, report->baseline);
    printf("%-10s %12.4g  %s\n", side_names[1], report->candidate_median, report->candidate);
    printf("%s\n", gate_sentence(report, cli->arena));
    return true;
}

static bool check_sides(const struct options *options, struct err *err)
{
    const bool given = options->measured[0] != NULL || options->measured[1] != NULL;
    for (int side = 0; side < 2; side++) {
        const char *const found = given ? options->measured[side] : options->plan[side];
        if (found == NULL)
            return err_set(err, ERR_INPUT, "found no --%s, expected %s (`shardwright gate --help`)",
                    given ? (side == 0 ? "measured-a" : "measured-b") : side_names[side],
                    given ? "files of measured figures for both sides"
                          : "plans for both --baseline and --candidate");
    }
    return true;
}

static const char *name_of(const struct options *options, int side, struct arena *arena)
{
    if (options->measured[side] != NULL)
        return options->measured[side];
    return arena_printf(arena, "%s%s%s%s%s", options->plan[side],
            options->program[side] != NULL ? " by " : "",
            options->program[side] != NULL ? options->program[side] : "",
            options->args[side] != NULL ? " with " : "",
            options->args[side] != NULL ? options->args[side] : "");
}

static bool run(struct cli *cli, void *at)
{
    const struct options *options = at;
    struct session *session = ARENA_NEW(cli->arena, struct session, 1);
    session->cli = cli;
    session->options = options;
    session->rule = options->quick ? gate_rule_short : gate_rule_default;
    session->rule.higher_is_better = strstr(options->figure, "per_s") != NULL;
    if (!check_sides(options, cli->err))
        return false;
    for (int side = 0; side < 2 && options->measured[0] != NULL; side++)
        if (!read_given(session, side))
            return false;
    const int64_t start = clock_now_ns();
    if (!decide(session))
        return false;
    const struct gate_report report = {.state = &session->state,
            .rule = &session->rule,
            .figure = options->figure,
            .baseline = name_of(options, 0, cli->arena),
            .candidate = name_of(options, 1, cli->arena),
            .baseline_median = median_of(session, 0),
            .candidate_median = median_of(session, 1),
            .seconds = (double)(clock_now_ns() - start) / 1e9};
    if (!write_results(session, &report))
        return false;
    cli->status = session->state.verdict == GATE_REGRESSION ? ERR_NO
                  : session->state.verdict == GATE_PASS     ? 0
                                                            : ERR_INCONCLUSIVE;
    return true;
}

const struct command command_gate = {
        .name = "gate",
        .summary = "pass or fail a change on its throughput",
        .usage = "",
        .description =
                "Runs a baseline and a candidate in turn (two plans, two builds or two settings) "
                "and "
                "says whether the candidate is slower: only if an exact one-sided Mann-Whitney "
                "test "
                "and a Hodges-Lehmann shift of at least 2 % say so, confirmed in a fresh round. It "
                "stops as soon as the answer is clear, and says inconclusive when the noise of "
                "this "
                "machine hides it.\n\n"
                "Exit status: 0 pass, 1 regression, 5 inconclusive.",
        .examples = "shardwright gate --baseline old.yaml --candidate new.yaml --workload w.yaml\n"
                    "shardwright gate --baseline p.yaml --candidate p.yaml \\\n"
                    "    --baseline-program ./main/shardwright --short --junit gate.xml",
        .opts = opts,
        .options_size = sizeof(struct options),
        .run = run,
};
