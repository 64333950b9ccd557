#include "cli/cli.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli/expert_loads.h"
#include "core/file.h"
#include "core/json.h"
#include "core/spec/expert_map.h"
#include "planner/experts.h"

struct experts_options {
    int devices, slots, spare, nodes, moves;
    const char *current, *out;
    double time_limit_s, gap;
};

#define AT(field) offsetof(struct experts_options, field)
static const struct opt opts[] = {
        {"devices", 'd', OPT_INT, AT(devices), .value = "N", .min = 1, .max = EXPERTS_MOST_DEVICES,
                .required = true, .help = "devices that share the experts of a layer"},
        {"slots", 'k', OPT_INT, AT(slots), .value = "K", .min = 1, .max = EXPERTS_MOST_SLOTS,
                .help = "experts that one device has room for; default: what --spare needs"},
        {"spare", 0, OPT_INT, AT(spare), .value = "N", .min = -1, .max = 1 << 20, .def = "-1",
                .help = "replicas in all beyond one of each expert; -1: as many as there are "
                        "slots"},
        {"nodes", 0, OPT_INT, AT(nodes), .value = "M", .min = 1, .max = EXPERTS_MOST_DEVICES,
                .def = "1", .help = "machines with equal, consecutive parts of the devices"},
        {"current", 0, OPT_STRING, AT(current), .value = "MAP",
                .help = "the map in use: as few experts as possible move"},
        {"moves", 0, OPT_INT, AT(moves), .value = "N", .min = -1, .max = 1 << 20, .def = "-1",
                .help = "copies that may be made in each layer against --current; -1: any number"},
        {"gap", 0, OPT_DOUBLE, AT(gap), .value = "FRACTION", .min = 0, .max = 0.5, .def = "0.0005",
                .help = "stop once a placement is proven to be so near the optimum"},
        {"time-limit", 0, OPT_SECONDS, AT(time_limit_s), .value = "TIME", .min = 0.01, .max = 1e6,
                .def = "10s", .help = "of one layer; then the best placement known and its gap"},
        {"output", 'o', OPT_STRING, AT(out), .value = "FILE",
                .help = "write the map here; - is stdout, without the table"},
        {NULL},
};
#undef AT

/* What one call answers, layer by layer. */
struct answer {
    const struct expert_loads *loads;
    struct experts_problem problem; /* without load and current */
    struct experts_map *maps;
};

static bool set_problem(struct answer *a, const struct experts_options *o, struct err *err)
{
    int experts = a->loads->n_experts;
    if (o->slots == 0 && o->spare < 0)
        return err_set(err, ERR_INPUT,
                "give --slots (of a device) or --spare (replicas in all beyond one of each "
                "expert): "
                "%d experts need at least %d slots on each of %d devices",
                experts, (experts + o->devices - 1) / o->devices, o->devices);
    if (o->moves >= 0 && o->current == NULL)
        return err_set(err, ERR_INPUT, "--moves counts against --current, expected that too");
    a->problem = (struct experts_problem){.n_experts = experts,
            .n_devices = o->devices,
            .slots = o->slots,
            .n_nodes = o->nodes,
            .moves = o->moves >= 0 ? o->moves : EXPERTS_ANY_MOVES};
    if (o->spare >= 0)
        a->problem.replicas = experts + o->spare;
    if (o->slots == 0)
        a->problem.slots = (experts + o->spare + o->devices - 1) / o->devices;
    return true;
}

static const struct expert_layer *find_layer(const struct expert_map *map, int layer)
{
    for (int i = 0; i < map->n_layers; i++)
        if (map->layers[i].layer == layer)
            return &map->layers[i];
    return NULL;
}

