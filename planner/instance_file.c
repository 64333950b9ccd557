#include "planner/instance_file.h"

#include <math.h>
#include <string.h>

#include "core/str.h"

#define MOST_NAMES 256

static const char *const objective_names[] = {"throughput", "price", NULL};

#define AT(member) offsetof(struct table_kind, member)
static const struct conf_field kind_fields[] = {
        {"name", CONF_STRING, AT(name), .required = true, .pos = AT(pos),
                .help = "what times call it"},
        {"devices", CONF_I64, AT(devices), .required = true, .min = 0, .max = 1 << 24,
                .help = "devices that may be used"},
        {"memory", CONF_BYTES, AT(memory_bytes), .min = 0, .max = 0x1p60,
                .help = "of one device; 0 or left out: without limit"},
        {"price", CONF_DOUBLE, AT(price), .min = 0, .max = 1e12,
                .help = "of one device, in any unit; for the objective price"},
        {0}};
static const struct conf_table kind_table = {
        .size = sizeof(struct table_kind), .fields = kind_fields, .help = "a device kind"};
#undef AT

#define AT(member) offsetof(struct table_config, member)
static const struct conf_field config_fields[] = {
        {"name", CONF_STRING, AT(name), .required = true, .pos = AT(pos),
                .help = "a way to run a stage: tp4"},
        {"devices", CONF_INT, AT(devices), .min = 1, .max = 65536, .def = "1",
                .help = "devices that a stage takes"},
        {"family", CONF_INT, AT(family), .min = 0, .max = 65535, .def = "0",
                .help = "all stages of a replica are of one family, and so are its limits"},
        {0}};
static const struct conf_table config_table = {
        .size = sizeof(struct table_config), .fields = config_fields, .help = "a configuration"};
#undef AT

#define AT(member) offsetof(struct table_limits, member)
static const struct conf_field limits_fields[] = {
        {"name", CONF_STRING, AT(name), .required = true, .pos = AT(pos),
                .help = "batch limits of a replica: b64"},
        {"role", CONF_ENUM, AT(role), .names = replica_role_names, .def = "mixed",
                .help = "prefill and decode replicas come in equal rates"},
        {"family", CONF_INT, AT(family), .min = 0, .max = 65535, .def = "0",
                .help = "of the configurations that go with them"},
        {"requests", CONF_DOUBLE, AT(requests), .required = true, .min = 0, .max = 1e9,
                .help = "requests that finish in one step of one micro-batch, on average"},
        {"round_cap", CONF_US, AT(round_cap_us), .min = 0, .max = 1e15,
                .help = "the longest that a micro-batch may take to come round; left out: any "
                        "time"},
        {0}};
static const struct conf_table limits_table = {
        .size = sizeof(struct table_limits), .fields = limits_fields, .help = "batch limits"};
#undef AT

#define AT(member) offsetof(struct table_times, member)
static const struct conf_field times_fields[] = {
        {"kind", CONF_STRING, AT(kind), .required = true, .pos = AT(pos),
                .help = "a name from kinds"},
        {"config", CONF_STRING, AT(config), .required = true, .help = "a name from configs"},
        {"limits", CONF_STRING, AT(limits),
                .help = "a name from limits; left out: all of the configuration's family"},
        {"layer_us", CONF_DOUBLE_LIST, AT(layer_us), .count = AT(n_layer_us), .min = 0, .max = 1e12,
                .help = "microseconds of each layer, or one figure for all"},
        {"span_us", CONF_DOUBLE_LIST, AT(span_us), .count = AT(n_span_us), .min = 0, .max = 1e12,
                .help = "instead: microseconds of 1, 2, 3, ... consecutive layers; longer stages "
                        "than the list are not possible"},
        {"fixed", CONF_US, AT(fixed_us), .min = 0, .max = 1e12, .help = "of every stage besides"},
        {"first", CONF_US, AT(first_us), .min = 0, .max = 1e12,
                .help = "of the stage with the first layer besides: the embedding"},
        {"last", CONF_US, AT(last_us), .min = 0, .max = 1e12,
                .help = "of the stage with the last layer besides: the head"},
        {"send", CONF_US, AT(send_us), .min = 0, .max = 1e12,
                .help = "handing a micro-batch on to the next stage"},
        {"layer_bytes", CONF_I64_LIST, AT(layer_bytes), .count = AT(n_layer_bytes), .min = 0,
                .max = 0x1p60, .help = "bytes of each layer on one device, or one figure for all"},
        {"fixed_memory", CONF_BYTES, AT(fixed_bytes), .min = 0, .max = 0x1p60,
                .help = "of every stage besides, on one device"},
        {"flight_memory", CONF_BYTES, AT(flight_bytes), .min = 0, .max = 0x1p60,
                .help = "of one layer for each micro-batch in flight, on one device"},
        {0}};
static const struct conf_table times_table = {.size = sizeof(struct table_times),
        .fields = times_fields,
        .help = "what stages take; without an entry a combination is not possible"};
#undef AT

