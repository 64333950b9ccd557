#include "core/spec/cluster.h"

#include <string.h>

#include "core/spec/cluster_line.h"
#include "core/str.h"

static const char *const type_names[] = {"cpu", "cuda", NULL};

#define AT(member) offsetof(struct device_kind, member)
static const struct conf_field kind_fields[] = {
        {"name", CONF_STRING, AT(name), .required = true, .pos = AT(pos),
                .help = "what nodes call this kind of device"},
        {"type", CONF_ENUM, AT(type), .names = type_names, .def = "cpu",
                .help = "cpu: a device is one core; cuda: one GPU"},
        {"memory", CONF_BYTES, AT(memory_bytes), .required = true, .min = 1 << 20, .max = 0x1p50,
                .help = "memory of one device that a plan may fill"},
        {"flops", CONF_DOUBLE, AT(flops), .min = 0, .max = 1e20,
                .help = "peak FLOP/s of one device; 0 or left out: unknown"},
        {"flops_f8", CONF_DOUBLE, AT(flops_f8), .min = 0, .max = 1e20,
                .help = "peak FLOP/s of products of 8-bit types; 0 or left out: as flops"},
        {"memory_rate", CONF_RATE, AT(memory_rate), .min = 0, .max = 1e18,
                .help = "memory bandwidth of one device; 0 or left out: unknown"},
        {"price_per_hour", CONF_DOUBLE, AT(price_per_hour), .min = 0, .max = 1e9,
                .help = "price of one device for an hour, in any currency"},
        {"threads", CONF_INT_LIST, AT(threads), .count = AT(n_threads), .min = 1, .max = 4096,
                .def = "[1]", .help = "cpu: how many cores one rank may drive, each choice"},
        {"dtypes", CONF_STRING_LIST, AT(dtypes), .count = AT(n_dtypes),
                .help = "types of weights that its kernels take (f32, bf16, f16, f8, f8_block); "
                        "left "
                        "out: all"},
        {0}};
static const struct conf_table kind_table = {
        .size = sizeof(struct device_kind), .fields = kind_fields, .help = "a device kind"};
#undef AT

#define AT(member) offsetof(struct cluster_node, member)
static const struct conf_field node_fields[] = {
        {"name", CONF_STRING, AT(name), .pos = AT(pos), .def = "node",
                .help = "name of this group of machines"},
        {"count", CONF_INT, AT(count), .min = 1, .max = 65536, .def = "1",
                .help = "machines of this description"},
        {"hosts", CONF_STRING_LIST, AT(hosts), .count = AT(n_hosts),
                .help = "names of the machines, for ssh: a plan made with them is run there"},
        {"kind", CONF_STRING, AT(kind), .required = true, .pos = AT(kind_pos),
                .help = "a name from kinds"},
        {"devices", CONF_INT, AT(devices), .required = true, .min = 1, .max = 4096,
                .help = "devices of that kind in each machine"},
        {0}};
static const struct conf_table node_table = {
        .size = sizeof(struct cluster_node), .fields = node_fields, .help = "a group of machines"};
#undef AT

#define AT(member) offsetof(struct cluster_link, member)
static const struct conf_field link_fields[] = {
        {"name", CONF_STRING, AT(name), .required = true, .help = "what it is: shm, nvlink, ib"},
        {"inside", CONF_BOOL, AT(inside), .def = "false",
                .help = "true: joins devices of one machine; false: joins machines"},
        {"rate", CONF_RATE, AT(rate), .min = 0, .max = 1e18,
                .help = "bandwidth of one device; measured figures win"},
        {"latency", CONF_US, AT(latency_us), .min = 0, .max = 1e9,
                .help = "time of an empty message"},
        {"rails", CONF_INT, AT(rails), .min = 0, .max = 4096,
                .help = "adapters of a machine that its devices share, each of this rate; 0 or "
                        "left "
                        "out: every device has its own"},
        {"sharing", CONF_DOUBLE, AT(sharing), .min = 1, .max = 1000, .def = "1",
                .help = "how many times over the links above are booked (rack uplinks): 2 halves "
                        "the "
                        "rate"},
        {"kind", CONF_STRING, AT(kind), .pos = AT(pos),
                .help = "only for devices of this kind; left out: all"},
        {0}};
