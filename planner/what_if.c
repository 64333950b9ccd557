#include "planner/what_if.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/spec/cluster_line.h"
#include "core/str.h"
#include "planner/what_if_scale.h"

enum aspect {
    ASPECT_MEMORY,
    ASPECT_COMPUTE,
    ASPECT_BANDWIDTH,
    ASPECT_PRICE,
    ASPECT_COUNT,
    ASPECT_LATENCY,
    N_ASPECTS
};
static const char *const aspect_names[] = {
        "memory", "compute", "bandwidth", "price", "count", "latency"};

struct change {
    const char *text; /* whole, for messages */
    const char *name; /* of the kind or link */
    bool link;
    enum aspect aspect;
    const char *value; /* behind = */
    bool factor;       /* of value: it ends with x */
    double times;      /* the factor */
};

static bool bad(const struct change *c, struct err *err, const char *why)
{
    return err_set(err, ERR_INPUT,
            "--what-if %s: %s; expected for example h200.memory=2x, h200.count=16 or "
            "link.ib.bandwidth=50GB/s",
            c->text, why);
}

static bool read_aspect(struct change *c, const char *name, struct arena *arena, struct err *err)
{
    for (int a = 0; a < N_ASPECTS; a++)
        if (strcmp(aspect_names[a], name) == 0) {
            bool of_link = a == ASPECT_BANDWIDTH || a == ASPECT_LATENCY;
            c->aspect = (enum aspect)a;
            if (c->link && !of_link)
                return bad(c, err, "a link has bandwidth and latency");
            if (!c->link && a == ASPECT_LATENCY)
                return bad(
                        c, err, "a kind of device has no latency, a link has (link.NAME.latency)");
            return true;
        }
    const char *near = str_nearest(name, aspect_names, N_ASPECTS);
    return bad(c, err,
            near != NULL ? arena_printf(arena, "found \"%s\", did you mean \"%s\"?", name, near)
                         : arena_printf(arena,
                                 "found \"%s\", known are memory, compute, bandwidth, price, "
                                 "count, and latency of links",
                                 name));
}

static bool read_value(struct change *c, const char *value, struct arena *arena, struct err *err)
{
    size_t len = strlen(value);
    c->value = value;
    c->factor = len > 1 && value[len - 1] == 'x';
    if (!c->factor)
        return len > 0 || bad(c, err, "found no value");
    const char *number = arena_strndup(arena, value, (int64_t)len - 1);
    if (!str_to_double(&c->times, number, err))
        return err_context(err, "--what-if %s", c->text);
    return (c->times > 0 && c->times <= 1e6)
           || bad(c, err, "the factor is out of range, expected more than 0, at most 1000000");
}

static bool read_change(struct change *c, const char *text, struct arena *arena, struct err *err)
{
    *c = (struct change){.text = text, .name = "", .value = ""};
    const char *equals = strchr(text, '=');
    if (equals == NULL)
        return bad(c, err, "found no =");
    char *target = arena_strndup(arena, text, equals - text);
    c->link = strncmp(target, "link.", 5) == 0;
    char *name = c->link ? target + 5 : target;
    char *dot = strrchr(name, '.');
    if (dot == NULL || dot == name)
        return bad(c, err, "found no name and what of it changes, with a dot between");
    *dot = '\0';
    c->name = name;
    return read_aspect(c, dot + 1, arena, err) && read_value(c, equals + 1, arena, err);
}

/* old times the factor, or the value in the unit of the aspect. */
static bool new_value(double *out, const struct change *c, double old, struct err *err)
{
    if (c->factor) {
        *out = old * c->times;
        return true;
    }
    int64_t bytes = 0;
    bool ok = false;
    switch (c->aspect) {
    case ASPECT_MEMORY:
        ok = str_to_bytes(&bytes, c->value, err);
        *out = (double)bytes;
        break;
    case ASPECT_BANDWIDTH:
        ok = str_to_bytes_per_s(out, c->value, err);
        break;
    case ASPECT_LATENCY:
        ok = str_to_us(out, c->value, err);
        break;
    case ASPECT_COMPUTE:
    case ASPECT_PRICE:
    case ASPECT_COUNT:
    case N_ASPECTS:
        ok = str_to_double(out, c->value, err);
        break;
    }
    if (!ok)
        return err_context(err, "--what-if %s", c->text);
    return *out > 0 || (*out == 0 && c->aspect == ASPECT_PRICE)
           || bad(c, err, "the value must be above 0");
}

/* How much of a figure there is now against before, for measured costs: it must have been known. */
static bool ratio(double *times, const struct change *c, double old, double new, struct err *err)
{
    *times = c->factor ? c->times : new / old;
    if (c->factor || old > 0)
        return true;
    return bad(c, err,
            "the cluster does not state the old value, so that measured costs cannot "
            "follow: give a factor (2x)");
}