/* The current map of a layer as the planner wants it; NULL with err filled. */
static const int *current_slots(const struct answer *a, const struct expert_map *map, int layer,
        struct arena *arena, struct err *err)
{
    const struct experts_problem *p = &a->problem;
    const struct expert_layer *old = find_layer(map, layer);
    int *slots = ARENA_NEW(arena, int, (int64_t)p->n_devices * p->slots);
    for (int i = 0; i < p->n_devices * p->slots; i++)
        slots[i] = EXPERTS_EMPTY;
    if (old == NULL)
        err_set(err, ERR_INPUT, "the current map has no layer %d", layer);
    else if (map->n_experts != p->n_experts)
        err_set(err, ERR_INPUT, "the current map is for %d experts, the loads are of %d",
                map->n_experts, p->n_experts);
    else if (old->n_devices > p->n_devices)
        err_at(err, old->pos, "the current map has %d devices, now there are %d", old->n_devices,
                p->n_devices);
    else if (map->slots > p->slots)
        err_set(err, ERR_INPUT, "the current map has %d slots for each device, now there are %d",
                map->slots, p->slots);
    if (old == NULL || err->kind != ERR_NONE)
        return NULL;
    for (int d = 0; d < old->n_devices; d++)
        for (int i = 0; i < old->devices[d].n_experts; i++)
            slots[d * p->slots + i] = old->devices[d].experts[i];
    return slots;
}

static bool solve(struct answer *a, const struct cli *cli, const struct experts_options *o)
{
    struct expert_map current = {0};
    struct experts_limits limits = {.time_s = o->time_limit_s, .gap_frac = o->gap};
    if (o->current != NULL && !expert_map_read_file(&current, o->current, cli->arena, cli->err))
        return false;
    a->maps = ARENA_NEW(cli->arena, struct experts_map, a->loads->n_layers);
    for (int l = 0; l < a->loads->n_layers; l++) {
        struct experts_problem problem = a->problem;
        problem.load = a->loads->load + (int64_t)l * a->loads->n_experts;
        if (o->current != NULL) {
            problem.current = current_slots(a, &current, l, cli->arena, cli->err);
            if (problem.current == NULL)
                return err_context(cli->err, "%s", o->current);
        }
        if (!experts_place(&a->maps[l], &problem, &limits, cli->arena, cli->err))
            return err_context(cli->err, "layer %d", l);
    }
    return true;
}

static bool write_map(const struct answer *a, const struct cli *cli, const char *path)
{
    const struct experts_problem *p = &a->problem;
    int n_layers = a->loads->n_layers;
    struct expert_map map = {.n_experts = p->n_experts, .slots = p->slots, .n_layers = n_layers};
    map.layers = ARENA_NEW(cli->arena, struct expert_layer, n_layers);
    for (int l = 0; l < n_layers; l++) {
        const struct experts_map *m = &a->maps[l];
        struct expert_device *devices = ARENA_NEW(cli->arena, struct expert_device, p->n_devices);
        map.layers[l] = (struct expert_layer){.layer = l,
                .max_load = m->max_load,
                .bound = m->bound,
                .mean = m->mean,
                .gap_frac = m->gap_frac,
                .devices = devices,
                .n_devices = p->n_devices};
        for (int d = 0; d < p->n_devices; d++) {
            devices[d].experts = m->slot + (int64_t)d * p->slots;
            while (devices[d].n_experts < p->slots
                    && devices[d].experts[devices[d].n_experts] != EXPERTS_EMPTY)
                devices[d].n_experts++;
        }
    }
    char *text;
    return conf_write(&text, &map, &expert_map_table, cli->arena, cli->err)
           && file_write(path, text, (int64_t)strlen(text), cli->err);
}

static void put_layer(struct json_writer *w, const struct answer *a, int layer)
{
    const struct experts_problem *p = &a->problem;
    const struct experts_map *m = &a->maps[layer];
    json_object_begin(w, NULL);
    json_put_int(w, "layer", layer);
    json_put_double(w, "max_load", m->max_load);
    json_put_double(w, "bound", m->bound);
    json_put_double(w, "gap_frac", m->gap_frac);
    json_put_double(w, "mean", m->mean);
    json_put_double(w, "greedy", m->greedy);
    json_put_string(w, "proof", m->proof);
    json_put_int(w, "programs", m->programs);
    json_put_int(w, "nodes", m->nodes);
    json_put_double(w, "solve_s", m->seconds);
    json_put_int(w, "moved", m->moved);
    json_put_double(w, "node_max_load", m->node_max_load);
    json_put_double(w, "home_frac", m->home_frac);
    json_array_begin(w, "replicas");
    for (int e = 0; e < p->n_experts; e++)
        json_put_int(w, NULL, m->replicas[e]);
    json_end(w);
    json_array_begin(w, "devices");
    for (int d = 0; d < p->n_devices; d++) {
        json_object_begin(w, NULL);
        json_put_double(w, "load", m->load[d]);
        json_array_begin(w, "experts");
        for (int i = 0; i < p->slots && m->slot[d * p->slots + i] != EXPERTS_EMPTY; i++)
            json_put_int(w, NULL, m->slot[d * p->slots + i]);
        json_end(w);
        json_end(w);
    }
    json_end(w);
    json_end(w);
}

