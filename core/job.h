/*
 * job - a launcher process and the ranks under it, watched until the end.
 *
 * The ranks' stderr passes through. What the MPI library and its launcher print is held back and shown only
 * when the job failed and nobody else said why.
 */
#ifndef CORE_JOB_H
#define CORE_JOB_H

#include "core/err.h"

/* command[0] is a path; its environment gets PULSE_VARIABLE. *status: exit status of the job, 128+n for a
 * signal. False: it could not be started, or a rank was lost (err says which and how; the job is over). */
MUST_CHECK bool job_run(char *const *command, int n_ranks, int *status, struct err *err);

#define PULSE_VARIABLE "SHARDWRIGHT_PULSE"

#endif