static struct profile *profile_of(const struct what_if *what, const char *kind)
{
    for (int i = 0; i < what->n_profiles; i++)
        if (what->profiles[i].n > 0
                && (what->profiles[i].device == NULL
                        || strcmp(what->profiles[i].device, kind) == 0))
            return &what->profiles[i];
    return NULL;
}

/* Machines of a kind, so that the devices in all are `wanted`: groups in order keep what they have, the first
 * one that is too many shrinks, the last one grows. */
static bool set_count(struct what_if *what, const struct change *c, double wanted, struct err *err)
{
    struct cluster *cluster = &what->cluster;
    int64_t left = (int64_t)llround(wanted);
    struct cluster_node *last = NULL;
    for (int i = 0; i < cluster->n_nodes; i++) {
        struct cluster_node *node = &cluster->nodes[i];
        if (strcmp(node->kind, c->name) != 0)
            continue;
        int64_t fits = left / node->devices;
        node->count = (int)(fits < node->count ? fits : node->count);
        left -= (int64_t)node->count * node->devices;
        last = node;
    }
    if (last == NULL)
        return bad(c, err, "no machine of the cluster has this kind");
    if (left % last->devices != 0)
        return bad(c, err, "that is no whole number of the cluster's machines");
    if (last->count + left / last->devices > 65536)
        return bad(c, err, "that is more than 65536 machines");
    last->count += (int)(left / last->devices);
    int kept = 0;
    for (int i = 0; i < cluster->n_nodes; i++)
        if (cluster->nodes[i].count > 0)
            cluster->nodes[kept++] = cluster->nodes[i];
    cluster->n_nodes = kept;
    return kept > 0 || bad(c, err, "that leaves no device at all");
}

static double count_of(const struct cluster *cluster, const char *kind)
{
    double n = 0;
    for (int i = 0; i < cluster->n_nodes; i++)
        if (strcmp(cluster->nodes[i].kind, kind) == 0)
            n += (double)cluster->nodes[i].count * cluster->nodes[i].devices;
    return n;
}

static bool change_kind(struct what_if *what, const struct change *c, struct device_kind *kind,
        struct arena *arena, struct err *err)
{
    struct profile *profile = profile_of(what, kind->name);
    struct scale scale = {1, 1, 1, 1, 1, 1};
    double value = 0;
    switch (c->aspect) {
    case ASPECT_MEMORY:
        if (!new_value(&value, c, (double)kind->memory_bytes, err))
            return false;
        kind->memory_bytes = (int64_t)fmin(value, 0x1p62);
        break;
    case ASPECT_COMPUTE:
        if (!new_value(&value, c, kind->flops, err)
                || (profile != NULL && !ratio(&scale.compute, c, kind->flops, value, err)))
            return false;
        if (kind->flops > 0)
            kind->flops_f8 *= value / kind->flops;
        kind->flops = value;
        break;
    case ASPECT_BANDWIDTH:
        if (!new_value(&value, c, kind->memory_rate, err)
                || (profile != NULL && !ratio(&scale.memory, c, kind->memory_rate, value, err)))
            return false;
        kind->memory_rate = value;
        break;
    case ASPECT_PRICE:
        return new_value(&kind->price_per_hour, c, kind->price_per_hour, err);
    case ASPECT_COUNT:
        return new_value(&value, c, count_of(&what->cluster, kind->name), err)
               && set_count(what, c, value, err);
    case ASPECT_LATENCY:
    case N_ASPECTS:
        break;
    }
    if (profile != NULL)
        what_if_scale(profile, &scale, arena);
    return true;
}

/* A kind from its datasheet, in machines as its vendor builds them. */
static bool add_kind(
        struct what_if *what, const struct change *c, struct arena *arena, struct err *err)
{
    const struct device_sheet *sheet = device_sheet_find(c->name);
    const char *names[64] = {""};
    int n = what->cluster.n_kinds < 64 ? what->cluster.n_kinds : 64;
    for (int i = 0; i < n; i++)
        names[i] = what->cluster.kinds[i].name;
    const char *near = str_nearest(c->name, names, n);
    if (sheet == NULL)
        return bad(c, err,
                near != NULL ? arena_printf(
                        arena, "no kind is named \"%s\", did you mean \"%s\"?", c->name, near)
                             : arena_printf(arena,
                                     "no kind is named \"%s\", in the cluster the first one is "
                                     "\"%s\", and datasheets are known of %s",
                                     c->name, names[0], device_sheet_names()));
    double count = 0;
    if (c->aspect != ASPECT_COUNT || c->factor)
        return bad(c, err,
                arena_printf(arena, "the cluster has no %s: say first how many, %s.count=8",
                        c->name, c->name));
    if (!new_value(&count, c, 0, err))
        return false;
    int64_t devices = (int64_t)llround(count);
    int per_node = devices < sheet->node_devices ? (int)devices : sheet->node_devices;
    if (devices < 1 || devices % per_node != 0 || devices / per_node > 65536)
        return bad(c, err,
                arena_printf(arena, "machines have %d of them, expected a multiple", per_node));
    cluster_line_add(&what->cluster, sheet, (int)(devices / per_node), per_node, arena);
    return true;
}

