#include "cli/opt.h"

#include <math.h>
#include <string.h>

#include "core/str.h"

/* Parsing one line: what was seen, so that a valued option given twice is refused. */
struct parser {
    const struct opt_set *sets;
    int n_sets;
    struct opt_line *line;
    bool **seen; /* [set][row] */
    struct arena *arena;
    struct err *err;
};

static int table_rows(const struct opt *table)
{
    int n = 0;
    while (table && table[n].name)
        n++;
    return n;
}

static void *field(void *out, size_t at)
{
    return (char *)out + at;
}

/* "--output" or "-o": how the option is called in messages. */
static const char *shown(const struct opt *opt, struct arena *arena)
{
    return arena_printf(arena, "--%s", opt->name);
}

static bool in_range(const struct opt *opt, double value)
{
    if (opt->min == 0.0 && opt->max == 0.0)
        return true;
    return value >= opt->min && value <= opt->max;
}

static bool set_int(const struct opt *opt, void *at, const char *text, struct err *err)
{
    int64_t value = 0;
    if (!str_to_i64(&value, text, err))
        return false;
    bool fits = opt->type != OPT_INT || (value >= INT32_MIN && value <= INT32_MAX);
    if (!fits || !in_range(opt, (double)value)) {
        if (opt->min == 0.0 && opt->max == 0.0)
            return err_set(err, ERR_INPUT, "found %s, expected a number below 2^31", text);
        return err_set(err, ERR_INPUT, "found %s, expected a whole number from %.0f to %.0f", text,
                opt->min, opt->max);
    }
    if (opt->type == OPT_INT)
        *(int *)at = (int)value;
    else
        *(int64_t *)at = value;
    return true;
}

static bool set_double(const struct opt *opt, void *at, const char *text, struct err *err)
{
    double value = 0;
    if (!str_to_double(&value, text, err))
        return false;
    if (!isfinite(value) || !in_range(opt, value))
        return err_set(err, ERR_INPUT, "found %s, expected a number from %g to %g", text, opt->min,
                opt->max);
    *(double *)at = value;
    return true;
}

static bool set_bytes(const struct opt *opt, void *at, const char *text, struct err *err)
{
    int64_t value = 0;
    char lo[32];
    char hi[32];
    if (!str_to_bytes(&value, text, err))
        return false;
    if (!in_range(opt, (double)value))
        return err_set(err, ERR_INPUT, "found %s, expected a size from %s to %s", text,
                str_show_bytes(lo, opt->min), str_show_bytes(hi, opt->max));
    *(int64_t *)at = value;
    return true;
}

static bool set_seconds(const struct opt *opt, void *at, const char *text, struct err *err)
{
    double us = 0;
    char lo[32];
    char hi[32];
    if (!str_to_us(&us, text, err))
        return false;
    if (!in_range(opt, us * 1e-6))
        return err_set(err, ERR_INPUT, "found %s, expected a duration from %s to %s", text,
                str_show_us(lo, opt->min * 1e6), str_show_us(hi, opt->max * 1e6));
    *(double *)at = us * 1e-6;
    return true;
}

static bool set_enum(
        const struct opt *opt, void *at, const char *text, struct arena *arena, struct err *err)
{
    int n = 0;
    const char *list = "";
    for (; opt->names[n]; n++) {
        if (strcmp(text, opt->names[n]) == 0) {
            *(int *)at = n;
            return true;
        }
        list = arena_printf(arena, "%s%s%s", list, n ? ", " : "", opt->names[n]);
    }
    const char *near = str_nearest(text, opt->names, n);
    if (near)
        return err_set(err, ERR_INPUT, "found \"%s\", expected one of %s; did you mean \"%s\"?",
                text, list, near);
    return err_set(err, ERR_INPUT, "found \"%s\", expected one of %s", text, list);
}

