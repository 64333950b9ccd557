/* The queues of the scheduler: who waits, in which order, and who is turned away. */
#include "core/sched_state.h"

bool sched_precedes(const struct sched *s, int32_t a, int32_t b)
{
    int32_t pa = s->seqs[a].priority, pb = s->seqs[b].priority;

    return pa != pb ? pa > pb : a < b;
}

/* Puts i behind `before`, or first when that is -1. */
static void link_behind(struct sched *s, struct sched_queue *q, int32_t i, int32_t before)
{
    int32_t behind = before < 0 ? q->first : s->seqs[before].next;

    s->seqs[i].prev = before;
    s->seqs[i].next = behind;
    if (before < 0)
        q->first = i;
    else
        s->seqs[before].next = i;
    if (behind < 0)
        q->last = i;
    else
        s->seqs[behind].prev = i;
}

void sched_queue_push(struct sched *s, struct sched_queue *q, int32_t i)
{
    link_behind(s, q, i, q->last);
}

void sched_queue_insert(struct sched *s, struct sched_queue *q, int32_t i)
{
    int32_t before = -1, at = q->first;

    /* At either end as a rule: the youngest prefills last, the older are preempted later. */
    if (q->last >= 0 && sched_precedes(s, q->last, i))
        before = q->last;
    else
        for (; at >= 0 && sched_precedes(s, at, i); at = s->seqs[at].next)
            before = at;
    link_behind(s, q, i, before);
}

void sched_queue_remove(struct sched *s, struct sched_queue *q, int32_t i)
{
    struct sched_seq *seq = &s->seqs[i];

    if (seq->prev < 0)
        q->first = seq->next;
    else
        s->seqs[seq->prev].next = seq->next;
    if (seq->next < 0)
        q->last = seq->prev;
    else
        s->seqs[seq->next].prev = seq->prev;
    seq->next = seq->prev = -1;
}

static bool sooner(const struct sched *s, int32_t a, int32_t b)
{
    int64_t da = sched_request(s, a)->deadline_ns, db = sched_request(s, b)->deadline_ns;

    return da != db ? da < db : a < b;
}

static void heap_push(struct sched *s, struct sched_level *level, int32_t i)
{
    int32_t *heap = level->urgent;
    int64_t at = level->n_urgent++;

    for (; at > 0 && sooner(s, i, heap[(at - 1) / 2]); at = (at - 1) / 2)
        heap[at] = heap[(at - 1) / 2];
    heap[at] = i;
}

static void heap_pop(struct sched *s, struct sched_level *level)
{
    int32_t *heap = level->urgent;
    int32_t last = heap[--level->n_urgent];
    int64_t at = 0;

    for (;;) {
        int64_t child = 2 * at + 1;

        if (child + 1 < level->n_urgent && sooner(s, heap[child + 1], heap[child]))
            child++;
        if (child >= level->n_urgent || !sooner(s, heap[child], last))
            break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = last;
}

/* Drops those from the top that were refused for lack of room. */
static int32_t heap_first(struct sched *s, struct sched_level *level)
{
    while (level->n_urgent > 0 && s->seqs[level->urgent[0]].state != SEQ_WAITING)
        heap_pop(s, level);
    return level->n_urgent > 0 ? level->urgent[0] : -1;
}

void sched_wait(struct sched *s, int32_t i)
{
    struct sched_level *level = &s->levels[s->seqs[i].priority];

    if (sched_request(s, i)->deadline_ns > 0)
        heap_push(s, level, i);
    else
        sched_queue_push(s, &level->plain, i);
    s->stats.waiting++;
}

int32_t sched_first_waiting(struct sched *s)
{
    for (int p = s->n_levels - 1; s->stats.waiting > 0 && p >= 0; p--) {
        int32_t i = heap_first(s, &s->levels[p]);

        if (i < 0)
            i = s->levels[p].plain.first;
        if (i >= 0)
            return i;
    }
    return -1;
}

void sched_leave_waiting(struct sched *s, int32_t i)
{
    struct sched_level *level = &s->levels[s->seqs[i].priority];

    if (sched_request(s, i)->deadline_ns > 0)
        heap_pop(s, level);
    else
        sched_queue_remove(s, &level->plain, i);
    s->stats.waiting--;
}

static void refuse(struct sched *s, int32_t i, enum seq_state how)
{
    s->seqs[i].state = (uint8_t)how;
    sched_queue_push(s, &s->refused, i);
    if (how == SEQ_REFUSED_FULL)
        s->stats.refused_full++;
    else
        s->stats.refused_late++;
}

void sched_refuse_late(struct sched *s, int64_t now_ns)
{
    for (int p = 0; s->has_deadlines && p < s->n_levels; p++) {
        int32_t i = 0;

        while ((i = heap_first(s, &s->levels[p])) >= 0
                && sched_request(s, i)->deadline_ns <= now_ns) {
            sched_leave_waiting(s, i);
            refuse(s, i, SEQ_REFUSED_LATE);
        }
    }
}

/* Those that wait for longer were within the bound already: only new ones are turned away. */
void sched_refuse_surplus(struct sched *s)
{
    for (int64_t i = s->n_arrived - 1;
            s->limits.max_queue > 0 && s->stats.waiting > s->limits.max_queue; i--) {
        struct sched_seq *seq = &s->seqs[i];

        if (seq->begun || seq->state != SEQ_WAITING)
            continue;
        if (sched_request(s, (int32_t)i)->deadline_ns <= 0)
            sched_queue_remove(s, &s->levels[seq->priority].plain, (int32_t)i);
        s->stats.waiting--;
        refuse(s, (int32_t)i, SEQ_REFUSED_FULL);
    }
    if (s->stats.waiting > s->stats.most_waiting)
        s->stats.most_waiting = s->stats.waiting;
}
