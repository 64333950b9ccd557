/*
 * pulse - who is still alive in a job, told within seconds.
 *
 * MPI notices a killed rank late and a stopped or cut-off one never. So every rank keeps a TCP connection to
 * a hub and sends a sign of life over it, from a thread of its own; the hub is the command that started the
 * ranks, or rank 0 where a launcher of the user's did. The hub ends the job; a rank whose hub is gone ends itself.
 *
 * The connection's end without a word means killed; no sign of life while the host still answers means
 * stopped; no answer from the host means cut off. A hub that was itself stopped (a laptop that slept, a
 * debugger) starts counting anew.
 */
#ifndef CORE_PULSE_H
#define CORE_PULSE_H

#include <stdint.h>

#include "core/err.h"

enum {
    PULSE_BEAT_MS = 500,
    PULSE_LOST_MS = 4500,  /* without a sign of life; whole job ends within 10 s */
    PULSE_JOIN_MS = 60000, /* for all ranks to appear */
    PULSE_PHASE = 40,
    PULSE_ADDRESS = 1024
};

struct pulse_hub;

/* For n ranks. */
MUST_CHECK struct pulse_hub *pulse_hub_open(int n, struct err *err);
/* Where ranks find it: "KEY PORT ADDRESS ADDRESS ..."; all addresses of this host, the loopback last. */
const char *pulse_hub_address(const struct pulse_hub *hub);
/* Serves for at most wait_ms, less when fd (-1 = none) can be read. False, and err filled with one sentence,
 * when a rank was lost; the same one is told once. */
MUST_CHECK bool pulse_hub_step(struct pulse_hub *hub, int fd, int wait_ms, struct err *err);
/* Tells all ranks that can still be reached to end at once, without a message. */
void pulse_hub_end_all(struct pulse_hub *hub);
void pulse_hub_close(struct pulse_hub *hub);

struct pulse;

/* This process as a member; starts a thread. host: what messages call the machine. lost runs on that thread
 * when the hub is gone; asked: the hub told it to end. hub_is_rank: the hub can be stopped like any rank. */
struct pulse_member {
    int rank;
    const char *host;
    bool hub_is_rank;
    void (*lost)(void *self, bool asked);
    void *self;
};
MUST_CHECK struct pulse *pulse_join(
        const char *address, const struct pulse_member *member, struct err *err);
/* What this rank is about to do, for the hub's sentence: "loading the weights". */
void pulse_phase(struct pulse *pulse, const char *phase);
/* Says goodbye: whatever happens to this process later is no loss. give_up: the job ends now, and this rank
 * has said why, so that the hub says nothing more. */
void pulse_leave(struct pulse *pulse, bool give_up);

#endif