static bool set_enums(
        const struct opt *opt, void *at, const char *text, struct arena *arena, struct err *err)
{
    unsigned set = 0;
    for (char *rest = arena_strdup(arena, text); rest != NULL;) {
        int one = 0;
        char *comma = strchr(rest, ',');
        if (comma != NULL)
            *comma++ = '\0';
        if (!set_enum(opt, &one, rest, arena, err))
            return false;
        set |= 1U << one;
        rest = comma;
    }
    *(unsigned *)at = set;
    return true;
}

static void add_string(const struct opt *opt, void *out, const char *text, struct arena *arena)
{
    const char ***list = field(out, opt->at);
    int *count = field(out, opt->count);
    *list = arena_grow(arena, *list, *count, *count + 1, sizeof **list);
    (*list)[(*count)++] = text;
}

static bool set_value(
        const struct opt *opt, void *out, const char *text, struct arena *arena, struct err *err)
{
    void *at = field(out, opt->at);
    switch (opt->type) {
    case OPT_FLAG:
        *(bool *)at = true;
        return true;
    case OPT_INT:
    case OPT_I64:
        return set_int(opt, at, text, err);
    case OPT_DOUBLE:
        return set_double(opt, at, text, err);
    case OPT_STRING:
        *(const char **)at = text;
        return true;
    case OPT_STRINGS:
        add_string(opt, out, text, arena);
        return true;
    case OPT_ENUM:
        return set_enum(opt, at, text, arena, err);
    case OPT_ENUMS:
        return set_enums(opt, at, text, arena, err);
    case OPT_BYTES:
        return set_bytes(opt, at, text, err);
    case OPT_SECONDS:
        return set_seconds(opt, at, text, err);
    }
    return err_set(err, ERR_BUG, "option --%s has no type", opt->name);
}

bool opt_defaults(const struct opt_set *set, struct arena *arena, struct err *err)
{
    for (const struct opt *opt = set->table; opt && opt->name; opt++) {
        if (!opt->def || opt->type == OPT_FLAG)
            continue;
        if (!set_value(opt, set->out, opt->def, arena, err)) {
            err->kind = ERR_BUG;
            return err_context(err, "default of --%s", opt->name);
        }
    }
    return true;
}

/* The row of a long name (length len) or, with name == NULL, of a letter. */
static const struct opt *find(
        const struct parser *p, const char *name, size_t len, char letter, int *set)
{
    for (int s = 0; s < p->n_sets; s++) {
        for (const struct opt *opt = p->sets[s].table; opt && opt->name; opt++) {
            bool match = name ? strlen(opt->name) == len && strncmp(opt->name, name, len) == 0
                              : opt->letter == letter;
            if (match) {
                *set = s;
                return opt;
            }
        }
    }
    return NULL;
}

static bool unknown(const struct parser *p, const char *name)
{
    int n = 0;
    for (int s = 0; s < p->n_sets; s++)
        n += table_rows(p->sets[s].table);
    const char **names = ARENA_NEW(p->arena, const char *, n + 1);
    n = 0;
    for (int s = 0; s < p->n_sets; s++)
        for (const struct opt *opt = p->sets[s].table; opt && opt->name; opt++)
            names[n++] = opt->name;
    const char *near = str_nearest(name, names, n);
    if (near)
        return err_set(p->err, ERR_INPUT, "unknown option --%s; did you mean --%s? (see %s)", name,
                near, p->line->help);
    return err_set(p->err, ERR_INPUT, "unknown option --%s (see %s)", name, p->line->help);
}

