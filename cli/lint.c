#include "cli/lint.h"

#include <stdio.h>
#include <string.h>

#include "core/file.h"
#include "core/spec/cluster.h"
#include "core/spec/expert_map.h"
#include "core/spec/plan.h"
#include "core/spec/workload.h"
#include "models/model.h"
#include "planner/instance_file.h"

static bool lint_help(const char *where, const char *name, const char *help, struct err *err)
{
    if (!help || strlen(help) < 3)
        return err_set(err, ERR_BUG, "%s: %s has no help", where, name);
    return true;
}

static bool lint_row(
        const struct command *c, const struct opt *opt, const struct opt *global, struct err *err)
{
    for (const struct opt *other = c->opts; other->name; other++) {
        if (other == opt)
            break;
        if (!strcmp(other->name, opt->name) || (opt->letter && other->letter == opt->letter))
            return err_set(
                    err, ERR_BUG, "%s: --%s is there twice, or its letter", c->name, opt->name);
    }
    for (const struct opt *other = global; other->name; other++)
        if (!strcmp(other->name, opt->name) || (opt->letter && other->letter == opt->letter))
            return err_set(err, ERR_BUG, "%s: --%s hides --%s of every command", c->name, opt->name,
                    other->name);
    if (opt->at >= c->options_size)
        return err_set(err, ERR_BUG, "%s: --%s lies outside its struct", c->name, opt->name);
    if ((opt->type == OPT_ENUM || opt->type == OPT_ENUMS) && !opt->names)
        return err_set(err, ERR_BUG, "%s: --%s has no names", c->name, opt->name);
    return lint_help(c->name, opt->name, opt->help, err);
}

static bool lint_command(const struct command *c, const struct opt *global, struct err *err)
{
    struct arena arena = {0};
    bool ok = lint_help("command", c->name, c->summary, err)
              && lint_help("description of", c->name, c->description, err);
    for (const struct opt *opt = c->opts; ok && opt && opt->name; opt++)
        ok = lint_row(c, opt, global, err);
    struct opt_set set = {c->opts, arena_alloc(&arena, (int64_t)c->options_size + 1)};
    ok = ok && opt_defaults(&set, &arena, err);
    if (ok && (!c->usage || !c->run || c->min_operands > c->max_operands))
        ok = err_set(err, ERR_BUG, "command %s: usage, run or operands are wrong", c->name);
    arena_free(&arena);
    return ok;
}

/* NOLINTNEXTLINE(misc-no-recursion): tables nest a few levels deep. */
static bool lint_conf(const struct conf_table *table, const char *where, struct err *err)
{
    for (const struct conf_field *f = table->fields; f->key; f++) {
        if (!lint_help(where, f->key, f->help, err))
            return false;
        if (f->at >= table->size)
            return err_set(err, ERR_BUG, "%s: %s lies outside its struct", where, f->key);
        if (f->type == CONF_ENUM && !f->names)
            return err_set(err, ERR_BUG, "%s: %s has no names", where, f->key);
        if ((f->type == CONF_STRUCT || f->type == CONF_STRUCT_LIST)
                && !lint_conf(f->sub, f->key, err))
            return false;
    }
    return true;
}

bool lint_tables(const struct command *const *commands, const struct opt *global, struct err *err)
{
    const struct conf_table *const formats[] = {&cluster_table, &workload_table, &plan_table,
            &model_table, &expert_map_table, &instance_file_table, NULL};
    for (const struct opt *opt = global; opt->name; opt++)
        if (!lint_help("every command", opt->name, opt->help, err))
            return false;
    for (; *commands; commands++)
        if (!lint_command(*commands, global, err))
            return false;
    for (int i = 0; formats[i]; i++)
        if (!lint_conf(formats[i], formats[i]->format, err))
            return false;
    puts("tables ok");
    return true;
}

static bool file_cluster(const char *path, struct arena *arena, struct err *err)
{
    struct cluster cluster;
    return cluster_read_file(&cluster, path, arena, err) && cluster_check(&cluster, err);
}

static bool file_workload(const char *path, struct arena *arena, struct err *err)
{
    struct workload workload;
    return workload_read_file(&workload, path, arena, err) && workload_check(&workload, err);
}

static bool file_plan(const char *path, struct arena *arena, struct err *err)
{
    struct plan plan;
    return plan_read_file(&plan, path, arena, err);
}

static bool file_model(const char *path, struct arena *arena, struct err *err)
{
    struct model model;
    return model_read(&model, path, ".", arena, err) && model_check(&model, err);
}

static bool file_expert_map(const char *path, struct arena *arena, struct err *err)
{
    struct expert_map map;
    return expert_map_read_file(&map, path, arena, err);
}

static bool file_instance(const char *path, struct arena *arena, struct err *err)
{
    struct instance_file file;
    return instance_file_read(&file, path, arena, err);
}

bool lint_file(const char *path, struct arena *arena, struct err *err)
{
    static const struct {
        const struct conf_table *table;
        bool (*read)(const char *path, struct arena *arena, struct err *err);
    } formats[] = {
            {&cluster_table, file_cluster},
            {&workload_table, file_workload},
            {&plan_table, file_plan},
            {&model_table, file_model},
            {&expert_map_table, file_expert_map},
            {&instance_file_table, file_instance},
    };
    char *text = NULL;
    int64_t len = 0;
    if (!file_read(&text, &len, path, arena, err))
        return false;
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        const char *line = arena_printf(arena, "format: %s\n", formats[i].table->format);
        if (!strstr(text, line))
            continue;
        if (!formats[i].read(path, arena, err))
            return false;
        printf("%s: %s\n", path, formats[i].table->format);
        return true;
    }
    return err_at(err, (struct pos){path, 1, 1},
            "no known `format:` line, expected for example \"format: %s\"", cluster_table.format);
}
