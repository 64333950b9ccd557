/*
 * pulse_wire - what members and hub of core/pulse.h say to each other.
 *
 * A job runs one binary on one kind of machine (MPI wants the same), so a message is the struct itself. The
 * hub answers with single bytes.
 */
#ifndef CORE_PULSE_WIRE_H
#define CORE_PULSE_WIRE_H

#include <stdint.h>

#include "core/pulse.h"

enum pulse_kind {
    PULSE_HELLO = 1,
    PULSE_BEAT,
    PULSE_BYE,
    PULSE_GIVE_UP /* this rank says itself why the job ends */
};

enum pulse_answer {
    PULSE_ALIVE = 'a',
    PULSE_END = 'e'
};

struct pulse_message {
    uint64_t key; /* of the job: a stray connection is none of ours */
    int32_t kind, rank, pid;
    char host[64], phase[PULSE_PHASE];
};

#endif