/* Stores one option; text is its value, or NULL when there was none on the line. */
static bool take(struct parser *p, int set, const struct opt *opt, const char *text)
{
    bool *seen = &p->seen[set][opt - p->sets[set].table];
    const char *name = shown(opt, p->arena);
    if (opt->type == OPT_FLAG && text)
        return err_set(p->err, ERR_INPUT, "%s takes no value, found \"%s\"", name, text);
    if (opt->type != OPT_FLAG && !text)
        return err_set(p->err, ERR_INPUT, "%s needs a value: %s %s (see %s)", name, name,
                opt->value ? opt->value : "VALUE", p->line->help);
    if (*seen && opt->type != OPT_FLAG && opt->type != OPT_STRINGS)
        return err_set(
                p->err, ERR_INPUT, "%s was given twice, the second time as \"%s\"", name, text);
    *seen = true;
    return set_value(opt, p->sets[set].out, text, p->arena, p->err)
           || err_context(p->err, "%s", name);
}

/* A value may be "-" or a negative number, but "--x" is taken for a forgotten value. */
static const char *next_value(const struct parser *p, int *i)
{
    if (*i + 1 >= p->line->argc)
        return NULL;
    const char *text = p->line->argv[*i + 1];
    if (text[0] == '-' && text[1] == '-')
        return NULL;
    ++*i;
    return text;
}

static bool take_long(struct parser *p, const char *name, int *i)
{
    int set = 0;
    size_t len = strcspn(name, "=");
    const struct opt *opt = find(p, name, len, 0, &set);
    if (!opt)
        return unknown(p, arena_strndup(p->arena, name, (int64_t)len));
    if (name[len] == '=')
        return take(p, set, opt, name + len + 1);
    const char *text = opt->type == OPT_FLAG ? NULL : next_value(p, i);
    if (!text && opt->type != OPT_FLAG && *i + 1 < p->line->argc)
        return err_set(p->err, ERR_INPUT,
                "--%s needs a value, found \"%s\"; a value that begins with dashes is written "
                "--%s=VALUE",
                opt->name, p->line->argv[*i + 1], opt->name);
    return take(p, set, opt, text);
}

static bool take_letters(struct parser *p, const char *letters, int *i)
{
    for (const char *at = letters; *at; at++) {
        int set = 0;
        const struct opt *opt = find(p, NULL, 0, *at, &set);
        if (!opt)
            return err_set(p->err, ERR_INPUT, "unknown option -%c in \"-%s\" (see %s)", *at,
                    letters, p->line->help);
        if (opt->type == OPT_FLAG) {
            if (!take(p, set, opt, NULL))
                return false;
            continue;
        }
        if (at[1])
            return take(p, set, opt, at[1] == '=' ? at + 2 : at + 1);
        return take(p, set, opt, next_value(p, i));
    }
    return true;
}

static bool check_required(const struct parser *p)
{
    for (int s = 0; s < p->n_sets; s++) {
        for (int row = 0; row < table_rows(p->sets[s].table); row++) {
            const struct opt *opt = &p->sets[s].table[row];
            if (opt->required && !p->seen[s][row])
                return err_set(p->err, ERR_INPUT, "--%s %s is missing: %s (see %s)", opt->name,
                        opt->value ? opt->value : "VALUE", opt->help, p->line->help);
        }
    }
    return true;
}

bool opt_parse(const struct opt_set *sets, int n_sets, struct opt_line *line, struct arena *arena,
        struct err *err)
{
    struct parser p = {sets, n_sets, line, ARENA_NEW(arena, bool *, n_sets), arena, err};
    for (int s = 0; s < n_sets; s++)
        p.seen[s] = ARENA_NEW(arena, bool, table_rows(sets[s].table) + 1);

    int kept = 0;
    bool only_operands = false;
    for (int i = 0; i < line->argc; i++) {
        char *word = line->argv[i];
        if (only_operands || word[0] != '-' || word[1] == '\0') {
            only_operands = only_operands || line->stop_at_operand;
            line->argv[kept++] = word;
        } else if (strcmp(word, "--") == 0) {
            only_operands = true;
        } else if (word[1] == '-') {
            if (!take_long(&p, word + 2, &i))
                return false;
        } else if (!take_letters(&p, word + 1, &i)) {
            return false;
        }
    }
    line->argc = kept;
    return line->stop_at_operand || check_required(&p);
}
