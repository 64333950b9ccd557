/*
 * ranks_watch - this rank's part in noticing lost ranks (core/pulse.h): a member, or the hub itself.
 *
 * The command that started the job is the hub and says its address in the environment (core/job.h). Under a
 * launcher of the user's own (srun, mpirun) rank 0 is the hub.
 */
#ifndef CORE_RANKS_WATCH_H
#define CORE_RANKS_WATCH_H

#include "core/err.h"

struct ranks_watch;

/* Joins the command that started the job. NULL without err: there is none. */
struct ranks_watch *ranks_watch_join(struct err *err);
/* Rank 0: becomes the hub of n ranks. address: PULSE_ADDRESS bytes, for the others. */
MUST_CHECK struct ranks_watch *ranks_watch_lead(int n, char *address, struct err *err);
MUST_CHECK struct ranks_watch *ranks_watch_follow(const char *address, int rank, struct err *err);
/* Whether a rank is the hub. All of these take NULL. */
bool ranks_watch_by_rank(const struct ranks_watch *watch);
void ranks_watch_phase(struct ranks_watch *watch, const char *phase);
/* give_up: the job ends now, and why has been said. */
void ranks_watch_leave(struct ranks_watch *watch, bool give_up);

#endif
