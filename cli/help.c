#include "cli/help.h"

#include <ctype.h>
#include <string.h>

#include "core/version.h"

#define WIDTH       79 /* of help; a full line of 80 wraps on some terminals */
#define OPTION_COL  26 /* where the text of an option starts */
#define COMMAND_COL 14

static const char exit_status[] =
        "0 done; 1 the answer is no (no plan fits, a regression); 2 bad usage or input; 3 "
        "environment or "
        "limit (disk full, something not installed, time is up); 4 a bug in shardwright; 5 too "
        "noisy to "
        "say; 75 somebody else holds the file, try again; 128+n ended by signal n.";

/* Prints text wrapped between columns indent and WIDTH; the cursor stands at column `at`. A newline in
 * the text ends a line, an empty line a paragraph. Ends with a newline. */
static void wrap(FILE *out, const char *text, int indent, int at)
{
    int column = at;
    while (*text) {
        size_t word = strcspn(text, " \n");
        bool fresh = column <= indent;
        if (word > 0 && !fresh && column + 1 + (int)word > WIDTH) {
            fputc('\n', out);
            column = 0;
            fresh = true;
        }
        if (word > 0) {
            if (!fresh)
                column += fprintf(out, " ");
            else
                fprintf(out, "%*s", indent - column, "");
            column = (fresh ? indent : column) + (int)word;
            fprintf(out, "%.*s", (int)word, text);
        }
        text += word;
        if (*text == '\n') {
            fputc('\n', out);
            column = 0;
        }
        text += *text ? 1 : 0;
    }
    if (column > 0)
        fputc('\n', out);
}

/* "-o, --output FILE"; the placeholder of a value, NULL for a flag. */
static const char *placeholder(const struct opt *opt)
{
    static const char *const by_type[] = {[OPT_FLAG] = NULL,
            [OPT_INT] = "N",
            [OPT_I64] = "N",
            [OPT_DOUBLE] = "X",
            [OPT_STRING] = "TEXT",
            [OPT_STRINGS] = "TEXT",
            [OPT_ENUM] = "NAME",
            [OPT_ENUMS] = "NAME,...",
            [OPT_BYTES] = "SIZE",
            [OPT_SECONDS] = "TIME"};
    if (opt->type == OPT_FLAG)
        return NULL;
    return opt->value ? opt->value : by_type[opt->type];
}

static void option_text(char *buf, size_t size, const struct opt *opt)
{
    size_t used = (size_t)snprintf(buf, size, "%s", opt->help);
    if ((opt->type == OPT_ENUM || opt->type == OPT_ENUMS) && used < size) {
        used += (size_t)snprintf(buf + used, size - used, ":");
        for (int i = 0; opt->names[i] && used < size; i++)
            used += (size_t)snprintf(buf + used, size - used, "%s %s", i ? "," : "", opt->names[i]);
    }
    if (opt->type == OPT_STRINGS && used < size)
        used += (size_t)snprintf(buf + used, size - used, "; may be given again");
    if (opt->required && used < size)
        snprintf(buf + used, size - used, " (required)");
    else if (opt->def && used < size && (opt->min < 0 || strcmp(opt->def, "-1") != 0)) /* none */
        snprintf(buf + used, size - used, " (default %s)", opt->def);
}

static void show_option(FILE *out, const struct opt *opt)
{
    char text[1024];
    const char *value = placeholder(opt);
    int at = opt->letter ? fprintf(out, "  -%c, --%s", opt->letter, opt->name)
                         : fprintf(out, "      --%s", opt->name);
    if (value)
        at += fprintf(out, " %s", value);
    if (at + 2 > OPTION_COL) {
        fputc('\n', out);
        at = 0;
    }
    option_text(text, sizeof text, opt);
    fprintf(out, "%*s", OPTION_COL - at, "");
    wrap(out, text, OPTION_COL, OPTION_COL);
}

static void show_options(FILE *out, const char *title, const struct opt *table)
{
    if (!table || !table->name)
        return;
    fprintf(out, "\n%s\n", title);
    for (const struct opt *opt = table; opt->name; opt++)
        show_option(out, opt);
}

static void show_commands(FILE *out, const struct command *const *commands)
{
    for (; *commands; commands++) {
        int at = fprintf(out, "  %s", (*commands)->name);
        fprintf(out, "%*s", COMMAND_COL - at, "");
        wrap(out, (*commands)->summary, COMMAND_COL, COMMAND_COL);
    }
}

/* Example lines are commands to copy: indented, never wrapped. */
static void show_examples(FILE *out, const char *examples)
{
    if (!examples || !*examples)
        return;
    fputs("\nExamples\n", out);
    while (*examples) {
        size_t len = strcspn(examples, "\n");
        fprintf(out, "  %.*s\n", (int)len, examples);
        examples += len + (examples[len] != '\0');
    }
}

void help_short(FILE *out, const struct command *const *commands)
{
    fputs("usage: shardwright COMMAND [options]\n\n", out);
    show_commands(out, commands);
    fputs("\n`shardwright COMMAND --help` tells more.\n", out);
}

void help_program(FILE *out, const struct command *const *commands, const struct opt *global)
{
    fputs("usage: shardwright COMMAND [options]\n\n", out);
    wrap(out,
            "Measures a cluster, proves the best placement of a large language model for those "
            "measurements, runs it to show that it holds, and keeps it true in CI.",
            0, 0);
    fputs("\nCommands, in the order in which they are used\n", out);
    show_commands(out, commands);
    show_options(out, "Options of every command", global);
    fputs("\nExit status\n", out);
    fputs("  ", out);
    wrap(out, exit_status, 2, 2);
    fputs("\n`shardwright COMMAND --help` tells more.\n", out);
}