static const struct conf_table link_table = {
        .size = sizeof(struct cluster_link), .fields = link_fields, .help = "a link"};
#undef AT

#define AT(member) offsetof(struct cluster, member)
static const struct conf_field cluster_fields[] = {
        {"name", CONF_STRING, AT(name), .def = "cluster", .help = "shown in reports"},
        {"kinds", CONF_STRUCT_LIST, AT(kinds), .count = AT(n_kinds), .required = true,
                .sub = &kind_table, .help = "device kinds"},
        {"nodes", CONF_STRUCT_LIST, AT(nodes), .count = AT(n_nodes), .required = true,
                .sub = &node_table, .help = "groups of machines that are alike"},
        {"links", CONF_STRUCT_LIST, AT(links), .count = AT(n_links), .sub = &link_table,
                .help = "links between devices and between machines"},
        {0}};
#undef AT

const struct conf_table cluster_table = {.format = "shardwright-cluster",
        .version = 1,
        .size = sizeof(struct cluster),
        .fields = cluster_fields,
        .help = "machines, devices and links"};

const struct device_kind *cluster_kind(const struct cluster *cluster, const char *name)
{
    for (int i = 0; i < cluster->n_kinds; i++) {
        if (strcmp(cluster->kinds[i].name, name) == 0)
            return &cluster->kinds[i];
    }
    return NULL;
}

bool cluster_kind_allows(const struct device_kind *kind, enum dtype dtype)
{
    for (int i = 0; i < kind->n_dtypes; i++)
        if (strcmp(kind->dtypes[i], dtype_names[dtype]) == 0)
            return true;
    return kind->n_dtypes == 0;
}

int64_t cluster_devices(const struct cluster *cluster)
{
    int64_t n = 0;
    for (int i = 0; i < cluster->n_nodes; i++)
        n += (int64_t)cluster->nodes[i].count * cluster->nodes[i].devices;
    return n;
}

static int most_devices(const struct cluster *cluster, const char *kind)
{
    int most = 1;
    for (int i = 0; i < cluster->n_nodes; i++)
        if (strcmp(cluster->nodes[i].kind, kind) == 0 && cluster->nodes[i].devices > most)
            most = cluster->nodes[i].devices;
    return most;
}

const struct cluster_link *cluster_best_link(
        const struct cluster *cluster, const char *kind, bool inside, double *rate)
{
    const struct cluster_link *best = NULL;
    *rate = 0;
    for (int i = 0; i < cluster->n_links; i++) {
        const struct cluster_link *link = &cluster->links[i];
        if (link->inside != inside || (link->kind != NULL && strcmp(link->kind, kind) != 0))
            continue;
        double own = link->rate / (link->sharing > 0 ? link->sharing : 1);
        if (link->rails > 0)
            own *= (double)link->rails / most_devices(cluster, kind);
        if (own > *rate) {
            *rate = own;
            best = link;
        }
    }
    return best;
}

/* names[0..n) or what is nearest to a kind that is not there. */
static bool unknown_kind(
        const struct cluster *cluster, const char *name, struct pos pos, struct err *err)
{
    const char *names[64];
    int n = cluster->n_kinds < 64 ? cluster->n_kinds : 64;
    for (int i = 0; i < n; i++)
        names[i] = cluster->kinds[i].name;
    const char *near = str_nearest(name, names, n);
    if (near != NULL)
        return err_at(err, pos, "no kind is named \"%s\", did you mean \"%s\"?", name, near);
    return err_at(err, pos, "no kind is named \"%s\", the first one is \"%s\"", name, names[0]);
}

static bool check_kind(
        const struct cluster *cluster, const struct device_kind *kind, struct err *err)
{
    if (cluster_kind(cluster, kind->name) != kind)
        return err_at(
                err, kind->pos, "a second kind is named \"%s\", expected another name", kind->name);
    for (int i = 0; i < kind->n_threads; i++) {
        if (kind->type != DEVICE_CPU && kind->threads[i] != 1)
            return err_at(err, kind->pos,
                    "kind \"%s\": threads is %d, but one rank drives one GPU: expected [1]",
                    kind->name, kind->threads[i]);
        if (i > 0 && kind->threads[i] <= kind->threads[i - 1])
            return err_at(err, kind->pos,
                    "kind \"%s\": threads has %d after %d, expected ascending numbers", kind->name,
                    kind->threads[i], kind->threads[i - 1]);
    }
    if (kind->n_threads == 0)
        return err_at(
                err, kind->pos, "kind \"%s\": threads is empty, expected [1] or more", kind->name);
    return true;
}

