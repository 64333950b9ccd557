#include "core/spec/cluster_line.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "core/str.h"

#define MOST_PARTS 64

/* "8x" or "8:"; the number, or -1. *at goes behind it. */
static int read_count(const char **at)
{
    int n = 0;
    int digits = 0;
    for (; isdigit((unsigned char)**at) && digits < 6; ++*at, digits++)
        n = n * 10 + (**at - '0');
    return digits > 0 && !isdigit((unsigned char)**at) ? n : -1;
}

bool cluster_line_is(const char *text)
{
    const char *at = text;
    if (read_count(&at) < 0 || *at++ != 'x')
        return false;
    return read_count(&at) >= 0 && *at == ':';
}

static void add_link(struct cluster *cluster, struct cluster_link link)
{
    for (int i = 0; i < cluster->n_links; i++) {
        const struct cluster_link *old = &cluster->links[i];
        if (strcmp(old->name, link.name) == 0 && old->kind != NULL
                && strcmp(old->kind, link.kind) == 0)
            return;
    }
    cluster->links[cluster->n_links++] = link;
}

void cluster_line_add(struct cluster *cluster, const struct device_sheet *sheet, int nodes,
        int devices, struct arena *arena)
{
    static const int one[] = {1};
    struct pos pos = {sheet->name, 0, 0};
    cluster->kinds = arena_grow(
            arena, cluster->kinds, cluster->n_kinds, cluster->n_kinds + 1, sizeof *cluster->kinds);
    cluster->nodes = arena_grow(
            arena, cluster->nodes, cluster->n_nodes, cluster->n_nodes + 1, sizeof *cluster->nodes);
    cluster->links = arena_grow(
            arena, cluster->links, cluster->n_links, cluster->n_links + 2, sizeof *cluster->links);
    if (cluster_kind(cluster, sheet->name) == NULL)
        cluster->kinds[cluster->n_kinds++] = (struct device_kind){.name = sheet->name,
                .type = DEVICE_CUDA,
                .memory_bytes = sheet->memory_bytes,
                .flops = sheet->flops,
                .flops_f8 = sheet->flops_f8,
                .memory_rate = sheet->memory_rate,
                .threads = one,
                .n_threads = 1,
                .pos = pos};
    cluster->nodes[cluster->n_nodes++] = (struct cluster_node){.name = sheet->name,
            .count = nodes,
            .kind = sheet->name,
            .devices = devices,
            .pos = pos,
            .kind_pos = pos};
    add_link(cluster, (struct cluster_link){.name = sheet->link,
                              .inside = true,
                              .rate = sheet->link_rate,
                              .latency_us = sheet->link_us,
                              .kind = sheet->name});
    add_link(cluster, (struct cluster_link){.name = "ib",
                              .rate = sheet->network_rate,
                              .latency_us = 5,
                              .kind = sheet->name});
}

/* One part up to + or the end; column counts from the start of the line. */
static bool read_part(struct cluster *out, const char *line, const char **at, struct arena *arena,
        struct err *err)
{
    struct pos pos = {line, 1, (int)(*at - line) + 1};
    int nodes = read_count(at);
    bool ok = nodes > 0 && nodes <= 65536 && *(*at)++ == 'x';
    int devices = ok ? read_count(at) : -1;
    if (!ok || devices < 1 || devices > 4096 || *(*at)++ != ':')
        return err_at(err, pos,
                "expected NODESxDEVICES:KIND such as 8x8:h200, several joined by +, with 1 to "
                "65536 "
                "nodes of 1 to 4096 devices");
    pos.column = (int)(*at - line) + 1;
    const char *end = strchr(*at, '+');
    int64_t len = end != NULL ? end - *at : (int64_t)strlen(*at);
    const char *name = arena_strndup(arena, *at, len);
    *at += len;
    const struct device_sheet *sheet = device_sheet_find(name);
    if (sheet == NULL) {
        const char *near = device_sheet_nearest(name);
        return near != NULL
                       ? err_at(err, pos,
                               "no kind of device is known as \"%s\", did you mean \"%s\"?", name,
                               near)
                       : err_at(err, pos,
                               "no kind of device is known as \"%s\", expected one of %s, or a "
                               "cluster file",
                               name, device_sheet_names());
    }
    cluster_line_add(out, sheet, nodes, devices, arena);
    return true;
}

bool cluster_line_read(struct cluster *out, const char *text, struct arena *arena, struct err *err)
{
    const char *at = text;
    *out = (struct cluster){.name = arena_strdup(arena, text)};
    for (int i = 0; i < MOST_PARTS; i++) {
        if (!read_part(out, text, &at, arena, err))
            return false;
        if (*at == '\0')
            return cluster_check(out, err);
        at++;
    }
    return err_set(err, ERR_INPUT, "%s: found more than %d parts", text, MOST_PARTS);
}