/* The link that a kind's exchanges were measured over: the fastest, else the first of its sort. */
static const struct cluster_link *link_used(
        const struct cluster *cluster, const char *kind, bool inside)
{
    double rate;
    const struct cluster_link *best = cluster_best_link(cluster, kind, inside, &rate);
    for (int i = 0; best == NULL && i < cluster->n_links; i++) {
        const struct cluster_link *link = &cluster->links[i];
        if (link->inside == inside && (link->kind == NULL || strcmp(link->kind, kind) == 0))
            best = link;
    }
    return best;
}

static bool change_one_link(struct what_if *what, const struct change *c, struct cluster_link *link,
        struct arena *arena, struct err *err)
{
    bool latency = c->aspect == ASPECT_LATENCY;
    double old = latency ? link->latency_us : link->rate;
    double value = old;
    double times = 1;
    if (!new_value(&value, c, old, err)
            || (what->n_profiles > 0 && !ratio(&times, c, old, value, err)))
        return false;
    struct scale scale = {1, 1, 1, 1, 1, 1};
    if (latency)
        *(link->inside ? &scale.inside_latency : &scale.between_latency) = times;
    else
        *(link->inside ? &scale.inside : &scale.between) = times;
    for (int k = 0; k < what->cluster.n_kinds; k++) {
        const char *kind = what->cluster.kinds[k].name;
        struct profile *profile = profile_of(what, kind);
        if (profile != NULL && link_used(&what->cluster, kind, link->inside) == link)
            what_if_scale(profile, &scale, arena);
    }
    *(latency ? &link->latency_us : &link->rate) = value;
    return true;
}

static bool unknown_link(
        const struct what_if *what, const struct change *c, struct arena *arena, struct err *err)
{
    const char *names[64] = {""};
    int n = what->cluster.n_links < 64 ? what->cluster.n_links : 64;
    for (int i = 0; i < n; i++)
        names[i] = what->cluster.links[i].name;
    const char *near = n > 0 ? str_nearest(c->name, names, n) : NULL;
    if (n == 0)
        return bad(c, err, "the cluster states no links");
    if (near != NULL)
        return bad(c, err,
                arena_printf(
                        arena, "no link is named \"%s\", did you mean \"%s\"?", c->name, near));
    return bad(c, err,
            arena_printf(
                    arena, "no link is named \"%s\", the first one is \"%s\"", c->name, names[0]));
}

static bool change_link(
        struct what_if *what, const struct change *c, struct arena *arena, struct err *err)
{
    bool found = false;
    for (int i = 0; i < what->cluster.n_links; i++) {
        if (strcmp(what->cluster.links[i].name, c->name) != 0)
            continue;
        if (!change_one_link(what, c, &what->cluster.links[i], arena, err))
            return false;
        found = true;
    }
    return found || unknown_link(what, c, arena, err);
}

static void own_copies(struct what_if *what, struct arena *arena)
{
    struct cluster *c = &what->cluster;
    c->kinds = arena_grow(arena, c->kinds, c->n_kinds, c->n_kinds, sizeof *c->kinds);
    c->nodes = arena_grow(arena, c->nodes, c->n_nodes, c->n_nodes, sizeof *c->nodes);
    c->links = arena_grow(arena, c->links, c->n_links, c->n_links, sizeof *c->links);
    what->profiles = arena_grow(
            arena, what->profiles, what->n_profiles, what->n_profiles, sizeof *what->profiles);
}

bool what_if_apply(struct what_if *what, const char *text, struct arena *arena, struct err *err)
{
    struct change change;
    if (!read_change(&change, text, arena, err))
        return false;
    own_copies(what, arena);
    what->cluster.name = arena_printf(arena, "%s, %s", what->cluster.name, text);
    if (change.link)
        return change_link(what, &change, arena, err);
    for (int k = 0; k < what->cluster.n_kinds; k++)
        if (strcmp(what->cluster.kinds[k].name, change.name) == 0)
            return change_kind(what, &change, &what->cluster.kinds[k], arena, err);
    return add_kind(what, &change, arena, err);
}