static void print_json(const struct answer *a)
{
    struct json_writer w = {.pretty = true};
    json_object_begin(&w, NULL);
    json_put_int(&w, "n_experts", a->problem.n_experts);
    json_put_int(&w, "n_devices", a->problem.n_devices);
    json_put_int(&w, "slots", a->problem.slots);
    json_array_begin(&w, "layers");
    for (int l = 0; l < a->loads->n_layers; l++)
        put_layer(&w, a, l);
    json_end(&w);
    json_end(&w);
    puts(w.text);
    json_writer_free(&w);
}

static void print_table(const struct answer *a, bool current)
{
    const struct experts_problem *p = &a->problem;
    printf("%d experts on %d devices with %d slots\n", p->n_experts, p->n_devices, p->slots);
    printf("  layer   max load      bound     gap       mean     greedy%s%s  proof\n",
            p->n_nodes > 1 ? "   node max  at home" : "", current ? "  copies" : "");
    for (int l = 0; l < a->loads->n_layers; l++) {
        const struct experts_map *m = &a->maps[l];
        char greedy[32] = "none";
        if (isfinite(m->greedy))
            snprintf(greedy, sizeof greedy, "%.6g", m->greedy);
        printf("  %5d %10.6g %10.6g %6.2f%% %10.6g %10s", l, m->max_load, m->bound,
                m->gap_frac * 100, m->mean, greedy);
        if (p->n_nodes > 1)
            printf(" %10.6g %7.1f%%", m->node_max_load, m->home_frac * 100);
        if (current)
            printf(" %7d", m->moved);
        printf("  %s\n", m->proof);
    }
}

static bool run(struct cli *cli, void *options)
{
    const struct experts_options *o = options;
    struct expert_loads loads;
    struct answer answer = {.loads = &loads};
    if (!expert_loads_read(&loads, cli->argv[0], cli->arena, cli->err)
            || !set_problem(&answer, o, cli->err) || !solve(&answer, cli, o))
        return false;
    if (o->out != NULL && !write_map(&answer, cli, o->out))
        return false;
    if (o->out != NULL && strcmp(o->out, "-") == 0)
        return true;
    if (cli->json)
        print_json(&answer);
    else
        print_table(&answer, o->current != NULL);
    return true;
}

const struct command command_experts = {
        .name = "experts",
        .summary = "place the experts of a mixture-of-experts model, some more than once",
        .usage = "LOADS",
        .description =
                "LOADS has one row for each layer and one column for each expert: how much work "
                "it had, in any unit, as CSV or as a JSON array of arrays. An expert with r "
                "replicas brings 1/r of its load to each device that holds one. Finds for each "
                "layer the placement whose fullest device has the least to do, prints it beside "
                "the proven bound and beside what the usual greedy rule reaches, and writes the "
                "map. With --nodes replicas go to unlike nodes: \"at home\" is the share of the "
                "load that finds a replica in its own node. With --current as few experts as "
                "possible are copied, with --moves at most so many. docs/ilp.md has the "
                "mathematics.\n\nExit status 1: there are too few slots, or too few copies are "
                "allowed.",
        .examples = "shardwright experts loads.csv --devices 32 --spare 32 -o map.yaml\n"
                    "shardwright experts now.csv -d 32 --spare 32 --current map.yaml --moves 16",
        .opts = opts,
        .options_size = sizeof(struct experts_options),
        .min_operands = 1,
        .max_operands = 1,
        .run = run,
};
