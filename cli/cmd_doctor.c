/*
 * doctor - what this machine has, what is missing and how to get it; and the cluster file of it.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/software.h"
#include "cli/speed.h"
#include "core/file.h"
#include "core/json.h"
#include "core/log.h"
#include "core/spec/cluster.h"
#include "core/str.h"
#include "profiler/topology.h"

/* Of the memory of a machine, what plans may use; the rest is for the system and the program. */
#define MEMORY_FRAC 0.9

struct options {
    bool cluster, no_measure;
    const char *out;
};

#define AT(field) offsetof(struct options, field)

static const struct opt opts[] = {
        {"cluster", 0, OPT_FLAG, AT(cluster), .help = "write this machine's cluster file"},
        {"output", 'o', OPT_STRING, AT(out), .value = "FILE", .def = "-",
                .help = "where --cluster writes to, - is stdout"},
        {"no-measure", 0, OPT_FLAG, AT(no_measure),
                .help = "only look; leave out memory bandwidth and arithmetic"},
        {NULL},
};

/* Everything the doctor found. */
struct findings {
    char host[256];
    struct topology topology;
    struct speed speed;
    bool measured;
    struct software *software;
    int n_software;
};

static const char *or_unknown(const char *text)
{
    return text && *text ? text : "unknown";
}

/* Bytes per second with three digits: "27.9 GB/s". */
static char *show_rate(char *buf, size_t size, double rate)
{
    if (rate <= 0)
        snprintf(buf, size, "unknown");
    else if (rate >= 1e9)
        snprintf(buf, size, "%.3g GB/s", rate / 1e9);
    else
        snprintf(buf, size, "%.3g MB/s", rate / 1e6);
    return buf;
}

static void show_machine(const struct findings *f)
{
    const struct topology *t = &f->topology;
    char buf[64];

    printf("Machine       %s\n", f->host);
    printf("Processor     %s\n", t->cpu);
    printf("Cores         %d in %d socket%s, %d hardware threads\n", t->cores, t->sockets,
            t->sockets == 1 ? "" : "s", t->hardware_threads);
    printf("Instructions  %s\n", *t->isa ? t->isa : "nothing beyond the base set");
    for (int i = 0; i < t->n_caches; i++)
        printf("%-14sL%d %s x %d, %d core%s each\n", i ? "" : "Caches", t->caches[i].level,
                str_show_bytes(buf, (double)t->caches[i].bytes), t->caches[i].count,
                t->caches[i].cores, t->caches[i].cores == 1 ? "" : "s");
    printf("Memory        %s%s", str_show_bytes(buf, (double)t->memory_bytes),
            t->memory_limited ? " (limit of the control group)" : "");
    printf(", %d NUMA node%s\n", t->n_numa, t->n_numa == 1 ? "" : "s");
    if (f->measured)
        printf("Measured      reads %s, multiplies %.3g GFLOP/s (f32, %d threads)%s\n",
                show_rate(buf, sizeof buf, f->speed.read_bytes_per_s), f->speed.flops / 1e9,
                f->speed.threads,
                f->speed.optimised ? "" : "\n              too low: this is a debug build");
    if (t->hypervisor)
        printf("Virtual       yes (%s): others may take time from these cores\n", t->hypervisor);
    printf("Governor      %s\n", or_unknown(t->governor));
    printf("GPUs          %d from NVIDIA%s\n", t->n_gpus,
            t->n_gpus ? "" : "; the devices here are CPU cores");
    const char *title = "Networks";
    for (int i = 0; i < t->n_networks; i++) {
        const struct topology_network *network = &t->networks[i];
        if (!network->up)
            continue;
        printf("%-14s%s %s, rate %s\n", title, network->kind, network->name,
                show_rate(buf, sizeof buf, network->rate));
        title = "";
    }
    if (*title)
        printf("%-14snone is up\n", title);
}

static void show_software(const struct findings *f)
{
    int missing = 0;
    printf("\nSoftware\n");
    for (int i = 0; i < f->n_software; i++) {
        const struct software *s = &f->software[i];
        printf("  %-13s %-10s %s\n", s->name, software_state_names[s->state],
                s->state == SOFTWARE_HERE ? s->version : s->role);
        missing += s->state == SOFTWARE_MISSING;
    }
    if (missing == 0) {
        printf("\nNothing is missing.\n");
        return;
    }
    printf("\nMissing\n");
    for (int i = 0; i < f->n_software; i++)
        if (f->software[i].state == SOFTWARE_MISSING)
            printf("  %s, which %s: %s\n", f->software[i].name, f->software[i].role,
                    f->software[i].hint);
}