void help_command(FILE *out, const struct command *command, const struct opt *global)
{
    fprintf(out, "usage: shardwright %s%s%s [options]\n\n", command->name,
            *command->usage ? " " : "", command->usage);
    wrap(out, command->description, 0, 0);
    show_options(out, "Options", command->opts);
    show_options(out, "Options of every command", global);
    show_examples(out, command->examples);
}

/* roff: a backslash, a leading dot or quote, and plain hyphens (which copy as minus) need care. */
static void roff(FILE *out, const char *text)
{
    bool start = true;
    for (; *text; text++) {
        if (*text == '\n' && text[1] == '\n') {
            fputs("\n.PP\n", out);
            text++;
            start = true;
            continue;
        }
        if (start && (*text == '.' || *text == '\''))
            fputs("\\&", out);
        start = *text == '\n';
        if (*text == '\\')
            fputs("\\(rs", out);
        else if (*text == '-')
            fputs("\\-", out);
        else
            fputc(*text, out);
    }
    fputc('\n', out);
}

static void roff_upper(FILE *out, const char *text)
{
    for (; *text; text++)
        fputc(toupper((unsigned char)*text), out);
}

static void roff_header(FILE *out, const char *name, const char *summary)
{
    fputs(".TH SHARDWRIGHT", out);
    if (name) {
        fputs("\\-", out);
        roff_upper(out, name);
    }
    fprintf(out, " 1 \"\" \"shardwright %s\" \"Shardwright manual\"\n.SH NAME\nshardwright",
            version_number);
    if (name)
        fprintf(out, "\\-%s", name);
    fputs(" \\- ", out);
    roff(out, summary);
}

static void roff_options(FILE *out, const char *title, const struct opt *table)
{
    if (!table || !table->name)
        return;
    fprintf(out, ".SH \"%s\"\n", title);
    for (const struct opt *opt = table; opt->name; opt++) {
        char text[1024];
        const char *value = placeholder(opt);
        fputs(".TP\n", out);
        if (opt->letter)
            fprintf(out, "\\fB\\-%c\\fR, ", opt->letter);
        fputs("\\fB\\-\\-", out);
        for (const char *c = opt->name; *c; c++)
            fputs(*c == '-' ? "\\-" : (char[]){*c, '\0'}, out);
        fputs("\\fR", out);
        if (value)
            fprintf(out, " \\fI%s\\fR", value);
        fputc('\n', out);
        option_text(text, sizeof text, opt);
        roff(out, text);
    }
}

static void roff_examples(FILE *out, const char *examples)
{
    if (!examples || !*examples)
        return;
    fputs(".SH EXAMPLES\n.nf\n", out);
    roff(out, examples);
    fputs(".fi\n", out);
}

static void roff_status(FILE *out)
{
    fputs(".SH \"EXIT STATUS\"\n", out);
    roff(out, exit_status);
}

void help_roff_program(FILE *out, const struct command *const *commands, const struct opt *global)
{
    roff_header(out, NULL, "place large language models on clusters");
    fputs(".SH SYNOPSIS\n.B shardwright\n.I COMMAND\n[options]\n.SH DESCRIPTION\n", out);
    roff(out, "Measures a cluster, proves the best placement of a large language model for those "
              "measurements, runs it to show that it holds, and keeps it true in CI.");
    fputs(".SH COMMANDS\n", out);
    for (; *commands; commands++) {
        fprintf(out, ".TP\n.BR shardwright\\-%s (1)\n", (*commands)->name);
        roff(out, (*commands)->summary);
    }
    roff_options(out, "OPTIONS OF EVERY COMMAND", global);
    roff_status(out);
}

void help_roff_command(FILE *out, const struct command *command, const struct opt *global)
{
    roff_header(out, command->name, command->summary);
    fprintf(out, ".SH SYNOPSIS\n.B shardwright %s\n", command->name);
    if (*command->usage)
        fprintf(out, ".I %s\n", command->usage);
    fputs("[options]\n.SH DESCRIPTION\n", out);
    roff(out, command->description);
    roff_options(out, "OPTIONS", command->opts);
    roff_options(out, "OPTIONS OF EVERY COMMAND", global);
    roff_examples(out, command->examples);
    roff_status(out);
    fputs(".SH \"SEE ALSO\"\n.BR shardwright (1)\n", out);
}

static void completion_words(FILE *out, const struct opt *table)
{
    for (const struct opt *opt = table; opt && opt->name; opt++)
        fprintf(out, "--%s ", opt->name);
}

void help_completion(FILE *out, const struct command *const *commands, const struct opt *global)
{
    fputs("# bash completion of shardwright\n_shardwright() {\n"
          "    local word=${COMP_WORDS[COMP_CWORD]} command=${COMP_WORDS[1]} words\n"
          "    case $command in\n",
            out);
    for (const struct command *const *c = commands; *c; c++) {
        fprintf(out, "    %s) words=\"", (*c)->name);
        completion_words(out, (*c)->opts);
        fputs("\" ;;\n", out);
    }
    fputs("    *) words= ;;\n    esac\n    words+=\"", out);
    completion_words(out, global);
    fputs("\"\n    if ((COMP_CWORD == 1)); then\n        words+=\"", out);
    for (const struct command *const *c = commands; *c; c++)
        fprintf(out, "%s ", (*c)->name);
    fputs("\"\n    elif [[ $word != -* ]]; then\n        words=\n    fi\n"
          "    # shellcheck disable=SC2207\n"
          "    COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n}\n"
          "complete -o default -F _shardwright shardwright\n",
            out);
}
