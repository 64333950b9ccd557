#include "profiler/source_group.h"

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "core/clock.h"
#include "profiler/coll_case.h"

enum {
    GROUP_KEY = 1000,
    CLOCK_ROUNDS = 12,
    CLOCK_TAG = 7
};

bool source_groups_init(struct source_groups *groups, struct ranks *ranks,
        const struct source_layout *layout, struct err *err)
{
    *groups = (struct source_groups){.ranks = ranks, .layout = *layout};
    groups->members = calloc((size_t)ranks_count(ranks), sizeof *groups->members);
    return groups->members || err_set(err, ERR_ENV, "no memory to measure with");
}

void source_groups_fini(struct source_groups *groups)
{
    for (int i = 0; i < groups->n_open; i++)
        coll_close(groups->open[i].coll);
    free(groups->members);
}

int source_local_ranks(const struct op *op)
{
    if (!op_is_collective(op->kind))
        return op->busy;
    int degree = coll_case_degree(op), part = op->nodes > 1 ? degree / op->nodes : degree;
    return op->busy < part ? part : op->busy / part * part;
}

bool source_list_members(struct source_groups *groups, const struct op *op)
{
    const struct source_layout *at = &groups->layout;
    int local = source_local_ranks(op), span = op->nodes > 1 ? op->nodes : 1;
    int part = op_is_collective(op->kind) ? coll_case_degree(op) / span : 1;
    int rank = ranks_rank(groups->ranks);

    groups->n_members = 0;
    groups->place = -1;
    if (local > at->devices || span > at->machines || part < 1)
        return false;
    for (int block = 0; (block + 1) * span <= at->machines; block++)
        for (int group = 0; group < local / part; group++)
            for (int i = 0; i < span * part; i++) {
                int machine = block * span + i / part;
                int member = at->first + machine * at->devices + group * part + i % part;
                if (member == rank)
                    groups->place = groups->n_members;
                groups->members[groups->n_members++] = member;
            }
    return true;
}

static int machine_of(const struct source_groups *groups, int place)
{
    return (groups->members[place] - groups->layout.first) / groups->layout.devices;
}

/* What the other machine's clock says while a message goes there and back; the quickest round counts. */
static int64_t ask_clock(struct coll *together, int place)
{
    int64_t best_ns = INT64_MAX, offset_ns = 0;
    for (int i = 0; i < CLOCK_ROUNDS; i++) {
        int64_t begin_ns = clock_now_ns(), there_ns = 0;
        coll_send(together, &begin_ns, sizeof begin_ns, place, CLOCK_TAG);
        coll_recv(together, &there_ns, sizeof there_ns, place, CLOCK_TAG);
        int64_t end_ns = clock_now_ns();
        if (end_ns - begin_ns >= best_ns)
            continue;
        best_ns = end_ns - begin_ns;
        offset_ns = there_ns - (begin_ns + best_ns / 2);
    }
    return offset_ns;
}

/* Answers, when asked, as often as ask_clock asks. */
static void tell_clock(struct coll *together)
{
    for (int i = 0; i < CLOCK_ROUNDS; i++) {
        int64_t now_ns = 0;
        coll_recv(together, &now_ns, sizeof now_ns, 0, CLOCK_TAG);
        now_ns = clock_now_ns();
        coll_send(together, &now_ns, sizeof now_ns, 0, CLOCK_TAG);
    }
}

static bool first_of_machine(const struct source_groups *groups, int place)
{
    for (int i = 0; i < place; i++)
        if (machine_of(groups, i) == machine_of(groups, place))
            return false;
    return true;
}

/* Machines count time from different moments. The first member asks one rank of every other machine, and
 * tells all ranks there. */
int64_t source_clock_offset(const struct source_groups *groups, struct coll *together)
{
    int home = machine_of(groups, 0), n = groups->n_members;
    int64_t offset_ns = 0;
    if (groups->place > 0) {
        if (machine_of(groups, groups->place) == home)
            return 0;
        if (first_of_machine(groups, groups->place))
            tell_clock(together);
        coll_recv(together, &offset_ns, sizeof offset_ns, 0, CLOCK_TAG);
        return offset_ns;
    }
    for (int place = 1; place < n; place++) {
        int machine = machine_of(groups, place);
        if (machine == home || !first_of_machine(groups, place))
            continue;
        offset_ns = ask_clock(together, place);
        for (int i = place; i < n; i++)
            if (machine_of(groups, i) == machine)
                coll_send(together, &offset_ns, sizeof offset_ns, i, CLOCK_TAG);
    }
    return 0;
}

/* Groups of one shape are opened once, by all ranks that are in one, and kept: opening is slow. */
static bool find_group(struct coll **out, struct source_groups *groups, int degree, int local,
        int nodes, struct err *err)
{
    *out = NULL;
    for (int i = 0; i < groups->n_open; i++) {
        if (groups->open[i].degree == degree && groups->open[i].local == local
                && groups->open[i].nodes == nodes) {
            *out = groups->open[i].coll;
            return true;
        }
    }
    if (groups->n_open == SOURCE_GROUPS)
        return err_set(err, ERR_BUG, "too many groups of ranks");
    int at = groups->n_open++;
    groups->open[at].degree = degree;
    groups->open[at].local = local;
    groups->open[at].nodes = nodes;
    if (groups->place < 0)
        return true;
    groups->open[at].coll =
            coll_open(groups->members + (ptrdiff_t)(groups->place / degree) * degree, degree,
                    &(struct coll_options){.key = GROUP_KEY + at}, err);
    *out = groups->open[at].coll;
    return *out != NULL;
}

/* The order of the members depends on the parts of the groups: the key holds degree and machines too. */
bool source_together(
        struct coll **out, struct source_groups *groups, const struct op *op, struct err *err)
{
    int shape = op->nodes > 1 ? 1000 * coll_case_degree(op) + op->nodes : 0;
    return find_group(out, groups, groups->n_members, source_local_ranks(op), shape, err);
}

bool source_group(
        struct coll **out, struct source_groups *groups, const struct op *op, struct err *err)
{
    return find_group(out, groups, coll_case_degree(op), source_local_ranks(op), op->nodes, err);
}
