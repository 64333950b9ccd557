#include "core/ranks_watch.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/job.h"
#include "core/pulse.h"

struct ranks_watch {
    struct pulse *pulse;   /* as a member */
    struct pulse_hub *hub; /* as rank 0 under somebody else's launcher */
    pthread_t thread;
    pthread_mutex_t lock;
    bool ending, by_rank;
    int rank;
    char host[64];
};

/* Not exit(): MPI is in an unknown state, and its handlers may wait for ranks that are gone. */
_Noreturn static void end_process(void)
{
    _exit(ERR_ENV);
}

/* The launcher's end, told by the hub, or the hub's own death: who is left says nothing more. */
static void lost_launcher(void *self, bool asked)
{
    (void)self;
    (void)asked;
    end_process();
}

/* Rank 0 is gone or silent. Rank 1 says so; the others leave it the time. */
static void lost_leader(void *self, bool asked)
{
    const struct ranks_watch *watch = self;
    if (!asked && watch->rank == 1)
        fprintf(stderr,
                "shardwright: rank 0 was killed, stopped or cut off, as rank 1 on %s sees it; "
                "the run was ended\n",
                watch->host);
    if (!asked && watch->rank > 1)
        clock_sleep_ns(INT64_C(500000000));
    end_process();
}

static struct ranks_watch *make(int rank, struct err *err)
{
    struct ranks_watch *watch = calloc(1, sizeof *watch);
    if (!watch) {
        err_set(err, ERR_ENV, "not enough memory to start");
        return NULL;
    }
    watch->rank = rank;
    gethostname(watch->host, sizeof watch->host - 1);
    pthread_mutex_init(&watch->lock, NULL);
    return watch;
}

static struct ranks_watch *follow(const char *address, int rank, bool by_rank, struct err *err)
{
    struct ranks_watch *watch = make(rank, err);
    if (!watch)
        return NULL;
    watch->by_rank = by_rank;
    const struct pulse_member member = {.rank = rank,
            .host = watch->host,
            .hub_is_rank = by_rank,
            .lost = by_rank ? lost_leader : lost_launcher,
            .self = watch};
    watch->pulse = pulse_join(address, &member, err);
    if (watch->pulse)
        return watch;
    free(watch);
    return NULL;
}

struct ranks_watch *ranks_watch_join(struct err *err)
{
    static const char *const names[] = {"OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK"};
    const char *address = getenv(PULSE_VARIABLE), *rank = NULL;
    for (int i = 0; i < 3 && !rank; i++)
        rank = getenv(names[i]);
    if (!address || !rank)
        return NULL;
    return follow(address, (int)strtol(rank, NULL, 10), false, err);
}

struct ranks_watch *ranks_watch_follow(const char *address, int rank, struct err *err)
{
    return follow(address, rank, true, err);
}

static bool is_ending(struct ranks_watch *watch)
{
    pthread_mutex_lock(&watch->lock);
    bool ending = watch->ending;
    pthread_mutex_unlock(&watch->lock);
    return ending;
}

static void *serve(void *self)
{
    struct ranks_watch *watch = self;
    struct err err = {0};
    while (!is_ending(watch)) {
        if (pulse_hub_step(watch->hub, -1, PULSE_BEAT_MS / 5, &err))
            continue;
        fprintf(stderr, "shardwright: %s\n", err.text);
        pulse_hub_end_all(watch->hub);
        end_process(); /* the launcher notices, and ends those that were stopped */
    }
    return NULL;
}

struct ranks_watch *ranks_watch_lead(int n, char *address, struct err *err)
{
    struct ranks_watch *watch = make(0, err);
    if (!watch)
        return NULL;
    watch->hub = pulse_hub_open(n - 1, err);
    if (watch->hub && pthread_create(&watch->thread, NULL, serve, watch) == 0) {
        snprintf(address, PULSE_ADDRESS, "%s", pulse_hub_address(watch->hub));
        return watch;
    }
    err_set(err, ERR_ENV, "cannot start a thread to watch over the ranks");
    pulse_hub_close(watch->hub);
    free(watch);
    return NULL;
}

bool ranks_watch_by_rank(const struct ranks_watch *watch)
{
    return watch && watch->by_rank;
}

void ranks_watch_phase(struct ranks_watch *watch, const char *phase)
{
    if (watch)
        pulse_phase(watch->pulse, phase);
}

void ranks_watch_leave(struct ranks_watch *watch, bool give_up)
{
    if (!watch)
        return;
    if (watch->hub) {
        pthread_mutex_lock(&watch->lock);
        watch->ending = true;
        pthread_mutex_unlock(&watch->lock);
        pthread_join(watch->thread, NULL);
        if (give_up)
            pulse_hub_end_all(watch->hub);
        pulse_hub_close(watch->hub);
    }
    pulse_leave(watch->pulse, give_up);
    pthread_mutex_destroy(&watch->lock);
    free(watch);
}