static bool check_node(
        const struct cluster *cluster, const struct cluster_node *node, struct err *err)
{
    const struct device_kind *kind = cluster_kind(cluster, node->kind);
    if (kind == NULL)
        return unknown_kind(cluster, node->kind, node->kind_pos, err);
    for (int i = 0; i < kind->n_threads; i++) {
        if (node->devices % kind->threads[i] != 0)
            return err_at(err, node->pos,
                    "node \"%s\" has %d devices, which ranks of %d threads (kind \"%s\") do not "
                    "divide",
                    node->name, node->devices, kind->threads[i], kind->name);
    }
    return true;
}

static bool check_hosts(const struct cluster *cluster, int at, struct err *err)
{
    const struct cluster_node *node = &cluster->nodes[at];
    if (node->n_hosts > 0 && node->n_hosts != node->count)
        return err_at(err, node->pos,
                "node \"%s\" has %d hosts and a count of %d, expected as many names as machines",
                node->name, node->n_hosts, node->count);
    for (int h = 0; h < node->n_hosts; h++) {
        const char *name = node->hosts[h];
        if (*name == '\0' || strpbrk(name, ", \t:") != NULL || *name == '-')
            return err_at(err, node->pos,
                    "node \"%s\": \"%s\" is no host name, expected one that ssh takes", node->name,
                    name);
        for (int i = 0; i <= at; i++)
            for (int k = 0; k < (i == at ? h : cluster->nodes[i].n_hosts); k++)
                if (strcmp(cluster->nodes[i].hosts[k], name) == 0)
                    return err_at(err, node->pos,
                            "host \"%s\" is named twice; one machine is one entry", name);
        if ((node->n_hosts > 0) != (cluster->nodes[0].n_hosts > 0))
            break;
    }
    if ((node->n_hosts > 0) != (cluster->nodes[0].n_hosts > 0))
        return err_at(err, node->pos,
                "some nodes have hosts and node \"%s\" has %s, expected names for all or for none",
                node->name, node->n_hosts > 0 ? "some" : "none");
    return true;
}

bool cluster_check(const struct cluster *cluster, struct err *err)
{
    if (cluster->n_kinds == 0)
        return err_set(err, ERR_INPUT, "the cluster has no kinds, expected at least one");
    if (cluster->n_nodes == 0)
        return err_set(err, ERR_INPUT, "the cluster has no nodes, expected at least one");
    for (int i = 0; i < cluster->n_kinds; i++) {
        if (!check_kind(cluster, &cluster->kinds[i], err))
            return false;
    }
    for (int i = 0; i < cluster->n_nodes; i++) {
        if (!check_node(cluster, &cluster->nodes[i], err) || !check_hosts(cluster, i, err))
            return false;
    }
    for (int i = 0; i < cluster->n_links; i++) {
        const struct cluster_link *link = &cluster->links[i];
        if (link->kind != NULL && cluster_kind(cluster, link->kind) == NULL)
            return unknown_kind(cluster, link->kind, link->pos, err);
    }
    if (cluster_devices(cluster) > 1 << 20)
        return err_at(err, cluster->nodes[0].pos, "found %lld devices, expected at most 1048576",
                (long long)cluster_devices(cluster));
    return true;
}

bool cluster_read_file(struct cluster *out, const char *path, struct arena *arena, struct err *err)
{
    if (cluster_line_is(path))
        return cluster_line_read(out, path, arena, err);
    if (!conf_read_file(out, &cluster_table, path, arena, err))
        return false;
    for (int i = 0; i < out->n_nodes; i++)
        if (out->nodes[i].count == 1 && out->nodes[i].n_hosts > 1)
            out->nodes[i].count = out->nodes[i].n_hosts; /* names are count enough */
    if (cluster_check(out, err))
        return true;
    /* what has no place of its own gets at least the file */
    return strncmp(err->text, path, strlen(path)) == 0 ? false : err_context(err, "%s", path);
}