#define AT(member) offsetof(struct instance_file, member)
static const struct conf_field file_fields[] = {
        {"name", CONF_STRING, AT(name), .def = "table", .help = "shown with the answer"},
        {"layers", CONF_INT, AT(n_layers), .required = true, .min = 1, .max = 4096,
                .help = "layers, all of which a replica holds"},
        {"objective", CONF_ENUM, AT(objective), .names = objective_names, .def = "throughput",
                .help = "throughput: most requests a second; price: cheapest for the demand"},
        {"demand", CONF_DOUBLE, AT(demand), .min = 0, .max = 1e15,
                .help = "requests a second, for the objective price"},
        {"max_stages", CONF_INT, AT(max_stages), .min = 0, .max = INSTANCE_STAGES, .def = "0",
                .help = "of a replica; 0: as many as there are layers, at most 128"},
        {"kinds", CONF_STRUCT_LIST, AT(kinds), .count = AT(n_kinds), .required = true,
                .sub = &kind_table, .help = "device kinds"},
        {"configs", CONF_STRUCT_LIST, AT(configs), .count = AT(n_configs), .required = true,
                .sub = &config_table, .help = "ways to run a stage"},
        {"limits", CONF_STRUCT_LIST, AT(limits), .count = AT(n_limits), .required = true,
                .sub = &limits_table, .help = "batch limits of a replica, one of them each"},
        {"times", CONF_STRUCT_LIST, AT(times), .count = AT(n_times), .required = true,
                .sub = &times_table, .help = "what stages take"},
        {0}};
#undef AT

const struct conf_table instance_file_table = {.format = "shardwright-table",
        .version = 1,
        .size = offsetof(struct instance_file, instance),
        .fields = file_fields,
        .help = "a placement problem as a plain table"};

/* The index of a name; -1 with the nearest known one in the message. The first field of every element is its
 * name. */
static int find_name(const char *name, const char *what, const void *elements, int n, size_t size,
        struct pos pos, struct err *err)
{
    const char *names[MOST_NAMES];
    for (int i = 0; i < n && i < MOST_NAMES; i++) {
        names[i] = *(const char *const *)(const void *)((const char *)elements + (size_t)i * size);
        if (strcmp(names[i], name) == 0)
            return i;
    }
    const char *near = str_nearest(name, names, n < MOST_NAMES ? n : MOST_NAMES);
    if (near != NULL)
        err_at(err, pos, "no %s is named \"%s\", did you mean \"%s\"?", what, name, near);
    else
        err_at(err, pos, "no %s is named \"%s\"", what, name);
    return -1;
}

static const struct table_times **slot(
        const struct instance_file *f, int limits, int config, int kind)
{
    return &f->of[((int64_t)limits * f->n_configs + config) * f->n_kinds + kind];
}

static double of_layer(const double *values, int n, int layer)
{
    return n == 0 ? 0 : values[n == 1 ? 0 : layer];
}

static int64_t bytes_of_layer(const struct table_times *t, int layer)
{
    return t->n_layer_bytes == 0 ? 0 : t->layer_bytes[t->n_layer_bytes == 1 ? 0 : layer];
}

static bool check_times(const struct instance_file *f, const struct table_times *t, struct err *err)
{
    if ((t->n_layer_us > 0) == (t->n_span_us > 0))
        return err_at(err, t->pos, "found %s layer_us and span_us, expected one of them",
                t->n_layer_us > 0 ? "both" : "neither");
    if (t->n_layer_us > 1 && t->n_layer_us != f->n_layers)
        return err_at(err, t->pos, "layer_us has %d figures, expected 1 or %d", t->n_layer_us,
                f->n_layers);
    if (t->n_span_us > f->n_layers)
        return err_at(err, t->pos, "span_us has %d figures, expected at most %d", t->n_span_us,
                f->n_layers);
    if (t->n_layer_bytes > 1 && t->n_layer_bytes != f->n_layers)
        return err_at(err, t->pos, "layer_bytes has %d figures, expected 1 or %d", t->n_layer_bytes,
                f->n_layers);
    return true;
}

static bool place_times(const struct instance_file *f, const struct table_times *t, struct err *err)
{
    int kind = find_name(t->kind, "kind", f->kinds, f->n_kinds, sizeof *f->kinds, t->pos, err);
    int config = kind < 0 ? -1
                          : find_name(t->config, "config", f->configs, f->n_configs,
                                  sizeof *f->configs, t->pos, err);
    int limits = 0;
    if (config >= 0 && t->limits != NULL)
        limits = find_name(
                t->limits, "limits", f->limits, f->n_limits, sizeof *f->limits, t->pos, err);
    if (config < 0 || limits < 0 || !check_times(f, t, err))
        return false;
    bool placed = false;
    for (int l = 0; l < f->n_limits; l++) {
        if ((t->limits != NULL && l != limits) || f->limits[l].family != f->configs[config].family)
            continue;
        placed = true;
        if (*slot(f, l, config, kind) != NULL)
            return err_at(err, t->pos, "a second entry for kind %s, config %s and limits %s",
                    t->kind, t->config, f->limits[l].name);
        *slot(f, l, config, kind) = t;
    }
    return placed
           || err_at(err, t->pos, "config %s and limits %s are of different families", t->config,
                   t->limits != NULL ? t->limits : "of any name");
}