static void json_machine(struct json_writer *w, const struct findings *f)
{
    const struct topology *t = &f->topology;
    json_put_string(w, "host", f->host);
    json_put_string(w, "cpu", t->cpu);
    json_put_string(w, "isa", t->isa);
    json_put_int(w, "sockets", t->sockets);
    json_put_int(w, "cores", t->cores);
    json_put_int(w, "hardware_threads", t->hardware_threads);
    json_put_string(w, "hypervisor", t->hypervisor);
    json_put_string(w, "governor", t->governor);
    json_put_int(w, "memory_bytes", t->memory_bytes);
    json_put_bool(w, "memory_limited", t->memory_limited);
    json_put_double(w, "read_bytes_per_s", f->measured ? f->speed.read_bytes_per_s : (double)NAN);
    json_put_double(w, "flops", f->measured ? f->speed.flops : (double)NAN);
    json_put_int(w, "gpus", t->n_gpus);
    json_array_begin(w, "caches");
    for (int i = 0; i < t->n_caches; i++) {
        json_object_begin(w, NULL);
        json_put_int(w, "level", t->caches[i].level);
        json_put_int(w, "bytes", t->caches[i].bytes);
        json_put_int(w, "count", t->caches[i].count);
        json_put_int(w, "cores", t->caches[i].cores);
        json_end(w);
    }
    json_end(w);
    json_array_begin(w, "numa");
    for (int i = 0; i < t->n_numa; i++) {
        json_object_begin(w, NULL);
        json_put_int(w, "node", t->numa[i].index);
        json_put_int(w, "cores", t->numa[i].cores);
        json_put_int(w, "memory_bytes", t->numa[i].memory_bytes);
        json_end(w);
    }
    json_end(w);
    json_array_begin(w, "networks");
    for (int i = 0; i < t->n_networks; i++) {
        json_object_begin(w, NULL);
        json_put_string(w, "name", t->networks[i].name);
        json_put_string(w, "kind", t->networks[i].kind);
        json_put_bool(w, "up", t->networks[i].up);
        json_put_double(w, "bytes_per_s", t->networks[i].rate);
        json_end(w);
    }
    json_end(w);
}

static void print_json(const struct findings *f)
{
    struct json_writer w = {.pretty = true};
    json_object_begin(&w, NULL);
    json_machine(&w, f);
    json_array_begin(&w, "software");
    for (int i = 0; i < f->n_software; i++) {
        json_object_begin(&w, NULL);
        json_put_string(&w, "name", f->software[i].name);
        json_put_string(&w, "role", f->software[i].role);
        json_put_string(&w, "state", software_state_names[f->software[i].state]);
        json_put_string(&w, "version", f->software[i].version);
        json_put_string(&w, "hint", f->software[i].hint);
        json_end(&w);
    }
    json_end(&w);
    json_end(&w);
    puts(w.text);
    json_writer_free(&w);
}

/* Three significant digits: a file for people, of figures that differ by more from day to day. */
static double rounded(double value)
{
    if (value <= 0)
        return 0;
    double unit = pow(10, floor(log10(value)) - 2);
    return round(value / unit) * unit;
}

/* Powers of two below the number of cores, and all of them. */
static const int *thread_counts(int cores, int *n, struct arena *arena)
{
    int *list = ARENA_NEW(arena, int, 32);
    *n = 0;
    for (int threads = 1; threads < cores; threads *= 2)
        list[(*n)++] = threads;
    list[(*n)++] = cores;
    return list;
}

static bool write_cluster(
        const struct findings *f, const char *path, struct arena *arena, struct err *err)
{
    const struct topology *t = &f->topology;
    const int64_t mib = INT64_C(1) << 20;
    struct device_kind kind = {
            .name = "core",
            .type = DEVICE_CPU,
            .memory_bytes = (int64_t)((double)t->memory_bytes * MEMORY_FRAC / t->cores) / mib * mib,
            .flops = f->measured ? rounded(f->speed.flops / t->cores) : 0,
            .memory_rate = f->measured ? rounded(f->speed.read_bytes_per_s / t->cores) : 0,
    };
    kind.threads = thread_counts(t->cores, &kind.n_threads, arena);
    struct cluster_node node = {
            .name = f->host, .count = 1, .kind = kind.name, .devices = t->cores};
    struct cluster_link link = {.name = "shm", .inside = true, .sharing = 1};
    struct cluster cluster = {.name = f->host,
            .kinds = &kind,
            .n_kinds = 1,
            .nodes = &node,
            .n_nodes = 1,
            .links = &link,
            .n_links = 1};
    char *text = NULL;
    if (!cluster_check(&cluster, err) || !conf_write(&text, &cluster, &cluster_table, arena, err))
        return false;
    return file_write(path, text, (int64_t)strlen(text), err);
}

static bool run(struct cli *cli, void *options)
{
    const struct options *o = options;
    struct findings f = {0};

    if (gethostname(f.host, sizeof f.host - 1) != 0 || !f.host[0])
        snprintf(f.host, sizeof f.host, "localhost");
    if (!topology_probe(&f.topology, cli->arena, cli->err))
        return false;
    if (!o->no_measure) {
        log_line(LOG_DEBUG, "measuring memory bandwidth and arithmetic, about two seconds");
        f.measured = true;
        if (!speed_measure(&f.speed, f.topology.cores, f.topology.first_cpu,
                    topology_last_cache(&f.topology), cli->err))
            return false;
    }
    if (o->cluster) {
        if (!write_cluster(&f, o->out, cli->arena, cli->err))
            return false;
        if (strcmp(o->out, "-") != 0)
            log_line(LOG_INFO, "wrote %s", o->out);
        return true;
    }
    f.software = software_probe(&f.n_software, f.topology.n_gpus > 0, cli->arena);
    if (cli->json) {
        print_json(&f);
    } else {
        show_machine(&f);
        show_software(&f);
    }
    return true;
}

const struct command command_doctor = {
        .name = "doctor",
        .summary = "what this machine has, what is missing, how to get it",
        .usage = "",
        .description = "Looks at processors, caches, memory, networks, GPUs and installed "
                       "software, measures "
                       "memory bandwidth and arithmetic for a moment, and names the package of "
                       "whatever is "
                       "missing.\n\nWith --cluster it writes the cluster file that describes this "
                       "machine, with "
                       "90 % of its memory dealt to its cores: the input of profile and plan.",
        .examples = "shardwright doctor\nshardwright doctor --cluster -o cluster.yaml",
        .opts = opts,
        .options_size = sizeof(struct options),
        .run = run,
};