static void price(void *self, struct instance_price *out, int kind, int config, int limits,
        int first, int end)
{
    const struct instance_file *f = self;
    const struct table_times *t = *slot(f, limits, config, kind);
    *out = (struct instance_price){0};
    int n = end - first;
    if (t == NULL || (t->n_span_us > 0 && n > t->n_span_us))
        return;
    int64_t bytes = t->fixed_bytes;
    double us = t->fixed_us + (first == 0 ? t->first_us : 0) + (end == f->n_layers ? t->last_us : 0)
                + (t->n_span_us > 0 ? t->span_us[n - 1] : 0);
    for (int l = first; l < end; l++) {
        us += of_layer(t->layer_us, t->n_layer_us, l);
        bytes += bytes_of_layer(t, l);
    }
    out->us = us;
    out->send_us = end < f->n_layers ? t->send_us : 0;
    int64_t room = f->kinds[kind].memory_bytes > 0 ? f->kinds[kind].memory_bytes - bytes
                                                   : INT64_C(1) << 60;
    int64_t each = t->flight_bytes * n;
    if (room < 0 || room < each)
        return;
    out->most_in_flight =
            each > 0 && room / each < INSTANCE_STAGES ? (int)(room / each) : INSTANCE_STAGES;
}

/* Layers that no entry tells apart are of one class, so that the solver prices them once. */
static int *find_classes(const struct instance_file *f, struct arena *arena)
{
    int *class_of = ARENA_NEW(arena, int, f->n_layers);
    int n = 0;
    for (int l = 0; l < f->n_layers; l++) {
        int same = 0;
        for (; same < l; same++) {
            bool equal = true;
            for (int i = 0; i < f->n_times && equal; i++) {
                const struct table_times *t = &f->times[i];
                equal = of_layer(t->layer_us, t->n_layer_us, l)
                                == of_layer(t->layer_us, t->n_layer_us, same)
                        && bytes_of_layer(t, l) == bytes_of_layer(t, same);
            }
            if (equal)
                break;
        }
        class_of[l] = same < l ? class_of[same] : n++;
    }
    return class_of;
}

bool instance_file_make(struct instance_file *f, struct arena *arena, struct err *err)
{
    if (f->n_kinds > INSTANCE_KINDS || f->n_kinds < 1)
        return err_set(
                err, ERR_INPUT, "found %d kinds, expected 1 to %d", f->n_kinds, INSTANCE_KINDS);
    f->of = ARENA_NEW(arena, const struct table_times *,
            (int64_t)f->n_limits * f->n_configs * f->n_kinds + 1);
    for (int i = 0; i < f->n_times; i++)
        if (!place_times(f, &f->times[i], err))
            return false;
    struct instance_kind *kinds = ARENA_NEW(arena, struct instance_kind, f->n_kinds);
    struct instance_config *configs = ARENA_NEW(arena, struct instance_config, f->n_configs + 1);
    struct instance_limits *limits = ARENA_NEW(arena, struct instance_limits, f->n_limits + 1);
    for (int k = 0; k < f->n_kinds; k++)
        kinds[k] = (struct instance_kind){f->kinds[k].name, f->kinds[k].devices, f->kinds[k].price};
    for (int l = 0; l < f->n_limits; l++)
        limits[l] = (struct instance_limits){f->limits[l].name, f->limits[l].role,
                f->limits[l].family, f->limits[l].requests,
                f->limits[l].round_cap_us > 0 ? f->limits[l].round_cap_us : HUGE_VAL};
    for (int c = 0; c < f->n_configs; c++) {
        configs[c] = (struct instance_config){
                .name = f->configs[c].name, .family = f->configs[c].family};
        for (int k = 0; k < f->n_kinds; k++)
            for (int l = 0; l < f->n_limits; l++)
                if (*slot(f, l, c, k) != NULL)
                    configs[c].devices[k] = f->configs[c].devices;
    }
    f->instance = (struct instance){.name = f->name,
            .n_layers = f->n_layers,
            .layer_class = find_classes(f, arena),
            .kinds = kinds,
            .n_kinds = f->n_kinds,
            .configs = configs,
            .n_configs = f->n_configs,
            .limits = limits,
            .n_limits = f->n_limits,
            .max_stages = f->max_stages > 0 || f->n_layers <= INSTANCE_STAGES ? f->max_stages
                                                                              : INSTANCE_STAGES,
            .objective = f->objective == 0 ? INSTANCE_THROUGHPUT : INSTANCE_PRICE,
            .demand = f->demand,
            .price = price,
            .self = f};
    return instance_check(&f->instance, err);
}

bool instance_file_read(
        struct instance_file *out, const char *path, struct arena *arena, struct err *err)
{
    memset(out, 0, sizeof *out);
    if (!conf_read_file(out, &instance_file_table, path, arena, err))
        return false;
    if (instance_file_make(out, arena, err))
        return true;
    return strncmp(err->text, path, strlen(path)) == 0 ? false : err_context(err, "%s", path);
}
